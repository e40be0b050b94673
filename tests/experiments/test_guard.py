"""The guard study's rules, on a course whose numbers can be read off."""

from __future__ import annotations

from dataclasses import replace

from experiments.guard import ALIGNMENT, LAST, Course, below, by_variant, equal, rules, summary, unequal

STEPS = (400, 425, 450, 475)


def course(*accuracies: float, mmd: tuple[float, ...]) -> Course:
    """Scores that rise with the steps, whatever the accuracy does."""
    names = ("bnm", "neighbor_agreement")
    scores = {name: dict(zip(STEPS, (1.0, 2.0, 3.0, 4.0), strict=True)) for name in names}
    scores["mmd"] = dict(zip(STEPS, mmd, strict=True))
    return Course(variant="one", scores=scores, oracle=dict(zip(STEPS, accuracies, strict=True)))


GOOD = course(0.7, 0.8, 0.9, 0.85, mmd=(-0.3, -0.2, -0.1, -0.05))
BAD = course(0.7, 0.75, 0.5, 0.2, mmd=(-0.3, -0.2, -0.4, -0.5))


def test_a_score_chooses_among_the_start_and_all_looks() -> None:
    assert (GOOD.by("bnm"), BAD.by("bnm"), BAD.by("mmd")) == (0.85, 0.2, 0.75)
    nothing_better = course(0.7, 0.6, 0.5, 0.4, mmd=(-0.1, -0.2, -0.3, -0.4))
    assert nothing_better.by("mmd") == nothing_better.start == 0.7


def test_the_guard_wants_what_is_clearly_better_than_the_start_and_then_the_best() -> None:
    for agreement, expected in (((0.5, 0.53, 0.57, 0.55), 0), ((0.5, 0.6, 0.7, 0.65), 2), ((0.5, 0.9, 0.57, 0.6), 1)):
        scores = {"neighbor_agreement": dict(zip(STEPS, agreement, strict=True))}
        course = replace(GOOD, scores=scores)
        assert course.guarded() == course.oracle[STEPS[expected]]
    assert BAD.guarded() == 0.2, "where both rise, it is deceived"


def test_the_tables_count_what_ends_below_the_start() -> None:
    courses = [GOOD, BAD]
    found = rules(courses)
    assert {name: below(courses, rule) for name, rule in found.items() if name in ("bnm", "mmd")} == {
        "mmd": 0,
        "bnm": 1,
    }
    assert below(courses, LAST) == 1 and list(found)[-1] == "the best look (oracle)"
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in summary(courses).splitlines()}
    assert rows["bnm"] == "| bnm | 1 of 2 | 1 of 1 | 50.0 | 52.5 | 30.0 |"
    assert "| bnm | 52.5 (1 below) |" in by_variant(courses)


def test_all_adaptations_share_their_start() -> None:
    arms = unequal()
    assert list(arms) == list(equal()) == ["random", "pixel", "confident", "semantic", *ALIGNMENT]
    assert len({str(arm.phases["source"]) for arm in arms.values()}) == 1
    assert arms["dann"].anchors is None and set(arms["dann"].terms) == {"classify", "dann"}
    assert {arm.data.target.name for arm in arms.values()} == {"sklearn_digits_imbalanced"}
