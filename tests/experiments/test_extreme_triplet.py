"""Extreme triplet learning on a few photographs in each official layout: from the command to the table, in seconds."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.models import resnet18

from domainmetric.errors import DataError, Interrupted
from domainmetric.randomness import isolated
from domainmetric.training.checkpoint import read_tensors
from domainmetric.training.stop import StopFlag
from experiments import extreme_training
from experiments.extreme_images import Decoded, FlipAndCrop
from experiments.extreme_layouts import LAYOUTS, Photographs, cub
from experiments.extreme_settings import COMMON, LR, PER_CLASS, RECALL_AT, Settings
from experiments.extreme_training import CHECKPOINT, ENCODER, LOG, RESULT, Training, carry_out
from experiments.extreme_triplet import main, table
from tests.experiments import made_photographs
from tests.experiments.made_photographs import TREES

CPU = torch.device("cpu")
SMALL = Settings(
    benchmark="cub",  # whose epochs have several steps: three
    network="shufflenet_v2_x0_5",  # small, and without dropout
    weights=None,
    miner="EPSHN",
    loss="L1",
    seed=3,
    per_class=2,
    lr=0.05,
    momentum=0.9,
    epochs=3,
    batch=4,
    dim=8,
    size=32,
    every=2,
)
FLAGS = (
    "--network resnet18 --weights none --size 32 --dim 8 --batch 4 --per-class 2 --epochs 1 --device cpu --workers 0"
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_handler_left() -> Iterator[None]:
    """torch's loader watches its workers by a handler, which it sets once in a process."""
    handler = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, handler)


def embedded_by_hand(folder: Path, photographs: Photographs) -> Tensor:
    """The saved encoder's embeddings, image by image, by torchvision's network alone and without standardize()."""
    weights = read_tensors(folder / ENCODER)[0]
    with isolated(0, "by hand"):
        network = resnet18(num_classes=8)
    renamed = {name.replace("branch.backbone", "").replace("project", ".fc")[1:]: v for name, v in weights.items()}
    network.load_state_dict(renamed)
    network.eval()
    rows = []
    for file in photographs.files:
        pixels = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None].float()
        resized = torch.nn.functional.interpolate(pixels, (32, 32), mode="bilinear", antialias=True).round() / 255
        fed = (resized - resized.mean()) / (resized.var(correction=0) + 1e-4).sqrt()
        with torch.no_grad():
            z = network(fed)[0]
        rows.append(z / z.norm())
    return torch.stack(rows)


def recall_by_loop(
    z: Tensor, labels: Tensor, gallery: Tensor, gallery_labels: Tensor, k: int, *, itself: bool
) -> float:
    hits = 0
    for i in range(len(z)):
        others = [j for j in range(len(gallery)) if not (itself and i == j)]
        ranked = sorted(others, key=lambda j: float((z[i] - gallery[j]).norm()))
        hits += any(gallery_labels[j] == labels[i] for j in ranked[:k])
    return hits / len(z)


SLOW = ("cars", "sop")  # they differ from CUB in the layout alone, which is tested by itself


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in TREES])
def test_a_benchmark_from_the_command_to_the_table(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TREES[name](tmp_path / "data")
    command = [name, "--data", str(tmp_path / "data"), "--results", str(tmp_path / "runs"), *FLAGS.split()]
    assert main(command) == 0
    folder = tmp_path / "runs" / f"{name}-resnet18-EPHN-L2-s0"
    result = json.loads((folder / RESULT).read_text())
    benchmark = LAYOUTS[name](tmp_path / "data")
    z = embedded_by_hand(folder, benchmark.query)
    gallery = benchmark.query if benchmark.gallery is None else benchmark.gallery
    searched = z if benchmark.gallery is None else embedded_by_hand(folder, gallery)
    for k in RECALL_AT[name]:
        by_loop = recall_by_loop(
            z, benchmark.query.labels, searched, gallery.labels, k, itself=benchmark.gallery is None
        )
        assert result[f"recall_at_{k}"] == pytest.approx(by_loop)
    assert result["epoch"] == 1 and result["left_out"] == (1 if name == "inshop" else 0)
    assert not (folder / CHECKPOINT).exists()
    (row,) = csv.DictReader((tmp_path / "runs" / "results.csv").read_text().splitlines())
    assert row["benchmark"] == name and float(row["recall_at_1"]) == result["recall_at_1"]
    assert [row["epoch"] for row in csv.DictReader((folder / LOG).read_text().splitlines())] == ["0", "1"]
    assert f"| resnet18 | EPHN | L2 | 0 | {100 * result['recall_at_1']:.2f} |" in capsys.readouterr().out
    before = (folder / RESULT).stat().st_mtime_ns
    assert main(command) == 0 and (folder / RESULT).stat().st_mtime_ns == before
    assert main([*command, "--lr", "0.1"]) == 1
    assert "was begun with other settings: lr was 0.00" in capsys.readouterr().err


def carried_out(folder: Path, data: Path, *, workers: int = 0, stop_after: tuple[int, ...] = ()) -> Path:
    """A run that is interrupted after so many steps of each process, and goes on until its end."""

    class Flag(StopFlag):
        left = 0

        def __call__(self) -> bool:
            Flag.left -= 1
            return Flag.left == 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extreme_training, "StopFlag", Flag)
        for Flag.left in stop_after:
            with pytest.raises(Interrupted, match="the same command goes on with it"):
                carry_out(SMALL, cub(data), folder, device=CPU, workers=workers)
        carry_out(SMALL, cub(data), folder, device=CPU, workers=workers)
    return folder


