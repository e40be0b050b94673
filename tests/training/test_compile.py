"""Compiled branches: the same numbers up to rounding, and never compiled twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from domainmetric.errors import ConfigError
from domainmetric.experiment import Experiment
from domainmetric.training.ema import teacher_of
from domainmetric.training.phases import new_network
from domainmetric.training.runtime import check_compiler
from domainmetric.training.tracking import history
from tests import tiny
from tests.training.running import report, short, train, weights


def compiled(experiment: Experiment) -> Experiment:
    return replace(experiment, runtime=replace(experiment.runtime, compile=True))


@pytest.mark.slow
def test_a_compiled_run_is_the_same_but_for_rounding(tmp_path: Path) -> None:
    experiment = short(tiny.full(tmp_path), source=4, adapt=6)
    plain = train(experiment)
    torch._dynamo.utils.counters.clear()
    fast = train(compiled(experiment))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2, "one for each branch, and none for a batch"
    for name, (steps, values) in history(plain).items():
        if name.startswith("loss/"):
            assert history(fast)[name][0] == steps
            assert history(fast)[name][1] == pytest.approx(values, rel=1e-3, abs=1e-4)
    assert set(weights(fast)) == set(weights(plain))
    assert report(fast)["target_accuracy"] == pytest.approx(report(plain)["target_accuracy"], abs=0.02)


def test_only_training_batches_are_compiled() -> None:
    network = new_network(tiny.experiment(Path("runs")), torch.device("cpu"))
    images = torch.rand(3, 3, tiny.SIZE, tiny.SIZE, generator=torch.Generator().manual_seed(0))
    branch = network.branches["source"]
    calls = []
    branch.compiled = True
    branch.backbone._compiled_call_impl = lambda images: calls.append(len(images)) or torch.zeros(len(images), 1)
    teacher = teacher_of(network)
    branch(images)
    assert calls == [3]
    branch.eval()
    expected = branch(images)
    torch.testing.assert_close(teacher.branches["source"](images), expected)
    teacher.train().branches["source"](images)
    assert calls == [3], "neither evaluation nor the teacher"


def test_what_is_lacking_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError) as caught:
        check_compiler(torch.device("cpu"))
    assert str(caught.value) == (
        "runtime.compile needs a C++ compiler (g++, or another one in CXX), but found none here. Install it, or leave "
        "compile out."
    )
