"""Geodesic or chord: the toy collapses as told, gradients go as an arm says, and nothing is chosen on the test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from domainmetric import ImageSet, MarginTriplet
from domainmetric.data.digits import DIGIT_CLASSES
from domainmetric.data.store import write_store
from domainmetric.diagnostics.gradients import tangential
from domainmetric.geometry import normalize
from domainmetric.metrics.collapse import mean_cosine
from domainmetric.randomness import isolated
from experiments import collapse_toy, geodesic_angles, geodesic_or_chord, geodesic_recall, geodesic_runs
from experiments.collapse_toy import Toy, ToyRun
from experiments.geodesic_recall import Arm, Plan
from experiments.geodesic_runs import DigitRun
from experiments.lab import Encoder

RUN = DigitRun(loss="chord^2", margin=0.5, miner="all", n=2, optimizer="matched", lr=0.03, seed=1, steps=3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Prepared SVHN of noise: 12 training images of each digit."""
    folder = tmp_path_factory.mktemp("data")
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat(12)
    images = torch.randint(0, 256, (len(labels), 32, 32, 3), dtype=torch.uint8, generator=draw)
    train = ImageSet(images=images, labels=labels, classes=DIGIT_CLASSES)
    write_store(folder, "svhn", {"train": train, "test": train.take(torch.arange(20))}, sources=())
    yield folder
    geodesic_runs.tasks.cache_clear()


def test_toy_starts_in_half_the_sphere_and_draws_what_it_says() -> None:
    toy = Toy(0)
    inputs, labels = toy.draw(3, "train", 5, classes=8)
    assert torch.equal(inputs, toy.draw(3, "train", 5, classes=8)[0])
    assert not torch.equal(inputs, toy.draw(3, "train", 6, classes=8)[0])
    assert labels.unique(return_counts=True)[1].tolist() == [3] * 8
    assert 0.3 < mean_cosine(inputs) < 0.7


@pytest.mark.parametrize(("loss", "collapses"), [("chord^2", True), ("geodesic", True), ("L1", True), ("L2", False)])
def test_first_order_collapses_and_second_order_does_not(loss: str, collapses: bool) -> None:
    run = ToyRun(loss=loss, miner="HPHN", n=2, classes=32, lr=1.0, seed=0, steps=60)
    assert (collapse_toy.work(run)["mean_cosine"] > geodesic_or_chord.COLLAPSED) is collapses


@pytest.mark.parametrize("normalized", ["in the graph", "after", "free"])
def test_gradient_goes_the_way_that_an_arm_says(normalized: str) -> None:
    draw = torch.Generator().manual_seed(0)
    raw = (2 * torch.randn(6, 4, dtype=torch.float64, generator=draw)).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    loss = geodesic_runs.loss_of(replace(RUN, normalized=normalized, margin=3.0))
    value = loss.of(geodesic_runs.pairs_of(geodesic_runs.seen_by_loss(raw, normalized), labels)).value
    (gradient,) = torch.autograd.grad(value, raw)

    at = raw.detach() if normalized == "free" else normalize(raw.detach())
    total, whole = 0.0, torch.zeros_like(at)
    triplets = [
        (a, p, n) for a in range(6) for p in range(6) for n in range(6) if a != p and a // 2 == p // 2 != n // 2
    ]
    for a, p, n in triplets:
        hinge = (at[a] - at[p]).square().sum() - (at[a] - at[n]).square().sum() + 3.0
        total += max(0.0, float(hinge)) / len(triplets)
        if hinge > 0:
            whole[a] += 2 * (at[n] - at[p]) / len(triplets)
            whole[p] += 2 * (at[p] - at[a]) / len(triplets)
            whole[n] += 2 * (at[a] - at[n]) / len(triplets)
    if normalized == "in the graph":
        whole = tangential(whole, at) / raw.detach().norm(dim=1, keepdim=True)
    assert float(value.detach()) == pytest.approx(total, rel=1e-6)
    torch.testing.assert_close(gradient, whole)


