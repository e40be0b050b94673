"""What alarms do in a run: they tell, stop, exchange or skip; a resume knows it; no target label has a part in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from domainmetric.alarms.collapse import Collapse
from domainmetric.alarms.default import default_alarms, left_out
from domainmetric.alarms.non_finite import NonFinite
from domainmetric.alignment import mmd
from domainmetric.alignment.dann import Dann
from domainmetric.errors import Alarmed
from domainmetric.experiment import Experiment
from domainmetric.losses.order import FirstOrder, SecondOrder
from domainmetric.miners.hard import EasyPositiveSemiHardNegative, HardPositiveHardNegative
from domainmetric.terms import Metric, Term
from domainmetric.training import objective
from domainmetric.training.checkpoint import read_tensors
from domainmetric.training.finite import Soundness
from domainmetric.training.tracking import read_log, timeless
from tests import tiny
from tests.faults.behavior import Once, method
from tests.faults.fault import often
from tests.faults.wiring import around
from tests.training.running import after, go_on, same, short, told, train, weights

STEPS = 16
EVERYTHING = Collapse(cosine=-1.0)
"""Calls everything a collapse."""


def alarms(folder: Path) -> list[Any]:
    return timeless([record for record in read_log(folder) if record["kind"] == "alarm"])


def calm(root: Path, alarm: Collapse, **terms: Term) -> Experiment:
    return replace(method("mmd", **terms)(root), alarms={"collapse": alarm})


def test_a_warning_is_told_once_for_each_subject_and_changes_nothing(tmp_path: Path, capfd: Any) -> None:
    warned = train(calm(tmp_path / "a", EVERYTHING))
    silent = train(replace(calm(tmp_path / "b", EVERYTHING), alarms={}))
    assert [(r["phase"], r["step"], r["subject"]) for r in alarms(warned)] == [
        ("source", 2, "source"), ("adapt", 6, "source"), ("adapt", 6, "target"),
    ]  # fmt: skip
    assert same(weights(warned), weights(silent)) and told(warned) == told(silent)
    shown = capfd.readouterr().err
    assert shown.count("Alarm: collapse at step 2 of adapt. The mean cosine of the target embeddings is") == 1
    assert EVERYTHING.meaning in shown and f"Try: {EVERYTHING.advice}" in shown


def test_a_stop_saves_the_state_and_a_resume_goes_on_in_spite_of_it(tmp_path: Path) -> None:
    undisturbed = train(calm(tmp_path / "a", EVERYTHING))
    experiment = calm(tmp_path / "b", replace(EVERYTHING, action="stop"))
    with pytest.raises(Alarmed, match=r"collapse at step 2 of source.*domainmetric resume"):
        train(experiment)
    (folder,) = experiment.runs_root.glob("tiny-*")
    with pytest.raises(Alarmed, match="collapse at step 2 of adapt"):
        go_on(folder)
    go_on(folder)
    assert same(weights(folder), weights(undisturbed)) and told(folder) == told(undisturbed)


def test_a_fallback_exchanges_terms_and_a_resume_knows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Term] = []
    hard = Term(part=Metric(loss=FirstOrder(), miner=HardPositiveHardNegative()))
    monkeypatch.setattr(objective.Objective, "forward", _watching(objective.Objective.forward, seen))
    experiment = calm(tmp_path / "a", replace(EVERYTHING, action="fallback"), triplet=hard)
    undisturbed = train(experiment)
    parts = [term.part for term in seen if isinstance(term.part, Metric)]
    before, later = parts[0], parts[-1]
    assert isinstance(before.miner, HardPositiveHardNegative) and isinstance(before.loss, FirstOrder)
    assert isinstance(later.miner, EasyPositiveSemiHardNegative) and isinstance(later.loss, SecondOrder)
    assert [record["exchanged"] for record in alarms(undisturbed)] == [[], ["triplet"], []]
    folder = go_on(train(replace(experiment, runs_root=tmp_path / "b"), after(4 + 5)))
    assert same(weights(folder), weights(undisturbed)) and told(folder) == told(undisturbed)
    assert alarms(folder) == alarms(undisturbed)


def test_a_second_finding_lowers_an_adversarial_weight_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Term] = []
    monkeypatch.setattr(objective.Objective, "forward", _watching(objective.Objective.forward, seen))
    dann = Term(part=Dann(hidden=16), weight=0.3)
    experiment = calm(tmp_path / "a", replace(EVERYTHING, action="fallback"), dann=dann)
    undisturbed = train(experiment)
    assert [record["exchanged"] for record in alarms(undisturbed)] == [[], ["dann"], []]
    weights_seen = [term.weight for term in seen if isinstance(term.part, Dann)]
    assert weights_seen[0] == 0.3 and weights_seen[-1] == pytest.approx(0.03)
    seen.clear()
    folder = go_on(train(replace(experiment, runs_root=tmp_path / "b"), after(4 + 7)))  # both were found before
    assert [term.weight for term in seen if isinstance(term.part, Dann)] == weights_seen
    assert same(weights(folder), weights(undisturbed)) and alarms(folder) == alarms(undisturbed)


def _watching(original: Any, seen: list[Term]) -> Any:
    def forward(self: Any, step: Any) -> Any:
        seen.extend(self.terms.values())
        return original(self, step)

    return forward


def nan_in_the_second_step(patch: pytest.MonkeyPatch) -> None:
    around(mmd, "mmd2", Once(lambda value: value * torch.nan))(patch)


def test_a_step_that_is_not_finite_stops_the_run_with_its_batch_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nan_in_the_second_step(monkeypatch)
    experiment = method("mmd")(tmp_path)
    with pytest.raises(Alarmed, match=r"non_finite at step 2 of adapt. Not finite: loss of mmd"):
        train(experiment)
    (folder,) = tmp_path.glob("tiny-*")
    batch, facts = read_tensors(folder / "non_finite-adapt-2.safetensors")
    assert batch["target/images"].shape == (48, 1, 16, 16) and batch["source/rows"].shape == (32,)
    assert facts["step"] == 2 and facts["text"].startswith("Not finite: loss of mmd")


@pytest.mark.parametrize(("reading", "look", "seen"), [(4, 8, 4), (8, 3, 3)])
def test_a_step_that_is_found_later_is_told_as_itself_with_the_batch_that_is_left(
    reading: int, look: int, seen: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where nobody looks at once: at the reading, or else before the look, which could not be made."""
    around(Soundness, "__init__", _not_at_once)(monkeypatch)
    nan_in_the_second_step(monkeypatch)
    experiment = method("mmd")(tmp_path)
    evaluation = replace(experiment.evaluation, gradient_every=reading, every=look)
    with pytest.raises(Alarmed, match=rf"non_finite at step 2 of adapt\. .*The batch of step {seen}, after which"):
        train(replace(experiment, evaluation=evaluation))
    (folder,) = tmp_path.glob("tiny-*")
    _, facts = read_tensors(folder / f"non_finite-adapt-2-seen-{seen}.safetensors")
    assert (facts["step"], facts["batch_step"]) == (2, seen)


