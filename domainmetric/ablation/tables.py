"""The tables of an ablation, as sheets for people and as CSV files for pandas.

`runs.csv` has one row for each run, `table.csv` one for each variant, `differences.csv` one for each variant against
the baseline, `scores.csv` one for each label-free score. In CSV files accuracies are fractions, seconds are seconds;
columns with `points` are percentage points. What is undefined is left empty. `oracle` marks what was trained with
target labels.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence

from domainmetric.ablation.comparison import LEVEL, fewest_seeds, least_p
from domainmetric.ablation.results import COLUMNS, Row, versions_note
from domainmetric.ablation.scores import ScoreSummary
from domainmetric.ablation.sheets import NONE, Sheet, interval, number, percent, spread
from domainmetric.ablation.summary import Summary
from domainmetric.escaping import csv_cell

Cell = str | int | float | bool | None


def power_note(num_variants: int, num_seeds: int) -> str | None:
    """What must be said before the runs where no result could reject; None where one could."""
    comparisons = num_variants - 1
    if not comparisons or least_p(num_seeds, comparisons) <= LEVEL:
        return None
    against = f"{comparisons} comparison{'s' * (comparisons > 1)} with the baseline"
    return (
        f"Too few seeds for a test: with {num_seeds} seed{'s' * (num_seeds > 1)} and {against} no result can have a "
        f"p below {least_p(num_seeds, comparisons):.3g}, so nothing can be rejected at 5%. "
        f"It takes {fewest_seeds(comparisons)} seeds. Intervals and every seed are shown all the same."
    )


def sheets(summaries: Sequence[Summary], scores: Sequence[ScoreSummary], pair: str, note: str | None) -> list[Sheet]:
    """All tables for people."""
    found = [accuracy_sheet(summaries, pair), difference_sheet(summaries, note)]
    found += [anchors_sheet(summaries), retrieval_sheet(summaries)]
    found += [scores_sheet(scores)] if scores else []
    return [sheet for sheet in found if sheet.rows]


def accuracy_sheet(summaries: Sequence[Summary], pair: str) -> Sheet:
    """Accuracy: what most people look at."""
    rows, seeds = [], sorted({row.seed for one in summaries for row in one.rows})
    for one in summaries:
        mean, deviation = one.spread("accuracy")
        found = {row.seed: row.accuracy for row in one.rows}
        rows.append(
            (
                named(one),
                spread(100 * mean, 100 * deviation, 2),
                percent(one.minimum, 2),
                f"{one.below:.0%}",
                number(one.rank),
                ", ".join(percent(found.get(seed, math.nan), 2) for seed in seeds),
            )
        )
    versions = versions_note(row.code for one in summaries for row in one.rows)
    return Sheet(
        title=f"Accuracy on target test images in percent, {pair}",
        columns=("variant", "mean ± sd", "minimum", "runs < 90%", "rank", f"each seed ({', '.join(map(str, seeds))})"),
        rows=tuple(rows),
        note="Rank: mean over the seeds that all variants have finished; 1 is best."
        f"{f' {versions} See `code` in runs.csv.' if versions else ''}",
    )


def difference_sheet(summaries: Sequence[Summary], note: str | None) -> Sheet:
    """Each variant against the baseline."""
    baseline = "".join(f"{one.variant}{' (oracle)' * one.oracle}" for one in summaries if one.baseline)
    rows = [
        (
            named(one),
            str(len(found.seeds)),
            interval(found.points, 2, sign=True),
            interval(found.error_ratio, 2),
            number(found.p, 4),
            number(found.p_holm, 4),
        )
        for one in summaries
        if (found := one.difference) is not None
    ]
    return Sheet(
        title=f"Against {baseline}, paired over seeds",
        columns=("variant", "seeds", "points [95%]", "error ratio [95%]", "p", "p (Holm)"),
        rows=tuple(rows),
        note="Points: difference in accuracy. Error ratio: t-interval on log error, below 1 is better. p: exact "
        f"sign-flip test on log error.{f' {note}' if note else ''}",
    )


def anchors_sheet(summaries: Sequence[Summary]) -> Sheet:
    """How good the matches are, at the last look of each run; nothing where no variant has anchors."""
    shares = ("match_precision_oracle", "coverage", "class_balance", "unique_share", "agreement")
    rows = []
    for one in summaries:
        cells = [in_percent(one.spread(name)) for name in shares]
        others = (("hubness", 1), ("bank_age", 0), ("match_ms", 1))
        rows.append((named(one), *cells, *(number(one.spread(name)[0], digits) for name, digits in others)))
    return Sheet(
        title="Matches at the end, in percent",
        columns=(
            *("variant", "precision (oracle)", "coverage", "class balance", "unique anchors", "agreement"),
            *("hubness", "bank age, steps", "ms per batch"),
        ),
        rows=tuple(row for row in rows if set(row[1:]) != {NONE}),
        note="Mean ± standard deviation over seeds. Precision: over all target items, an abstention counts as wrong. "
        "Class balance: entropy of the matched labels over that of equal shares. Agreement: with the matches of the "
        "look before. Hubness: skewness of how often each source item that could be an anchor is chosen; chance has "
        "1 / sqrt(mean). Bank age: of the oldest row.",
    )


def retrieval_sheet(summaries: Sequence[Summary]) -> Sheet:
    """Retrieval, oracle gap and time."""
    names = ("precision_at_1", "map_at_r", "gap_oracle")
    rows = [
        (named(one), *(in_percent(one.spread(name)) for name in names), number(one.spread("seconds")[0], 0))
        for one in summaries
    ]
    return Sheet(
        title="Retrieval and oracle gap, in percent; training time",
        columns=("variant", "P@1", "MAP@R", "oracle gap", "seconds"),
        rows=tuple(rows),
        note="Mean ± standard deviation over seeds. P@1 and MAP@R: target test images search the source training set. "
        "Oracle gap: of the reported checkpoint to the best one.",
    )


def in_percent(fractions: tuple[float, float]) -> str:
    """Mean and deviation of fractions."""
    return spread(100 * fractions[0], 100 * fractions[1])


def scores_sheet(scores: Sequence[ScoreSummary]) -> Sheet:
    """Which label-free score may be trusted."""
    rows = [
        (
            one.score,
            f"{number(one.over_checkpoints, 2)} ({one.num_runs})",
            f"{number(one.over_variants, 2)} ({one.num_seeds})",
            one.chooses or NONE,
            percent(one.accuracy, 2),
            number(one.gap, 2),
        )
        for one in sorted(scores, key=lambda one: (math.isnan(one.gap), one.gap, one.score))
    ]
    shared = scores[0].num_shared
    return Sheet(
        title=f"Label-free scores: which may be trusted (best variant by labels, oracle: {scores[0].best or NONE})",
        columns=("score", "over checkpoints (runs)", "over variants (seeds)", "chooses", "accuracy", "oracle gap"),
        rows=tuple(rows),
        note="Spearman's correlation with oracle accuracy over the checkpoints of a run, and with final accuracy over "
        "variants; means over as many runs and seeds as it is defined in. Choice, accuracy and best variant: over the "
        f"{shared} seed{'s' * (shared != 1)} that all these variants have finished. Oracle gap: points that the choice "
        "loses. Variants trained with target labels are no candidates.",
    )


def named(one: Summary) -> str:
    """The variant's name, marked where it is the baseline, and where it was trained with target labels."""
    marks = ["baseline"] * one.baseline + ["oracle"] * one.oracle
    return f"{one.variant} ({', '.join(marks)})" if marks else one.variant


