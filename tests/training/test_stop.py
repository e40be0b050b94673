"""Signals set a flag, and a run that is asked to stop, even twice, saves its state first."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domainmetric import runner
from domainmetric.errors import Interrupted
from domainmetric.training import loop
from domainmetric.training.checkpoint import read_tensors
from domainmetric.training.phases import CHECKPOINT
from domainmetric.training.stop import StopFlag
from tests import tiny
from tests.faults.wiring import around
from tests.training.running import go_on, report, same, short, train, weights


def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,), (signal.SIGINT,), (signal.SIGTERM,) * 3])
def test_a_signal_sets_the_flag_and_what_was_there_before_comes_back(numbers: tuple[signal.Signals, ...]) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopFlag() as stop:
        assert not stop()
        send(*numbers)
        assert stop()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_after_that_ends_at_once(first: signal.Signals) -> None:
    with StopFlag() as stop:
        send(first)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_two_signals_in_one_step_still_end_with_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = short(tiny.experiment(tmp_path / "cut", "mmd"), source=4, adapt=6)
    undisturbed = train(replace(experiment, runs_root=tmp_path / "whole"))

    def update(original: Any, optimizer: Any, phase: Any, state: Any) -> None:
        original(optimizer, phase, state)
        if state.step == 2:
            send(signal.SIGTERM, signal.SIGTERM)

    with monkeypatch.context() as patch:
        around(loop, "update", update)(patch)
        with pytest.raises(Interrupted, match="Its state is saved"):
            runner.run(experiment)
    (folder,) = experiment.runs_root.glob("tiny-*")
    assert read_tensors(folder / CHECKPOINT)[1]["step"] == 3
    go_on(folder)
    assert same(weights(folder), weights(undisturbed)) and report(folder) == report(undisturbed)
