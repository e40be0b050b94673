"""The numbers of an ablation's tables: each variant over its seeds, and against the baseline over the same seeds."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from domainmetric.ablation.comparison import holm, log_error, mean_ranks, sign_flip_p, t_interval
from domainmetric.ablation.results import Row

BAD = 0.9
"""A run below this accuracy counts as a bad one."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A variant against the baseline, paired over the seeds that both have finished."""

    variant: str
    baseline: str
    seeds: tuple[int, ...]
    points: tuple[float, float, float]
    """Difference in accuracy, in percentage points: mean, and the ends of its 95% t-interval."""
    error_ratio: tuple[float, float, float]
    """The variant's error rate over the baseline's (below 1 is better), as geometric mean, with the 95% t-interval of
    the difference in log error."""
    p: float
    """Of the exact sign-flip test on the differences in log error."""
    p_holm: float
    """The same, corrected for the number of variants."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A variant over its seeds."""

    variant: str
    baseline: bool
    oracle: bool
    """Whether it was trained with target labels."""
    rows: tuple[Row, ...]
    """Its finished runs, by seed."""
    rank: float
    """Mean rank by accuracy over the seeds that every variant has finished; 1 is best. NaN where there is no such."""
    difference: Difference | None
    """None for the baseline, and where no seed is finished by both."""

    @property
    def accuracies(self) -> list[float]:
        """Of each seed, as fractions."""
        return [row.accuracy for row in self.rows]

    @property
    def minimum(self) -> float:
        """The worst seed's accuracy."""
        return min(self.accuracies)

    @property
    def below(self) -> float:
        """Share of runs below 90%."""
        return fmean(accuracy < BAD for accuracy in self.accuracies)

    def spread(self, column: str) -> tuple[float, float]:
        """Mean and standard deviation of a column; NaN where there are too few numbers."""
        values = [value for row in self.rows if (value := row.values[column]) is not None]
        return fmean(values) if values else math.nan, stdev(values) if len(values) > 1 else math.nan


def summarize(
    rows: Sequence[Row], variants: Sequence[str], baseline: str, *, oracle: Collection[str] = ()
) -> list[Summary]:
    """Each variant that has a finished run, in the order given. Those of `oracle` were trained with target labels."""
    by_variant = {name: {row.seed: row for row in rows if row.variant == name} for name in variants}
    finished = {name: found for name, found in by_variant.items() if found}
    others = [name for name in finished if name != baseline]
    raw = [found for name in others if (found := compare(finished[name], finished.get(baseline, {}))) is not None]
    adjusted = holm([difference.p for difference in raw])
    differences = {d.variant: replace(d, p_holm=p) for d, p in zip(raw, adjusted, strict=True)}
    ranks = rank(finished)
    return [
        Summary(
            variant=name,
            baseline=name == baseline,
            oracle=name in oracle,
            rows=tuple(found[seed] for seed in sorted(found)),
            rank=ranks.get(name, math.nan),
            difference=differences.get(name),
        )
        for name, found in finished.items()
    ]


def compare(variant: dict[int, Row], baseline: dict[int, Row]) -> Difference | None:
    """The paired difference of two variants, not yet corrected; None where no seed is in both."""
    seeds = sorted(variant.keys() & baseline.keys())
    if not seeds:
        return None
    pairs = [(variant[seed], baseline[seed]) for seed in seeds]
    one, other = ([row.accuracy for row in side] for side in zip(*pairs, strict=True))
    counts = [[row.num_test for row in side] for side in zip(*pairs, strict=True)]
    logs = list(log_error(one, counts[0]) - log_error(other, counts[1]))
    mean, low, high = t_interval([100 * (a - b) for a, b in zip(one, other, strict=True)])
    ratio = t_interval(logs)
    return Difference(
        variant=pairs[0][0].variant,
        baseline=pairs[0][1].variant,
        seeds=tuple(seeds),
        points=(mean, low, high),
        error_ratio=(math.exp(ratio[0]), math.exp(ratio[1]), math.exp(ratio[2])),
        p=sign_flip_p(logs),
        p_holm=math.nan,
    )


def rank(finished: dict[str, dict[int, Row]]) -> dict[str, float]:
    """Mean ranks over the seeds that all these variants have finished."""
    seeds = sorted(set.intersection(*(set(found) for found in finished.values()))) if finished else []
    table = [[found[seed].accuracy for found in finished.values()] for seed in seeds]
    return dict(zip(finished, mean_ranks(table), strict=True)) if table else {}
