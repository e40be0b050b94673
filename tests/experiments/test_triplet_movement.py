"""The movement experiment, tiny: its runs, tables and figures on random digits, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from PIL import Image

from domainmetric import EasyPositiveHardNegative, ImageSet
from domainmetric.data.digits import DIGIT_CLASSES
from domainmetric.data.store import write_store
from domainmetric.diagnostics.field import Shares
from domainmetric.diagnostics.scatter import scatter
from domainmetric.types import Group
from experiments import triplet_movement
from experiments.lab import digits, embed, train
from experiments.movement_report import caption
from experiments.movement_runs import LOSSES, MINERS, Run, work


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of random images under MNIST's name; each digit has a shade of its own."""
    folder, draw = tmp_path_factory.mktemp("data"), torch.Generator().manual_seed(0)
    splits = {}
    for name, count in (("train", 100), ("test", 60)):
        labels = torch.arange(count) % 10
        noise = torch.randint(0, 60, (count, 28, 28, 1), generator=draw)
        images = (noise + 19 * labels[:, None, None, None]).to(torch.uint8)
        splits[name] = ImageSet(images=images, labels=labels, classes=DIGIT_CLASSES)
    write_store(folder, "mnist", splits, sources=())
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_command_writes_tables_and_figures(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data-root", root, "--results", tmp_path, "--domains", "mnist", "--seeds", 1, "--steps", 16]
    options += ["--n", 4, "--batches", 1, "--workers", 1]
    assert triplet_movement.main([str(option) for option in options]) == 0
    moved, points = rows(tmp_path / "movement.csv"), rows(tmp_path / "scatter.csv")
    assert len(moved) == len(LOSSES) * 2 * len(MINERS) * len(LOSSES)  # runs, times, miners, updates
    assert len(points) == len(LOSSES) * 2 * 5
    for row in moved:
        assert sum(float(row[name]) for name in ("up_right", "down_right", "up_left", "down_left", "still")) == (
            pytest.approx(1, abs=1e-3)
        )
        assert 3 * int(row["num_triplets"]) <= 40, "disjoint: no image in two triplets"
        assert -1 <= float(row["agreement"]) <= 1
    assert {(row["n"], row["step"]) for row in points} == {(n, s) for n in "28" for s in ("0", "1", "4", "8", "16")}
    assert all(float(row["num_triplets"]) == 60 for row in points)
    printed = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() in printed
    for name in ("movement_mnist.png", "scatter_mnist.png"):
        assert str(tmp_path / name) in printed
        assert (tmp_path / name).stat().st_size < 300_000
        with Image.open(tmp_path / name) as picture:
            assert picture.size[0] > 900


def test_updates_of_both_losses_start_from_the_same_triplets(root: Path) -> None:
    run = Run(domain="mnist", loss="L2", n=4, seed=1, steps=16, root=root, num_test=20, batches=2)
    seen = work(run)
    assert set(seen.movements) == {(s, miner, loss) for s in (1, 16) for miner in MINERS for loss in LOSSES}
    for step in run.times:
        for miner in MINERS:
            one, two = (seen.movements[step, miner, loss] for loss in LOSSES)
            assert torch.equal(one.before.s_ap, two.before.s_ap)
            assert not torch.equal(one.after.s_ap, two.after.s_ap)
        hard, easy = (seen.movements[step, miner, "L1"].before for miner in ("HPHN", "EPEN"))
        assert float(hard.s_ap.mean()) < float(easy.s_ap.mean())
        assert float(hard.s_an.mean()) > float(easy.s_an.mean())


def test_looking_does_not_change_the_training(root: Path) -> None:
    run = Run(domain="mnist", loss="L1", n=2, seed=1, steps=16, root=root, num_test=None, batches=0)
    task = digits("mnist", root, num_test=None)
    assert task.test.labels is not None
    alone = Group(z=embed(train(task, run.recipe).encoder, task.test), labels=task.test.labels)
    assert torch.equal(work(run).scatters[16].s_an, scatter(alone, EasyPositiveHardNegative()).s_an)


def test_shares_are_told_in_two_lines() -> None:
    text = caption(Shares(up_right=0.25, down_right=0.5, up_left=0.0, down_left=0.25, still=0.0))
    assert text == "down-right 50%, up-right 25%\ndown-left 25%, up-left 0%"


def test_without_data_it_says_how_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data-root", str(tmp_path), "--domains", "mnist", "--workers", "1", "--results", str(tmp_path)]
    assert triplet_movement.main(options) == 1
    assert "data_prep mnist" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--steps", "15"], ["--batches", "0"]])
def test_too_little_is_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        triplet_movement.main(option)
    assert "--steps must be at least 16 and --batches at least 1" in capsys.readouterr().err
