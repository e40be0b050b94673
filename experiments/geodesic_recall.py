"""Recall@1 of every distance at its own best margin: choosing, final runs, and paired differences with their verdict.

A part of `experiments.geodesic_or_chord`, whose docstring states the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from scipy import stats

from experiments.geodesic_runs import RIGHT_ANGLE, DigitRun
from experiments.tables import spread

EQUIVALENT = 0.5
"""Points of Recall@1 within which a difference does not matter, fixed before the runs."""
Row = dict[str, Any]
Finish = Callable[[Sequence[DigitRun]], Mapping[str, Row]]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What is compared: a distance, an optimizer, and where vectors are normalized."""

    distance: str
    optimizer: str = "matched"
    normalized: str = "in the graph"

    def __str__(self) -> str:
        return f"{self.distance}, {self.optimizer}, {self.normalized}"


MATCHED = tuple(Arm(distance=name) for name in ("chord^2", "chord", "cosine", "geodesic"))
ADAM = tuple(Arm(distance=name, optimizer="adam") for name in ("chord^2", "chord", "cosine", "geodesic"))
AFTER = tuple(Arm(distance=name, normalized="after") for name in ("chord^2", "chord", "cosine", "geodesic"))
FREE = tuple(Arm(distance=name, normalized="free") for name in ("chord^2", "chord"))
COMPARISONS = (
    *((arm, MATCHED[0]) for arm in MATCHED[1:]),
    *((arm, ADAM[0]) for arm in ADAM[1:]),
    *((after, graph) for after, graph in zip(AFTER, MATCHED, strict=True)),
    *((free, graph) for free, graph in zip(FREE, MATCHED[:2], strict=True)),
)
"""Pairs of arms whose difference is told: the first minus the second."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is run."""

    shares: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0)
    """Margins, as shares of each distance of orthogonal vectors."""
    lrs: Mapping[str, tuple[float, ...]] = field(
        default_factory=lambda: {"matched": (1e-3, 3e-3, 1e-2, 3e-2), "adam": (3e-4, 1e-3, 3e-3)}
    )
    tuning_seeds: tuple[int, ...] = (100, 101)
    """The first one alone chooses the learning rates, and the margins of what is normalized elsewhere."""
    seeds: tuple[int, ...] = (201, 202, 203, 204, 205, 206, 207, 208)
    few_seeds: tuple[int, ...] = (201, 202, 203, 204, 205)
    """Of what is normalized elsewhere than in the graph."""
    check_seeds: tuple[int, ...] = (201, 202, 203)
    """Of cosine in the graph, which is chord^2 halved."""
    steps: int = 200
    n: int = 8


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The tables of the series, and Recall@1 in percent by arm and seed."""

    margins: list[Row]
    finals: list[Row]
    differences: list[Row]
    recalls: dict[Arm, dict[int, float]]


def run_of(plan: Plan, arm: Arm, *, share: float, lr: float, seed: int, judge: str = "validation") -> DigitRun:
    """One run of an arm."""
    return DigitRun(
        loss=arm.distance, margin=round(share * RIGHT_ANGLE[arm.distance], 6), miner="all", n=plan.n,
        optimizer=arm.optimizer, normalized=arm.normalized, lr=lr, seed=seed, steps=plan.steps, judge=judge,
    )  # fmt: skip


def series(plan: Plan, finish: Finish) -> Outcome:
    """Choose learning rates, then margins, then run the final seeds. `finish` runs what is missing."""
    margins: list[Row] = []
    recalls: dict[Arm, dict[int, float]] = {}
    finals: list[Row] = []
    chosen: dict[Arm, float] = {}
    for arms, seeds, tuning in (
        (MATCHED, plan.seeds, plan.tuning_seeds),
        (ADAM, plan.seeds, plan.tuning_seeds),
        (AFTER, plan.few_seeds, plan.tuning_seeds[:1]),
        (FREE, plan.few_seeds, plan.tuning_seeds[:1]),
    ):
        lr = best_lr(plan, arms, finish)
        for arm in arms:
            if is_half_chord(arm):
                chosen[arm] = chosen[arms[0]]  # the same loss, halved
            else:
                by_share = tune(plan, arm, lr, tuning, finish)
                chosen[arm] = max(by_share, key=lambda share, of=by_share: of[share])  # type: ignore[misc]
                margins.append(
                    {"arm": str(arm), "lr": lr} | {f"{s:g}": 100 * by_share[s] for s in plan.shares}
                    | {"chosen": chosen[arm]}
                )  # fmt: skip
        runs = {
            (arm, seed): run_of(plan, arm, share=chosen[arm], lr=lr, seed=seed, judge="test")
            for seed in seeds
            for arm in arms
            if seed in plan.check_seeds or not is_half_chord(arm)
        }
        found = finish(list(runs.values()))
        for arm in arms:
            results = {seed: found[run.name] for (other, seed), run in runs.items() if other == arm}
            recalls[arm] = {seed: 100 * result["test_recall_at_1"] for seed, result in results.items()}
            finals.append(final_row(arm, chosen[arm], lr, list(results.values())))
    return Outcome(margins=margins, finals=finals, differences=differences(recalls), recalls=recalls)


def is_half_chord(arm: Arm) -> bool:
    """Whether an arm's loss is another's halved: 1 - cos is |a - b|^2 / 2 between unit vectors."""
    return arm.distance == "cosine" and arm.normalized == "in the graph"


def best_lr(plan: Plan, arms: Sequence[Arm], finish: Finish) -> float:
    """The learning rate of the best Recall@1 of the first and the last arm together, at the second smallest margin."""
    runs = {
        (lr, arm): run_of(plan, arm, share=plan.shares[1], lr=lr, seed=plan.tuning_seeds[0])
        for lr in plan.lrs[arms[0].optimizer]
        for arm in (arms[0], arms[-1])
    }
    found = finish(list(runs.values()))
    scores = {key: found[run.name]["validation_recall_at_1"] for key, run in runs.items()}
    return max(plan.lrs[arms[0].optimizer], key=lambda lr: scores[lr, arms[0]] + scores[lr, arms[-1]])


def tune(plan: Plan, arm: Arm, lr: float, seeds: Sequence[int], finish: Finish) -> dict[float, float]:
    """Mean validation Recall@1 of an arm for each margin of the grid."""
    runs = {(share, seed): run_of(plan, arm, share=share, lr=lr, seed=seed) for share in plan.shares for seed in seeds}
    found = finish(list(runs.values()))
    return {
        share: fmean(found[runs[share, seed].name]["validation_recall_at_1"] for seed in seeds) for share in plan.shares
    }


def final_row(arm: Arm, share: float, lr: float, results: Sequence[Row]) -> Row:
    """The final runs of an arm in a row of the table."""
    recalls = [100 * result["test_recall_at_1"] for result in results]
    return {
        "distance": arm.distance,
        "optimizer": arm.optimizer,
        "normalized": arm.normalized,
        "margin share": share,
        "lr": lr,
        "Recall@1, %": spread(recalls),
        "each seed": ", ".join(f"{value:.2f}" for value in recalls),
        "MAP@R, %": f"{100 * fmean(result['test_map_at_r'] for result in results):.2f}",
        "mean cosine": fmean(result["test_mean_cosine"] for result in results),
        "length": fmean(result["length"] for result in results),
        "active": fmean(result["active"] for result in results),
        "training, s": round(fmean(result["seconds"] for result in results), 1),
    }


def differences(recalls: Mapping[Arm, Mapping[int, float]]) -> list[Row]:
    """Paired over the seeds that both arms have: mean difference, its 95% t-interval, and what follows."""
    rows = []
    for arm, other in COMPARISONS:
        pairs = [recalls[arm][seed] - recalls[other][seed] for seed in recalls[arm] if seed in recalls[other]]
        low, high = interval(pairs)
        rows.append(
            {
                "arm": str(arm),
                "minus": str(other),
                "seeds": len(pairs),
                "points": fmean(pairs),
                "low": low,
                "high": high,
            }
            | {"verdict": verdict(low, high)}
        )
    return rows


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The t-interval of the mean."""
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return fmean(values) - half, fmean(values) + half


def verdict(low: float, high: float) -> str:
    """What an interval of a difference in points says, by the rule that was stated beforehand."""
    words = []
    if low >= -EQUIVALENT and high <= EQUIVALENT:
        words.append("equivalent")
    if low > 0 or high < 0:
        words.append("better" if low > 0 else "worse")
    return ", yet ".join(words) or "undecided"