@pytest.mark.parametrize(("optimizer", "one"), [("matched", True), ("adam", False)])
@pytest.mark.parametrize("normalized", ["in the graph", "after"])
def test_matched_gradients_have_length_one_where_the_loss_sees_them(
    root: Path, optimizer: str, one: bool, normalized: str
) -> None:
    lengths: list[float] = []

    def watch(step: int, encoder: Encoder, raw: Tensor, labels: Tensor) -> None:
        factor = raw.detach().norm(dim=1, keepdim=True) if normalized == "in the graph" else 1.0
        raw.register_hook(lambda gradient: lengths.append(float((gradient * factor).norm())))

    geodesic_runs.train(replace(RUN, optimizer=optimizer, normalized=normalized), geodesic_runs.tasks(root)[0], watch)
    assert len(lengths) == RUN.steps
    assert all((length == pytest.approx(1, rel=1e-4)) is one for length in lengths)


def test_free_vectors_are_brought_back_to_length_one() -> None:
    with isolated(0, "test"):
        encoder, images = Encoder(3, 8, (4, 8)), torch.rand(6, 3, 32, 32)
    geodesic_runs.shorten(encoder, float(encoder.raw(images).detach().norm(dim=1).mean()))
    assert float(encoder.raw(images).detach().norm(dim=1).mean()) == pytest.approx(1, rel=1e-4)


def test_validation_and_test_images_are_never_trained_on(root: Path) -> None:
    held, test = geodesic_runs.tasks(root)
    assert held.train.labels is not None and held.test.labels is not None and test.test.labels is not None
    assert int(held.train.labels.max()) == int(held.test.labels.max()) == 4
    assert int(test.test.labels.min()) == 5
    assert len(held.train) + len(held.test) == 60
    trained, other = held.train.images.flatten(1), held.test.images.flatten(1)
    assert not (trained[:, None] == other).all(2).any()


def test_cosine_is_chord_squared_halved_so_matched_runs_are_the_same(root: Path) -> None:
    one = geodesic_runs.work(RUN, root)
    two = geodesic_runs.work(replace(RUN, loss="cosine", margin=0.25), root)
    assert {**one, "seconds": 0} == {**two, "seconds": 0}


def test_angles_are_those_of_the_worked_example(root: Path) -> None:
    corner = {(row["distance"], row["gamma"]): row["degrees"] for row in geodesic_angles.at_the_corner()}
    found = [corner["chord^2", gamma] for gamma in geodesic_angles.GAMMAS]
    assert found == pytest.approx([33.7, 49.2, 71.0], abs=0.06)
    rows = geodesic_angles.measured({"": geodesic_angles.work(RUN, root)})
    assert {row["step"] for row in rows} == {0, 2}
    for row in rows:
        assert (row["weights"] < 0.1) is (row["distance"] == "geodesic")
        assert row["kept"] == pytest.approx(1, abs=1e-3) or row["distance"] != "geodesic"


def test_choices_are_made_on_validation_alone_and_final_seeds_are_fresh() -> None:
    plan = Plan()
    asked: list[DigitRun] = []

    def finish(runs: Sequence[DigitRun]) -> dict[str, dict[str, float]]:
        """Best at the largest lr and at share 0.5; geodesic better than chord^2 by 1 point, chord the same."""
        asked.extend(runs)
        results = {}
        for run in runs:
            assert run.margin is not None
            share = run.margin / geodesic_runs.RIGHT_ANGLE[run.loss]
            recall = 0.5 + run.lr - 0.1 * abs(share - 0.5) + 0.01 * (run.loss == "geodesic") + 1e-3 * run.seed
            recall += 1e-5 * run.seed * (run.loss == "geodesic")
            fixed = {"test_map_at_r": 0.1, "test_mean_cosine": 0.5, "length": 1.0, "active": 0.5, "seconds": 1.0}
            kind = "test" if run.judge == "test" else "validation"
            results[run.name] = {f"{kind}_recall_at_1": round(recall, 5), **fixed}
        return results

    outcome = geodesic_recall.series(plan, finish)
    tested = [run for run in asked if run.judge == "test"]
    assert {run.seed for run in tested} == set(plan.seeds)
    assert not {run.seed for run in asked if run.judge == "validation"} & set(plan.seeds)
    assert {(run.optimizer, run.lr) for run in tested} == {("matched", 0.03), ("adam", 0.003)}
    assert {row["chosen"] for row in outcome.margins} == {0.5}
    verdicts = {(row["arm"], row["minus"]): row for row in outcome.differences}
    assert len(verdicts) == len(geodesic_recall.COMPARISONS)
    against = str(Arm(distance="chord^2"))
    assert verdicts[str(Arm(distance="chord")), against]["verdict"] == "equivalent"
    better = verdicts[str(Arm(distance="geodesic")), against]
    assert better["verdict"] == "better" and better["seeds"] == 8
    assert better["points"] == pytest.approx(1 + 0.2045)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.4, 0.5, "equivalent"),
        (0.1, 0.4, "equivalent, yet better"),
        (-0.9, -0.1, "worse"),
        (-0.6, 0.2, "undecided"),
        (0.2, 3.0, "better"),
    ],
)
def test_verdict_keeps_to_the_rule(low: float, high: float, said: str) -> None:
    assert geodesic_recall.verdict(low, high) == said