def run_records(rows: Sequence[Row], oracle: Collection[str] = ()) -> list[dict[str, Cell]]:
    """`runs.csv`: tidy, one row for each finished run. Variants of `oracle` were trained with target labels."""
    scores = sorted({name for row in rows for name in row.scores})
    return [
        {
            "variant": row.variant,
            "seed": row.seed,
            "oracle": row.variant in oracle,
            **{name: row.values[name] for name in COLUMNS},
            **{f"score/{name}": row.scores.get(name) for name in scores},
            "folder": row.folder.name,
            "code": row.code,
        }
        for row in rows
    ]


def variant_records(summaries: Sequence[Summary]) -> list[dict[str, Cell]]:
    """`table.csv`: one row for each variant."""
    seeds = sorted({row.seed for one in summaries for row in one.rows})
    records = []
    for one in summaries:
        mean, deviation = one.spread("accuracy")
        record: dict[str, Cell] = {"variant": one.variant, "baseline": one.baseline, "oracle": one.oracle}
        record |= {"num_runs": len(one.rows)}
        record |= {"accuracy_mean": mean, "accuracy_sd": deviation, "accuracy_min": one.minimum}
        record |= {"share_below_90": one.below, "rank": one.rank}
        found = {row.seed: row.accuracy for row in one.rows}
        record |= {f"accuracy_seed_{seed}": found.get(seed) for seed in seeds}
        record |= difference_columns(one)
        for name in COLUMNS:
            if name != "accuracy":
                record |= dict(zip((f"{name}_mean", f"{name}_sd"), one.spread(name), strict=True))
        records.append(record)
    return records


def difference_records(summaries: Sequence[Summary]) -> list[dict[str, Cell]]:
    """`differences.csv`: one row for each variant that is compared with the baseline."""
    return [
        {
            "variant": d.variant,
            "baseline": d.baseline,
            "oracle": one.oracle,
            "num_seeds": len(d.seeds),
            **difference_columns(one),
        }
        for one in summaries
        if (d := one.difference) is not None
    ]


def difference_columns(one: Summary) -> dict[str, Cell]:
    """A variant's difference to the baseline, in columns."""
    names = [f"{what}{end}" for what in ("points", "error_ratio") for end in ("", "_low", "_high")] + ["p", "p_holm"]
    if one.difference is None:
        return dict.fromkeys(names)
    d = one.difference
    return dict(zip(names, (*d.points, *d.error_ratio, d.p, d.p_holm), strict=True))


def score_records(scores: Sequence[ScoreSummary]) -> list[dict[str, Cell]]:
    """`scores.csv`: one row for each label-free score."""
    return [
        {
            "score": one.score,
            "spearman_checkpoints": one.over_checkpoints,
            "num_runs": one.num_runs,
            "spearman_variants": one.over_variants,
            "num_seeds": one.num_seeds,
            "chooses": one.chooses,
            "accuracy_mean": one.accuracy,
            "gap_points_oracle": one.gap,
            "num_shared_seeds": one.num_shared,
            "best_oracle": one.best,
        }
        for one in scores
    ]


def csv_text(records: Sequence[Mapping[str, Cell]]) -> str:
    """Records as CSV under their names; what is undefined is left empty."""
    if not records:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: csv_value(value) for name, value in record.items()})
    return text.getvalue()


def csv_value(value: Cell) -> Cell:
    """What stands in the file: text that no spreadsheet computes, nothing for what is undefined."""
    if isinstance(value, str):
        return csv_cell(value)
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
