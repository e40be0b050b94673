"""Group size: groups confine positives alone, learning rates are chosen off the test images, a series is whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from domainmetric.randomness import generator
from experiments import group_size
from experiments.group_size import Run, best_lrs, cells_of, pairs_in_groups, task_of, work
from experiments.group_size_report import Cell, finding, table
from experiments.kept import read
from tests.experiments.made_digits import write_digits

RUN = Run(
    miner="EPHN",
    loss="L2",
    n=2,
    lr=1e-3,
    seed=0,
    steps=2,
    largest=4,
    batch="fixed",
    domain="svhn",
    held_out=True,
    num_test=40,
    widths=(4, 4, 4),
)
SMALL = ["--ns", "2", "4", "--seeds", "1", "--steps", "2", "--num-test", "40", "--widths", "4", "4", "4"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_digits(tmp_path)
    monkeypatch.setenv("DOMAINMETRIC_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("n", [2, 3, 4])
def test_groups_confine_positives_and_leave_negatives(n: int) -> None:
    labels = torch.tensor([7] * 6 + [3] * 6)
    pairs = pairs_in_groups(torch.randn(12, 5, generator=generator("cpu", 0, "z")), labels, n)
    for a in range(12):
        for b in range(12):
            group = (a % 6) // n == (b % 6) // n
            assert bool(pairs.positive[a, b]) == (a != b and labels[a] == labels[b] and group)
            assert bool(pairs.negative[a, b]) == bool(labels[a] != labels[b])


def test_every_run_sees_as_many_images(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    real = group_size.train

    def spy(task: object, recipe: group_size.Recipe, **rest: object) -> object:
        seen.append((recipe.steps, recipe.num_classes * recipe.per_class))
        return real(task, recipe, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(group_size, "train", spy)
    for batch in ("fixed", "grown"):
        for n in (2, 4):
            result = work(group_size.replace(RUN, batch=batch, n=n))
            assert set(result) >= {"recall_at_1", "mean_cosine", "batch_cosine", "seconds"}
    assert seen == [(2, 20), (2, 20), (4, 10), (2, 20)]


def test_learning_rates_are_judged_on_training_images(data: Path) -> None:
    chosen = task_of("svhn", data, True, 40, True)
    assert chosen.test.labels is not None
    assert set(chosen.test.labels.tolist()) == {0, 1, 2, 3, 4}
    assert len(chosen.train) == 200 - 40
    runs = [group_size.replace(RUN, lr=lr, n=n, validate=True) for lr in (1e-3, 1e-2) for n in (2, 4)]
    assert len({run.name for run in runs}) == 4
    recalls = dict(zip((run.name for run in runs), (0.5, 0.5, 0.9, 0.2), strict=True))
    assert best_lrs({name: {"recall_at_1": r} for name, r in recalls.items()}, runs) == {("EPHN", "L2"): 1e-2}


def test_cells_mark_collapse() -> None:
    runs = [group_size.replace(RUN, loss=loss, seed=seed) for loss in ("L1", "L2") for seed in (1, 2)]
    cosines = (0.99, 0.2, 0.5, 0.6)
    results = {
        run.name: {"recall_at_1": 0.5 + 0.1 * run.seed, "mean_cosine": c} for run, c in zip(runs, cosines, strict=True)
    }
    cells = cells_of(results, runs)
    assert cells["EPHN", "L1"][2] == Cell(recall=[0.6, 0.7], cosine=[0.99, 0.2])
    assert str(cells["EPHN", "L1"][2]) == "65.0 ± 7.1 (1 collapsed)"
    assert str(cells["EPHN", "L2"][2]) == "65.0 ± 7.1"
    assert finding(cells).startswith("L1 collapses in 1 of 2 runs, L2 in 0 of 2")
    assert table(cells, Cell(recall=[0.5], cosine=[0.1]), dict.fromkeys(cells, 1e-3)).splitlines()[2] == (
        "| EPHN | L1 | 0.001 | 65.0 ± 7.1 (1 collapsed) |"
    )


@pytest.mark.slow
def test_the_series_runs_and_goes_on_where_it_stopped(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--ordinary", "--batch", "grown", "--domain", "mnist", "--workers", "1"]
    command = [*SMALL, *flags, "--results", str(data / "out")]
    assert group_size.main(command) == 0
    (path,) = (data / "out").glob("*.json")
    assert path.with_suffix(".png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert path.with_suffix(".md").read_text() == printed
    assert printed.count("\n") == 2 + 4 + 1
    assert len(read(path)) == 4 * 2 * 4 + 4 * 2 + 1
    monkeypatch.setattr(group_size, "work", None)
    assert group_size.main(command) == 0
    assert group_size.main([*command, "--steps", "3"]) == 1
    assert "Name another file" in capsys.readouterr().err


def test_missing_data_is_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOMAINMETRIC_DATA", str(tmp_path))
    assert group_size.main([*SMALL, "--workers", "1", "--results", str(tmp_path / "out")]) == 1
    assert "data_prep svhn" in capsys.readouterr().err


def test_the_published_table_is_what_the_kept_results_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_size, "work", None)
    shutil.copy(group_size.RESULTS / "svhn_held_out_fixed.json", tmp_path)
    assert group_size.main(["--results", str(tmp_path), "--workers", "1"]) == 0
    published = (group_size.RESULTS / "svhn_held_out_fixed.md").read_text()
    assert (tmp_path / "svhn_held_out_fixed.md").read_text() == published