def test_interval_is_students() -> None:
    low, high = geodesic_recall.interval([1.0, 2.0, 4.0])  # mean 7/3, deviation 1.5275, t(2) = 4.3027
    assert (low, high) == pytest.approx((7 / 3 - 3.7946, 7 / 3 + 3.7946), abs=1e-3)


@pytest.mark.slow
def test_tiny_series_writes_everything_and_goes_on_where_it_stopped(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--tiny", f"--data-root={root}", f"--results={tmp_path}"]
    assert geodesic_or_chord.main(command) == 0
    written = {path.name for path in (tmp_path / "tiny").iterdir()}
    for part in geodesic_or_chord.PARTS:
        assert {f"{part}.json", f"{part}.png"} <= written
    assert {"toy.md", "collapse.csv", "recall_differences.md", "recall_margins.csv", "angles_measured.md"} <= written
    first = capsys.readouterr().out
    assert "| geodesic, matched, in the graph | chord^2, matched, in the graph | 2 |" in first

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a finished run was run again")

    monkeypatch.setattr(collapse_toy, "work", refuse)
    monkeypatch.setattr(geodesic_runs, "work", refuse)
    monkeypatch.setattr(geodesic_angles, "work", refuse)
    records = (tmp_path / "tiny" / "recall.json").read_text()
    assert geodesic_or_chord.main(command) == 0
    assert capsys.readouterr().out == first
    assert (tmp_path / "tiny" / "recall.json").read_text() == records
    assert all(set(record) == {"settings", "result"} for record in json.loads(records).values())


@pytest.mark.parametrize("part", ["toy", "collapse", "recall"])
def test_the_published_tables_are_what_the_kept_results_say(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(run: object, root: Path | None = None) -> dict[str, object]:
        raise AssertionError(f"{run} is not kept")

    monkeypatch.setattr(geodesic_runs, "work", work)
    monkeypatch.setattr(collapse_toy, "work", work)
    published = geodesic_or_chord.RESULTS
    shutil.copy(published / f"{part}.json", tmp_path)
    assert geodesic_or_chord.main(["--part", part, "--results", str(tmp_path), "--data-root", str(tmp_path)]) == 0
    tables = sorted(tmp_path.glob("*.md"))
    assert tables
    for table in tables:
        assert table.read_text() == (published / table.name).read_text()


def test_missing_data_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--tiny", "--part", "recall", f"--data-root={tmp_path / 'none'}", f"--results={tmp_path}"]
    assert geodesic_or_chord.main(command) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("geodesic_or_chord:")


def test_margins_are_shares_of_the_right_angle() -> None:
    right = torch.eye(2)
    for name, distance in geodesic_runs.DISTANCES.items():
        assert float(distance.pairwise(right[:1], right[1:])) == pytest.approx(geodesic_runs.RIGHT_ANGLE[name])
        run = geodesic_recall.run_of(Plan(), Arm(distance=name), share=0.5, lr=0.1, seed=0)
        loss = geodesic_runs.loss_of(run)
        assert isinstance(loss, MarginTriplet)
        assert loss.margin == pytest.approx(0.5 * geodesic_runs.RIGHT_ANGLE[name], abs=1e-5)
