"""`precision="bf16"` on a CPU: the networks in bfloat16, all that compares embeddings in float32."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from domainmetric.geometry import normalize
from domainmetric.metrics.selection import Evidence
from domainmetric.training import runtime
from domainmetric.training.banks import refresh
from domainmetric.training.evaluation import Look
from domainmetric.training.loop import losses
from domainmetric.training.target_anchors import TargetAnchors
from domainmetric.training.tracking import history, read_log
from domainmetric.types import Bank, Matches
from tests import tiny
from tests.training.running import short, train, wired


def keep(seen: list[Tensor], module: nn.Module, given: tuple[Any, ...], made: Tensor) -> None:
    seen.append(made)


def test_networks_compute_in_bfloat16_and_distances_in_float32(tmp_path: Path) -> None:
    values = {}
    for precision in ("32", "bf16"):
        experiment = tiny.full(tmp_path)
        experiment = replace(experiment, runtime=replace(experiment.runtime, precision=precision))  # type: ignore[arg-type]
        fabric = runtime.fabric(experiment.runtime)
        state, batches = wired(experiment, "adapt")
        assert state.teacher is not None and state.matcher is not None
        seen: list[Tensor] = []
        handle = state.network.branches["source"].register_forward_hook(partial(keep, seen))
        with fabric.autocast():
            refresh(state.matcher, state.teacher, experiment, batches.data, 0)
            step, values[precision] = losses(
                fabric.setup_module(state.network), batches, experiment.phases["adapt"], state
            )
        total = torch.stack(list(values[precision].values())).sum()
        fabric.backward(total)
        handle.remove()
        assert [features.dtype for features in seen] == [torch.bfloat16 if precision == "bf16" else torch.float32]
        assert step.pairs is not None and step.encoded_source.z.dtype == torch.float32
        assert state.matcher.memory["z"].dtype == torch.float32
        for roles in experiment.terms["triplet"].part.roles:  # type: ignore[attr-defined]
            assert step.pairs.of(roles).sq_chord.dtype == torch.float32
        assert all(value.dtype == torch.float32 for value in values[precision].values())
        gradients = [p.grad for p in state.network.parameters() if p.requires_grad]
        assert all(g is not None and g.dtype == torch.float32 and g.isfinite().all() for g in gradients)
    for name, value in values["32"].items():
        torch.testing.assert_close(values["bf16"][name], value, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("able", "slow"),
    [({"avx512_bf16": False, "avx2": True}, True), ({"avx512_bf16": True}, False), ({"bf16": True}, False)],
)
def test_a_cpu_without_instructions_for_it_is_told(
    able: dict[str, bool],
    slow: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    experiment = short(tiny.experiment(tmp_path), source=1, adapt=1)
    halved = replace(experiment, runtime=replace(experiment.runtime, precision="bf16"))
    for one, expected in ((halved, slow), (experiment, False)):
        told = [record for record in read_log(train(one)) if record.get("name") == "slow precision"]
        assert len(told) == expected
        assert ("--runtime.precision=32" in capfd.readouterr().err) == expected


def test_nothing_is_said_of_other_devices_or_by_a_torch_that_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})
    assert runtime.lacks_bfloat16(torch.device("cpu")) and not runtime.lacks_bfloat16(torch.device("cuda"))
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not runtime.lacks_bfloat16(torch.device("cpu"))


def test_target_anchors_are_not_looked_for_in_half_precision() -> None:
    draw = torch.Generator().manual_seed(0)
    center = torch.randn(1, 16, generator=draw)
    z, z_s = (normalize(center + 0.05 * torch.randn(n, 16, generator=draw)) for n in (400, 60))  # a tight cloud
    matched, labels = torch.arange(400) % 3, torch.arange(60) % 3
    target_anchors = TargetAnchors()
    target_anchors.refresh(
        Bank(rows=torch.arange(400), z=z, logits=torch.zeros(400, 3), labels=None),
        Matches(source_index=matched[:, None], label=matched, confidence=torch.ones(400), keep=matched >= 0),
    )
    plain = target_anchors.nearest(z_s, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = target_anchors.nearest(z_s, labels)
    assert torch.equal(found.rows, plain.rows) and torch.equal(found.keep, plain.keep)


def test_scores_are_computed_outside_of_autocast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = short(tiny.full(tmp_path), source=2, adapt=2)
    experiment = replace(experiment, runtime=replace(experiment.runtime, precision="bf16"))
    scores, looks = Look.scores, list[tuple[bool, Evidence, dict[str, float]]]()

    def watched(look: Look, evidence: Evidence) -> dict[str, float]:
        values = scores(look, evidence)
        looks.append((torch.is_autocast_enabled("cpu"), evidence, values))
        return values

    monkeypatch.setattr(Look, "scores", watched)
    curves = history(train(experiment))
    assert looks and not any(half for half, _, _ in looks)
    assert looks[-1][1].target_logits.dtype == torch.bfloat16, "the networks themselves are in half precision"
    assert curves["score/snd"][1][-1] == looks[-1][2]["score/snd"]
