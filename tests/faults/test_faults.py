"""Injected faults are caught, and what is not faulty is not. The quick tests take a sample; `make faults` takes all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from domainmetric.training.tracking import read_log
from tests.faults.behavior import BEHAVIOR
from tests.faults.fault import Test, whole
from tests.faults.healthy import Healthy, carry_out, false_alarms
from tests.faults.suite import SUITE
from tests.faults.wiring import WIRING
from tests.training.running import train

FAULTS = {fault.name: fault for fault in (*WIRING, *BEHAVIOR, *SUITE)}
SAMPLE = {
    "target embeddings detached in the pairs",
    "frozen branch in training mode",
    "EMA saved as weights: the network follows the teacher",
    "an infinite pixel in a batch",
    "an adversary that drives all targets into one class",
    "matcher left out of the state",
    "the same augmentation in every worker",
    "a fallback with nothing to exchange",
}
assert FAULTS.keys() >= SAMPLE


def sampled(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, id=name, marks=[] if name in SAMPLE else [pytest.mark.slow]) for name in names]


@pytest.mark.parametrize("name", sampled(FAULTS))
def test_a_fault_is_caught(name: str) -> None:
    assert FAULTS[name].try_it() is not None


@pytest.mark.parametrize("name", sampled(f.name for f in SUITE if isinstance(f.caught_by, Test)))
def test_its_test_passes_without_it(name: str, tmp_path: Any) -> None:
    assert FAULTS[name].caught_by.catch(tmp_path) is None


def test_there_are_many_and_each_has_a_name_of_its_own() -> None:
    assert len(FAULTS) == len((*WIRING, *BEHAVIOR, *SUITE)) >= 40
    assert sum(fault.wiring for fault in FAULTS.values()) >= 20


def test_nothing_is_raised_where_nothing_is_wrong(tmp_path: Any) -> None:
    assert [record["text"] for record in read_log(train(whole(tmp_path))) if record["kind"] == "alarm"] == []


@pytest.mark.slow
@pytest.mark.parametrize("number", range(8))
def test_healthy_runs_raise_no_alarm(number: int) -> None:
    assert false_alarms(carry_out(Healthy(number=number))) == []
