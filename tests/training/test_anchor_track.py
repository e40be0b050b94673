"""Measures of the anchors that compare two looks, count steps or tell a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from domainmetric.anchors.pixel import PixelNearest
from domainmetric.training.anchor_track import AnchorTrack
from domainmetric.training.tracking import TIMES, history
from domainmetric.training.wall_time import WallTime
from domainmetric.types import Matches
from tests import tiny
from tests.training.running import after, go_on, short, told, train


def matched(*labels: int) -> Matches:
    label = torch.tensor(labels)
    return Matches(source_index=label[:, None], label=label, confidence=torch.ones(len(label)), keep=label >= 0)


def spent() -> WallTime:
    with WallTime(torch.device("cpu")) as clock:
        sum(range(1000))
    return clock


def test_looks_are_compared_and_the_banks_age_counted() -> None:
    track = AnchorTrack()
    assert track.look(matched(0, 1), 3) == {}
    track.refreshed(4, spent(), taken=True)
    first = track.look(matched(0, 2), 7)
    assert first["anchors/agreement"] == 0.5 and first["anchors/bank_age"] == 3 and first["anchors/refresh_seconds"] > 0
    track.refreshed(8, spent(), taken=False)
    second = track.look(matched(0, 2), 9)
    assert second["anchors/agreement"] == 1 and second["anchors/bank_age"] == 5, "an older bank is still in use"


def test_a_track_is_taken_up_again() -> None:
    one, other = AnchorTrack(), AnchorTrack()
    one.refreshed(2, spent(), taken=True)
    one.look(matched(0, 1, -1), 3)
    other.restore(one.tensors())
    assert other.look(matched(0, 2, -1), 6) == one.look(matched(0, 2, -1), 6)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(short(tiny.experiment(tmp_path_factory.mktemp("tracked"), "triplet")))


def test_every_look_at_anchors_tells_their_quality(finished: Path) -> None:
    curves = history(finished)
    for name in ("coverage", "class_balance", "unique_share", "hubness", "precision_oracle", "match_ms"):
        assert curves[f"anchors/{name}"][0] == [20, 28, 32], name
    assert curves["anchors/agreement"][0] == [28, 32], "the first look has nothing to be compared with"
    assert curves["anchors/bank_age"] == ([20, 28, 32], [8, 6, 10]), "12 source steps; refreshed before 0 and 10 of 20"
    assert all(value > 0 for name in TIMES & curves.keys() for value in curves[name][1])
    assert {"seconds", "anchors/match_ms", "anchors/refresh_seconds"} <= TIMES & curves.keys()


def test_a_strategy_without_a_bank_has_no_age(tmp_path: Path) -> None:
    experiment = short(tiny.experiment(tmp_path, "triplet", anchors=PixelNearest()), source=2, adapt=8)
    curves = history(train(experiment))
    assert "anchors/bank_age" not in curves and "anchors/refresh_seconds" in curves


def test_a_resumed_run_compares_with_the_look_before_it_was_stopped(finished: Path, tmp_path: Path) -> None:
    stopped = go_on(train(short(tiny.experiment(tmp_path, "triplet")), after(12 + 9)))
    assert told(stopped) == told(finished)