@pytest.mark.usefixtures("no_handler_left")
def test_a_run_is_the_same_wherever_it_stops_and_whoever_decodes(tmp_path: Path) -> None:
    made_photographs.cub(tmp_path / "data")
    whole = carried_out(tmp_path / "whole", tmp_path / "data")
    assert [row["epoch"] for row in csv.DictReader((whole / LOG).read_text().splitlines())] == ["0", "2", "3"]
    stopped = carried_out(tmp_path / "stopped", tmp_path / "data", workers=2, stop_after=(2, 3))
    (one, _), (other, _) = read_tensors(whole / ENCODER), read_tensors(stopped / ENCODER)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert (whole / LOG).read_text() == (stopped / LOG).read_text()
    assert json.loads((whole / RESULT).read_text()) == json.loads((stopped / RESULT).read_text())


def test_views_are_mirrored_and_cut_from_a_black_frame() -> None:
    images = torch.randint(1, 256, (40, 5, 6, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    views = FlipAndCrop(pad=2)(images, torch.Generator().manual_seed(1)).mul(255).round().to(torch.uint8)
    seen = set()
    for image, view in zip(images.permute(0, 3, 1, 2), views, strict=True):
        framed = torch.zeros(3, 9, 10, dtype=torch.uint8)
        framed[:, 2:7, 2:8] = image
        cuts = {
            (y, x, flip): cut.flip(2) if flip else cut
            for y in range(5)
            for x in range(5)
            for flip in (False, True)
            for cut in [framed[:, y : y + 5, x : x + 6]]
        }
        (found,) = [place for place, cut in cuts.items() if torch.equal(cut, view)]
        seen.add(found)
    assert {flip for *_, flip in seen} == {False, True}
    assert {y for y, *_ in seen} == {x for _, x, _ in seen} == set(range(5))


def test_photographs_are_squares_in_color_and_what_is_none_is_named(tmp_path: Path) -> None:
    made_photographs.photograph(tmp_path / "grey.png", 1, 1)
    (tmp_path / "none.jpg").write_bytes(b"no photograph")
    decoded = Decoded((tmp_path / "grey.png", tmp_path / "none.jpg"), 16)
    assert decoded[0].shape == (16, 16, 3) and torch.equal(decoded[0][..., 0], decoded[0][..., 2])
    with pytest.raises(DataError, match=r"none.jpg cannot be read as an image"):
        decoded[1]


def test_the_settings_are_the_papers() -> None:
    paper = replace(SMALL, lr=LR["cars"], epochs=40)
    rates = [paper.lr_at(epoch) for epoch in range(40)]
    assert rates == pytest.approx([0.005] * 20 + [0.0005] * 10 + [0.00005] * 10)
    assert (LR["cub"], PER_CLASS) == (0.0025, {"cub": 8, "cars": 16, "sop": 2, "inshop": 2})
    labels = torch.arange(100).repeat_interleave(torch.arange(100) % 20 + 41)  # CUB: 100 classes of up to 60
    assert replace(paper, benchmark="cub", batch=128).steps_of_epoch(labels) == 46
    assert replace(paper, benchmark="sop", batch=128).steps_of_epoch(torch.arange(11318).repeat(5)) == 176


def test_the_momentum_is_taken_up_again(tmp_path: Path) -> None:
    made_photographs.cub(tmp_path / "data")
    (tmp_path / "run").mkdir()

    def training() -> Training:
        return Training(SMALL, cub(tmp_path / "data"), tmp_path / "run", CPU, 0)

    one, other = training(), training()
    one.update(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0, 1, 1]))
    one.save()
    other.begin()
    for mine, theirs in zip(one.encoder.parameters(), other.encoder.parameters(), strict=True):
        assert torch.equal(
            one.optimizer.state[mine]["momentum_buffer"], other.optimizer.state[theirs]["momentum_buffer"]
        )


def test_the_papers_number_stands_beside_its_setting_alone() -> None:
    measured: dict[str, Any] = {f"recall_at_{k}": 0.5 for k in (1, 10, 20)} | {"map_at_r": 0}
    paper = {**COMMON, "benchmark": "inshop", "per_class": 2, "lr": 0.005, "miner": "EPHN", "loss": "L2", "seed": 1}
    others = ({"network": "resnet18"}, {"miner": "EPSHN"}, {"size": 224}, {"weights": None}, {"per_class": 4})
    rows = [{**paper, **measured, **other} for other in ({}, *others, {"loss": "L1"})]
    found = table(rows, "inshop").splitlines()
    assert [line.count(" 89.0 |") for line in found] == [0, 0, 1, 0, 0, 0, 0, 0, 0] and " 87.1 |" in found[-1]
    assert len(table(rows, "cub").splitlines()) == 2


def test_what_cannot_be_done_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags, said in (
        (["--batch", "9"], "A batch of 9 does not hold whole groups of 8. Change one of them."),
        (["--epochs", "0"], "--epochs must be at least 1, but is 0."),
        (["--batch", "0"], "--batch must be at least 1, but is 0."),
        (["--workers", "-1"], "--workers must be at least 0, but is -1."),
        (["--per-class", "0"], "--per-class must be at least 2, or no image has a positive, but is 0."),
        (["--lr", "0"], "--lr must be a positive number, but is 0.0. Leave it out for the paper's."),
        (["--lr", "-0.1"], "--lr must be a positive number, but is -0.1."),
        (["--momentum", "-1"], "--momentum must be a number from 0 on, but is -1.0."),
        ([], f"{tmp_path} is not as published: there is no CUB_200_2011/images.txt"),
    ):
        assert main(["cub", "--data", str(tmp_path), *flags]) == 1
        assert said in capsys.readouterr().err
