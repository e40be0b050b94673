"""Phases: a finished source phase is reused, with its time; what is reused is what would have been trained."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from domainmetric.errors import Interrupted
from domainmetric.experiment import BestScore, Experiment
from domainmetric.metrics.selection import Entropy
from domainmetric.models.network import Tied
from domainmetric.models.own import OwnBackbone
from domainmetric.recipes import load_file
from domainmetric.training import phases
from domainmetric.training.checkpoint import read_json, read_tensors, write_tensors
from domainmetric.training.phase_lock import alone
from domainmetric.training.tracking import of_process, read_log, timeless
from tests import tiny
from tests.training.running import Killed, after, go_on, report, same, short, told, train, weights


def often_saved(experiment: Experiment) -> Experiment:
    """With checkpoints inside the source phase, as every phase of a usual length has them."""
    return replace(experiment, runtime=replace(experiment.runtime, checkpoint_every=5))


def test_a_reused_phase_gives_the_same_result_and_counts_its_time(tmp_path: Path) -> None:
    experiment = often_saved(short(tiny.experiment(tmp_path, "mmd")))
    first, second = train(experiment), train(experiment)
    assert report(first)["reused"] == [] and report(second)["reused"] == ["source"]
    assert same(weights(first), weights(second))
    assert told(first) == told(second)
    (store,) = (tmp_path / ".phases").glob("[!.]*")
    shared = read_json(first / "report.json")["seconds"], read_json(second / "report.json")["seconds"]
    assert shared[1] > 0.3 * shared[0], "the source phase's recorded time is part of the second run's seconds"
    assert store.suffix == ".safetensors"


def whole_log(folder: Path) -> list[Any]:
    """Everything in the log, aside from times, what tells of processes, and which phases were reused."""
    told = [timeless(record) for record in read_log(folder) if not of_process(record)]
    for record in told:
        if record["kind"] == "summary":
            del record["values"]["reused"]
    return told


def test_the_log_of_a_run_that_reuses_a_phase_is_that_of_the_run_that_trained_it(tmp_path: Path) -> None:
    experiment = short(tiny.experiment(tmp_path, "mmd"))
    first, second = train(experiment), train(experiment)
    assert report(second)["reused"] == ["source"]
    assert any(record["name"] == "audit" for record in whole_log(first) if record["kind"] == "event")
    assert whole_log(second) == whole_log(first)


def test_a_run_that_was_killed_just_after_its_phase_was_stored_tells_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = short(tiny.experiment(tmp_path / "whole", "mmd"))
    undisturbed = train(experiment)

    def killed(path: Path, *arguments: Any, **others: Any) -> None:
        write_tensors(path, *arguments, **others)
        if path.parent.name == ".phases":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(phases, "write_tensors", killed)
        folder = train(replace(experiment, runs_root=tmp_path / "cut"))
    assert not list(folder.glob("checkpoint*")), "the phase must be shorter than the time between checkpoints"
    go_on(folder)
    assert whole_log(folder) == whole_log(undisturbed)
    assert same(weights(folder), weights(undisturbed)) and report(folder) == report(undisturbed)


def test_the_phase_is_shared_by_variants_that_adapt_otherwise(tmp_path: Path) -> None:
    train(short(tiny.experiment(tmp_path, "mmd")))
    other = train(short(tiny.experiment(tmp_path, "information", "dann")))
    assert report(other)["reused"] == ["source"]


def test_a_run_of_the_source_phase_alone_can_reuse_it(tmp_path: Path) -> None:
    first = train(short(tiny.experiment(tmp_path)))
    second = train(short(tiny.experiment(tmp_path)))
    assert report(second)["reused"] == ["source"]
    assert same(weights(first), weights(second))
    assert {**report(second), "reused": []} == report(first)


def test_a_phase_among_whose_checkpoints_one_is_chosen_is_trained_anew(tmp_path: Path) -> None:
    experiment = replace(short(tiny.experiment(tmp_path)), selection=BestScore(score=Entropy()))
    first, second = train(experiment), train(experiment)
    assert report(second) == report(first)
    assert report(second)["reused"] == []


@pytest.mark.parametrize("change", ["seed", "model", "source steps", "data"])
def test_what_the_phase_depends_on_is_part_of_its_key(change: str, tmp_path: Path) -> None:
    experiment = short(tiny.experiment(tmp_path))
    train(experiment)
    changed = {
        "seed": lambda: replace(experiment, seed=1),
        "model": lambda: replace(experiment, model=replace(experiment.model, scale=9.0)),
        "source steps": lambda: short(experiment, source=13),
        "data": lambda: replace(experiment, data=replace(experiment.data, source=tiny.Colored(num_train=324))),
    }[change]()
    assert report(train(changed))["reused"] == []


NET = """
from torch import nn


