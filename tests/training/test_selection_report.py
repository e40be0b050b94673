"""What a run records of selection: the first of the best by each score, and what that choice would have cost."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest

from domainmetric.errors import ConfigError, DataError
from domainmetric.experiment import BestScore
from domainmetric.metrics.selection import Evidence, SelectionScore
from domainmetric.reporting import choice
from domainmetric.training.tracking import history
from tests import tiny
from tests.training.running import report, short, train, weights


def test_the_highest_score_is_chosen_and_the_first_of_equals() -> None:
    assert choice({10: 0.2, 20: 0.5, 30: 0.5, 40: -1.0}) == 20
    assert choice({10: -3.0, 20: -1.0}) == 20, "scores below zero: higher is still better"
    assert choice({10: math.nan, 20: 0.1, 30: math.nan}) == 20
    assert choice({10: math.nan}) is None and choice({}) is None


def test_each_score_tells_its_choice_and_the_oracle_gap(tmp_path: Path) -> None:
    folder = train(short(tiny.experiment(tmp_path, "mmd")))
    curves, found = history(folder), report(folder)["selection"]
    begin, (steps, accuracies) = 12, curves["eval/target/accuracy_oracle"]
    best = max(accuracy for step, accuracy in zip(steps, accuracies, strict=True) if step >= begin)
    scores = [name for name in curves if name.startswith("score/")]
    assert len(scores) == len(found["would_choose"]) == 9
    for name in scores:
        expected = None
        for step, value in dict(zip(*curves[name], strict=True)).items():  # of the two looks at `begin`, the second
            if step >= begin and (expected is None or value > expected[1]):
                expected = step, value
        assert expected is not None
        told = found["would_choose"][name.removeprefix("score/")]
        accuracy = dict(zip(steps, accuracies, strict=True))[expected[0]]
        assert told == {"step": expected[0], "accuracy_oracle": accuracy, "gap_oracle": best - accuracy}
    assert found["gap_oracle"] == best - found["accuracy_oracle"] >= 0


@dataclass(frozen=True, kw_only=True)
class NoNumber(SelectionScore):
    """Has nothing to say."""

    def score(self, evidence: Evidence) -> float:
        return math.nan


def test_a_selection_by_what_is_no_number_is_refused(tmp_path: Path) -> None:
    experiment = replace(short(tiny.experiment(tmp_path), source=2), selection=BestScore(score=NoNumber()))
    with pytest.raises(DataError, match="NoNumber is NaN at step 2"):
        train(experiment)


@dataclass(frozen=True, kw_only=True)
class EverWorse(SelectionScore):
    """Likes each checkpoint less than the one before."""

    def score(self, evidence: Evidence) -> float:
        return -float(next(LOOKS["worse"]))


@dataclass(frozen=True, kw_only=True)
class Told(SelectionScore):
    """Gives the looks of a phase the scores that it is told, one after the other."""

    name: str
    scores: tuple[float, ...]

    def score(self, evidence: Evidence) -> float:
        return self.scores[next(LOOKS[self.name])]


LOOKS: defaultdict[str, count] = defaultdict(count)


@pytest.mark.parametrize(
    ("margin", "scores", "step"),
    [
        (0.0, (0.0, 1.0, 2.0, 3.0), 32),
        (0.0, (0.0, 1.0, 1.0, 0.5), 20),
        (2.0, (0.0, 1.0, 5.0, 4.0), 28),
        (2.0, (0.0, 3.0, 3.5, 4.0), 32),
        (5.0, (0.0, 1.0, 5.0, 4.0), 12),
        (2.0, (9.0, 1.0, 5.0, 4.0), 12),
    ],
)
def test_what_is_better_than_the_start_by_the_margin_may_be_best(
    margin: float, scores: tuple[float, ...], step: int, tmp_path: Path
) -> None:
    """Looks are at 12, the start of the adaptation, 20, 28 and 32."""
    experiment = short(tiny.experiment(tmp_path, "mmd"))
    rule = BestScore(score=Told(name=tmp_path.name, scores=scores), margin=margin)
    found = report(train(replace(experiment, selection=rule)))["selection"]
    assert found["step"] == step and found["rule"] == "BestScore(Told)"


@pytest.mark.parametrize(
    ("rule", "least"),
    [(BestScore(), 0.08), (BestScore(score=EverWorse()), 0.0), (BestScore(margin=0.5), 0.5), (BestScore(margin=0), 0)],
)
def test_the_margin_is_the_score_s_own_unless_it_is_given(rule: BestScore, least: float) -> None:
    assert rule.least_gain == least
    assert not rule.prefers(1 + least, 1.0, 1.0)
    assert rule.prefers(1.01 + least, 1.0, 1.0)


@pytest.mark.parametrize("margin", [-0.1, math.inf, math.nan])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(ConfigError, match=r"BestScore.margin must be a number from 0 on"):
        BestScore(score=EverWorse(), margin=margin)


def test_what_an_adaptation_begins_from_may_be_selected(tmp_path: Path) -> None:
    """Here the adaptation is harmful by the score, and its start is reported."""
    experiment = short(tiny.experiment(tmp_path, "mmd"))
    folder = train(replace(experiment, selection=BestScore(score=EverWorse())))
    assert report(folder)["selection"]["step"] == 12
    source = train(replace(experiment, name="tiny-last"))
    assert report(source)["selection"]["step"] == 32
    moved = [name for name, value in weights(folder).items() if not value.equal(weights(source)[name])]
    assert any("branches.target" in name for name in moved)
    steps, _ = history(folder)["eval/target/accuracy_oracle"]
    assert steps == [8, 12, 12, 20, 28, 32], "the end of the source phase, then the calibrated start of the adaptation"
