"""Tables of an ablation, from rows whose numbers can be worked out by hand."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest
from scipy import stats

from domainmetric.ablation import tables
from domainmetric.ablation.results import COLUMNS, Row
from domainmetric.ablation.scores import ScoreSummary, correlations, summarize_scores
from domainmetric.ablation.sheets import Sheet, interval
from domainmetric.ablation.summary import summarize
from tests.ablation.rows import finish, row

BASE = [0.80, 0.82, 0.84]
BETTER = [0.90, 0.89, 0.95]
ROWS = [row("base", s, a) for s, a in enumerate(BASE)] + [row("better", s, a) for s, a in enumerate(BETTER)]
ROWS += [row("worse", s, a) for s, a in ((0, 0.7), (2, 0.71))]  # its seed 1 is not finished
NAMES = ["base", "better", "worse"]


def test_each_variant_over_its_seeds() -> None:
    base, better, worse = summarize(ROWS, NAMES, "base")
    assert base.baseline and base.difference is None
    assert better.spread("accuracy") == pytest.approx((fmean(BETTER), stdev(BETTER)))
    assert (better.minimum, better.below) == (0.89, pytest.approx(1 / 3))
    assert [one.rank for one in (base, better, worse)] == [2.0, 1.0, 3.0]  # over seeds 0 and 2, which all have
    assert worse.accuracies == [0.7, 0.71]


def test_differences_are_paired_over_the_seeds_of_both() -> None:
    _, better, worse = summarize(ROWS, NAMES, "base")
    assert better.difference is not None and worse.difference is not None
    assert (better.difference.seeds, worse.difference.seeds) == ((0, 1, 2), (0, 2))
    points = [100 * (a - b) for a, b in zip(BETTER, BASE, strict=True)]
    low, high = stats.t.interval(0.95, 2, loc=fmean(points), scale=stats.sem(points))
    assert better.difference.points == pytest.approx((fmean(points), low, high))
    logs = [math.log((1 - a) / (1 - b)) for a, b in zip(BETTER, BASE, strict=True)]
    low, high = stats.t.interval(0.95, 2, loc=fmean(logs), scale=stats.sem(logs))
    assert better.difference.error_ratio == pytest.approx(tuple(map(math.exp, (fmean(logs), low, high))))
    assert (better.difference.p, better.difference.p_holm) == (0.25, 0.5)
    assert (worse.difference.p, worse.difference.p_holm) == (0.5, 0.5)


def test_a_missing_seed_keeps_its_place() -> None:
    sheet = tables.accuracy_sheet(summarize(ROWS, NAMES, "base"), "a -> b")
    assert sheet.columns[-1] == "each seed (0, 1, 2)"
    assert [row[-1] for row in sheet.rows] == ["80.00, 82.00, 84.00", "90.00, 89.00, 95.00", "70.00, -, 71.00"]
    assert "70.00, -, 71.00" in sheet.markdown() and "70.00, -, 71.00" in sheet.latex()


def test_what_was_trained_with_target_labels_is_marked() -> None:
    found = summarize(ROWS, NAMES, "base", oracle={"base", "better"})
    shown = tables.sheets(found, [], "a -> b", None)
    assert [row[0] for row in shown[0].rows] == ["base (baseline, oracle)", "better (oracle)", "worse"]
    assert [row[0] for row in shown[1].rows] == ["better (oracle)", "worse"]
    assert shown[1].title.startswith("Against base (oracle), ")
    assert [record["oracle"] for record in tables.variant_records(found)] == [True, True, False]


def test_without_a_finished_baseline_nothing_is_compared() -> None:
    found = summarize([one for one in ROWS if one.variant != "base"], NAMES, "base")
    assert [one.variant for one in found] == ["better", "worse"]
    assert all(one.difference is None for one in found)
    assert summarize([], NAMES, "base") == []


def test_one_seed_gives_a_table_without_spread() -> None:
    rows = [row("base", 0, 0.8), row("other", 0, 1.0, coverage=None)]
    _, other = summarize(rows, ["base", "other"], "base")
    assert other.difference is not None
    assert other.difference.error_ratio[0] == pytest.approx(0.0005 / 0.2)  # half an error in a thousand
    shown = tables.sheets(summarize(rows, ["base", "other"], "base"), [], "a -> b", None)
    assert shown[1].rows == (("other", "1", "+20.00", "0.00", "1.0000", "1.0000"),)
    assert shown[2].rows[1][2] == "-"
    nothing = [row("base", 0, 0.8, **dict.fromkeys(set(COLUMNS) - {"accuracy"}))]
    assert [one.title[:9] for one in tables.sheets(summarize(nothing, ["base"], "base"), [], "a -> b", None)] == [
        *("Accuracy ", "Retrieval"),  # no matches where there are no anchors
    ]


def test_too_few_seeds_are_told() -> None:
    assert tables.power_note(6, 8) is None
    assert tables.power_note(1, 1) is None
    note = tables.power_note(6, 7)
    assert note is not None and "no result can have a p below 0.0781" in note and "It takes 8 seeds." in note
    five = tables.power_note(2, 5)
    assert five is not None and "5 seeds and 1 comparison with" in five and "p below 0.0625" in five


def test_runs_by_several_versions_of_the_code_are_told() -> None:
    def note(*codes: str | None) -> str:
        rows = [replace(one, code=code) for one, code in zip(ROWS, codes, strict=False)]
        return tables.accuracy_sheet(summarize(rows, NAMES, "base"), "a -> b").note

    assert "versions" not in note("one", "one", "one") + note(None, None)
    assert "The runs were made by 3 versions of the code" in note("one", "two", None, "two")
    assert tables.run_records([replace(ROWS[0], code="one")])[0]["code"] == "one"


def test_csv_files_read_back() -> None:
    summaries = summarize(ROWS, NAMES, "base")
    variants = list(csv.DictReader(io.StringIO(tables.csv_text(tables.variant_records(summaries)))))
    assert [one["variant"] for one in variants] == NAMES
    assert float(variants[1]["accuracy_mean"]) == pytest.approx(fmean(BETTER))
    assert variants[2]["accuracy_seed_1"] == ""
    assert variants[0]["points"] == "" and variants[0]["baseline"] == "True"
    differences = list(csv.DictReader(io.StringIO(tables.csv_text(tables.difference_records(summaries)))))
    assert [one["variant"] for one in differences] == ["better", "worse"]
    assert float(differences[0]["p_holm"]) == 0.5
    runs = list(csv.DictReader(io.StringIO(tables.csv_text(tables.run_records(ROWS)))))
    assert len(runs) == len(ROWS) and float(runs[0]["score/good"]) == 0.8
    assert tables.csv_text([]) == ""


def test_a_sheet_in_its_three_forms() -> None:
    sheet = Sheet(title="A & B", columns=("variant", "points"), rows=(("a_b", "+1.0 [0.5, 1.5]"),), note="100% ± 1.")
    assert sheet.markdown().splitlines() == [
        *("### A & B", "", "| variant | points |", "|---|---:|", "| `a_b` | +1.0 [0.5, 1.5] |", "", "100% ± 1."),
    ]
    assert r"a\_b & +1.0 [0.5, 1.5] \\" in sheet.latex()
    assert r"\caption{A \& B. 100\% $\pm$ 1.}" in sheet.latex()
    assert interval((1.0, math.nan, math.nan), sign=True) == "+1.0"


def test_a_score_that_orders_variants_rightly_and_one_that_does_not(tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text('{"experiment": {"phases": {"one": {"steps": 0}}}}')
    finish(tmp_path, 0.5, {}, {})
    rows = [Row(**{**vars(one), "folder": tmp_path}) for one in ROWS]
    found = {one.score: one for one in summarize_scores(rows)}
    assert found["good"].over_variants == 1.0 and found["bad"].over_variants == -1.0
    assert found["good"].num_seeds == 2  # seed 1 has two variants only, over which no correlation is defined
    assert math.isnan(found["constant"].over_variants) and found["constant"].num_seeds == 0
    assert (found["good"].chooses, found["good"].gap) == ("better", 0.0)
    assert found["bad"].chooses == "worse"
    assert found["bad"].gap == pytest.approx(100 * ((0.90 + 0.95) / 2 - 0.705))  # over seeds 0 and 2, which all have
    assert found["bad"].best == "better"
    assert tables.scores_sheet(list(found.values())).rows[0][0] == "good"
    assert [record["score"] for record in tables.score_records(list(found.values()))] == ["bad", "constant", "good"]
    assert summarize_scores([]) == []


def test_scores_compare_variants_over_the_seeds_that_all_have(tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text('{"experiment": {"phases": {"one": {"steps": 0}}}}')
    finish(tmp_path, 0.5, {}, {})

    def good(*rows: Row) -> ScoreSummary:
        found = summarize_scores([replace(one, folder=tmp_path) for one in rows])
        return next(one for one in found if one.score == "good")

    # seed 1 is hard, and the worse variant lacks it: over all of its seeds it would look better
    both = row("better", 0, 0.9), row("better", 1, 0.5)
    one = good(*both, row("worse", 0, 0.8))
    assert (one.chooses, one.best, one.accuracy, one.gap, one.num_shared) == ("better", "better", 0.9, 0.0, 1)
    assert "over the 1 seed that all these variants have finished" in tables.scores_sheet([one]).note
    none = good(row("better", 0, 0.9), row("worse", 1, 0.8))
    assert (none.chooses, none.best, none.num_shared) == (None, None, 0)
    assert tables.scores_sheet([none]).rows[0][3:] == ("-", "-", "-")
    assert tables.score_records([none])[0]["chooses"] is None


def test_correlations_over_checkpoints_look_at_the_last_phase_alone() -> None:
    steps = [10, 20, 30, 40, 50]
    curves = {
        "eval/target/accuracy_oracle": (steps, [0.9, 0.1, 0.2, 0.3, 0.4]),
        "score/up": (steps, [0.0, 1.0, 2.0, 3.0, 4.0]),
        "score/short": ([10, 20], [1.0, 2.0]),
        "loss/total": (steps, [5.0, 4.0, 3.0, 2.0, 1.0]),
    }
    found = correlations(curves, begin=20)
    assert found.keys() == {"up", "short"}
    assert found["up"] == pytest.approx(1.0)
    assert math.isnan(found["short"])
    assert correlations(curves, begin=0)["up"] < 1