def _not_at_once(original: Any, soundness: Soundness, *arguments: Any) -> None:
    original(soundness, *arguments)
    soundness.at_once = False


def test_alarms_that_are_left_out_are_named_once(tmp_path: Path, capfd: Any) -> None:
    folder = go_on(train(calm(tmp_path / "some", replace(EVERYTHING, action="warn")), after(2)))
    told_off = [record["text"] for record in read_log(folder) if record.get("name") == "alarms off"]
    assert len(told_off) == 1 and told_off[0].startswith("Alarms that are off: idle_term, miswired")
    assert "non_finite" in told_off[0] and "collapse" not in told_off[0]
    assert capfd.readouterr().err.count("Alarms that are off:") == 1
    whole = train(method("mmd")(tmp_path / "all"))
    assert not [record for record in read_log(whole) if record.get("name") == "alarms off"]
    assert "Alarms that are off:" not in capfd.readouterr().err


def test_alarms_of_another_name_or_another_kind_are_not_missing() -> None:
    renamed = {f"my_{name}": alarm for name, alarm in default_alarms().items()}
    assert left_out(renamed) == [] and left_out(default_alarms()) == []
    assert left_out({}) == list(default_alarms())


def test_a_skipped_step_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip = {"non_finite": NonFinite(action="skip")}
    last = replace(method("mmd", adapt=2)(tmp_path), alarms=skip)  # the second step is the last one
    one = train(replace(last, phases={**last.phases, "adapt": replace(last.phases["adapt"], calibration_steps=0)}))
    nan_in_the_second_step(monkeypatch)
    with monkeypatch.context() as patch:
        kept: list[dict[str, torch.Tensor]] = []
        from domainmetric.training import loop

        def update(original: Any, optimizer: Any, phase: Any, state: Any) -> None:
            original(optimizer, phase, state)
            kept.append({name: value.clone() for name, value in state.network.state_dict().items()})

        around(loop, "update", update)(patch)
        skipped = train(replace(last, runs_root=tmp_path / "b"))
    assert same(weights(skipped), kept[-1]) and len(kept) == 4 + 1
    assert all(value.isfinite().all() for value in weights(skipped).values())
    assert not same(weights(skipped), weights(one))
    assert [record["action"] for record in alarms(skipped)] == ["skip"]


def test_too_many_skipped_steps_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    around(mmd, "mmd2", lambda f, *args, **more: f(*args, **more) * torch.nan)(monkeypatch)
    experiment = replace(method("mmd")(tmp_path), alarms={"non_finite": NonFinite(action="skip", most=3)})
    with pytest.raises(Alarmed, match="non_finite at step 4 of adapt"):
        train(experiment)


def test_no_target_label_has_a_part_in_an_alarm(tmp_path: Path) -> None:
    experiment = often(short(tiny.full(tmp_path), source=4, adapt=6), 2)
    experiment = replace(experiment, alarms={**experiment.alarms, "collapse": EVERYTHING})
    true, noise = train(experiment), train(tiny.with_noise(experiment, 1))
    assert told(true) != told(noise), "the oracle curves must differ, or the noise did not arrive"
    assert len(alarms(true)) >= 3 and alarms(true) == alarms(noise)