def my_net(channels, image_size):
    return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
"""


def test_an_edit_of_the_users_network_is_part_of_the_key(tmp_path: Path) -> None:
    def reused(text: str) -> list[str]:
        file = tmp_path / "my_net.py"
        file.write_text(text)
        own = OwnBackbone(function=vars(load_file(file))["my_net"], num_features=16)
        plain = short(tiny.experiment(tmp_path))
        return report(train(replace(plain, model=replace(plain.model, branches=Tied(shared=own)))))["reused"]

    assert [reused(NET), reused(NET)] == [[], ["source"]]
    assert reused(NET.replace("nn.ReLU()", "nn.Tanh()")) == []
    assert reused(NET.replace("3, padding=1", "5, padding=2")) == []


def test_a_stored_phase_of_another_network_is_trained_anew(tmp_path: Path) -> None:
    experiment = short(tiny.experiment(tmp_path))
    first = train(experiment)
    (store,) = (tmp_path / ".phases").glob("[!.]*")
    tensors, facts = read_tensors(store)
    name = next(key for key, value in tensors.items() if value.dim())
    other = {key: torch.full_like(value, 7) for key, value in tensors.items()} | {name: tensors[name][..., :1]}
    write_tensors(store, other, facts)
    second = train(experiment)
    assert report(second)["reused"] == [] and same(weights(first), weights(second))
    assert report(train(experiment))["reused"] == ["source"]


def test_an_interrupted_phase_is_not_stored(tmp_path: Path) -> None:
    experiment = short(tiny.experiment(tmp_path))
    folder = go_on(train(experiment, after(6)))
    assert report(folder)["reused"] == []
    assert not list((tmp_path / ".phases").glob("[!.]*")), (
        "its log began before the interruption, so it could not be told again"
    )


def never_asked() -> bool:
    raise AssertionError("nobody was waiting")


def test_a_phase_that_another_run_trains_is_waited_for_and_taken(tmp_path: Path) -> None:
    experiment = short(tiny.experiment(tmp_path))
    train(experiment)
    (store,) = (tmp_path / ".phases").glob("[!.]*")
    aside = store.rename(tmp_path / "aside")
    held = threading.Event()

    def other_run() -> None:
        with alone(store, never_asked, lambda: None):
            held.set()
            for _ in range(1000):
                if any(b"phase awaited" in log.read_bytes() for log in tmp_path.glob("tiny-*/log.jsonl")):
                    break
                time.sleep(0.05)
            aside.rename(store)

    thread = threading.Thread(target=other_run)
    thread.start()
    assert held.wait(10)
    folder = train(experiment)
    thread.join()
    assert report(folder)["reused"] == ["source"]
    events = [record["name"] for record in read_log(folder) if record["kind"] == "event"]
    assert [name for name in events if name.startswith("phase")] == ["phase awaited", "phase reused"]


def test_a_lock_is_held_by_one_given_back_and_not_waited_for_when_asked_to_stop(tmp_path: Path) -> None:
    store, told = tmp_path / "phases" / "one.safetensors", []
    with (
        alone(store, never_asked, lambda: None),
        pytest.raises(Interrupted, match="waiting for a phase"),
        alone(store, lambda: True, lambda: told.append("waits")),
    ):
        raise AssertionError("both held it")
    assert told == ["waits"]
    with alone(store, never_asked, lambda: None):
        pass
