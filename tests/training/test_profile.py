"""The profile: every part has its time, the parts add up to a step, and training stays what it is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from domainmetric.parts import Stopwatch, part
from domainmetric.training import runtime
from domainmetric.training.limit import Limit, calls
from domainmetric.training.profile import Once, PhaseProfile, measure, run
from tests import tiny
from tests.training.running import wired

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> list[PhaseProfile]:
    folder = tmp_path_factory.mktemp("profile")
    result = measure(tiny.full(folder, adapt_steps=30), steps=20)
    assert list(folder.iterdir()) == []
    return result


def test_every_part_is_there(profiles: list[PhaseProfile]) -> None:
    both = {"data", "augmentation", "forward: source branch", "forward: head", "forward: classifier", "term: classify"}
    both |= {"gradient shares", "backward", "alarms", "optimizer", "host"}
    adaptation = {"forward: target branch", "teacher and matching", "teacher update", "bank refresh", "pairs", "mining"}
    adaptation |= {"term: triplet", "term: dann", "term: mmd", "term: information"}
    source, adapt = profiles
    assert set(source.parts) == both
    assert set(adapt.parts) == both | adaptation
    for result in profiles:
        assert min(result.parts.values()) > 0


def test_the_parts_add_up_to_a_step(profiles: list[PhaseProfile]) -> None:
    for result in profiles:
        assert result.watched == pytest.approx(
            result.plain, rel=0.5
        )  # steps of a few ms, on a machine that may be busy
        ordinary = sum(ms for name, ms in result.parts.items() if name not in result.every)
        assert ordinary == pytest.approx(result.watched, rel=0.01)


def test_the_table(profiles: list[PhaseProfile]) -> None:
    table = profiles[1].table()
    assert table.startswith("Phase 'adapt' on cpu (1 threads), 32 source + 48 target images in a step\n")
    assert "bank refresh (1 in 20 steps)" in table
    assert f"Data and augmentation together: {profiles[1].feeding_share:.1%} of a step." in table
    assert all(name in table for name in profiles[1].parts)
    made_up = PhaseProfile(
        title="x",
        plain=10.0,
        watched=12.0,
        parts={"data": 1.0, "augmentation": 2.0, "host": 9.0, "bank refresh": 2.0},
        every={"bank refresh": 50},
        limit=6.0,
    )
    assert "together: 21.4% of a step." in made_up.table()
    assert "(+20.0%)" in made_up.table()
    assert "was the machine busy?" in made_up.table()
    assert "forward and backward: 6.00 ms, 50.0% of a step." in made_up.table()


def test_the_limit_encodes_what_a_step_encodes(tmp_path: Path) -> None:
    experiment = tiny.full(tmp_path)
    fabric = runtime.fabric(experiment.runtime)
    state, batches = wired(experiment, "adapt")
    with calls(state.network) as passes:
        run(fabric, experiment, experiment.phases["adapt"], batches, state, Once())
    assert passes == [("source", (32 + 48, 3, 16, 16)), ("target", (48, 1, 16, 16))]
    limit = Limit(state.network, passes, batches.data, fabric)
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    with calls(limit.network) as made:
        limit()
    assert made == passes
    for name, parameter in limit.network.named_parameters():
        assert (parameter.grad is not None) == (not name.startswith("branches.source")), name
    assert all(torch.equal(value, before[name]) for name, value in state.network.state_dict().items())


def test_inner_parts_take_their_time_from_outer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 3.0, 7.0, 15.0, 31.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    watch = Stopwatch(CPU)
    watch.start()  # 0
    with part("outer"), part("inner"):  # 1, 3; 7, 15
        pass
    watch.stop()  # 31
    assert dict(watch.seconds) == {"host": 1.0 + 16.0, "outer": 2.0 + 8.0, "inner": 4.0}


def test_without_a_stopwatch_nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: pytest.fail("the clock was read"))
    with part("anything"):
        done = True
    assert done


def test_profiling_leaves_no_stopwatch_running(tmp_path: Path) -> None:
    measure(tiny.experiment(tmp_path), steps=2)
    watch = Stopwatch(CPU)
    with part("unseen"):
        pass
    assert not watch.seconds
