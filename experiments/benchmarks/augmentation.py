"""Random views of small images: all of a batch at once, against albumentations and torchvision one by one.

Command: `python -m experiments.benchmarks.augmentation` (`--device cuda`), or `make bench`. Each turns the same uint8
images of 32x32 into views in [0, 1] by the same kinds of change: a small affine motion with repeated borders, and, in
color, the negative and grey with probability one half. Motions are drawn alike, and not alike in every detail: ours
have six normal coefficients, the others' a shift, a zoom, a rotation and a shear. The libraries make a view with
parameters of its own for one image at a time; in a DataLoader that is the work of one of its processes. All take turns
in one process, and told are medians.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import albumentations as A
import cv2
import torch
import torchvision
from torch import Tensor
from torchvision.transforms import v2

from domainmetric import Augment
from domainmetric.figures.style import color, new_figure, save, tidy
from experiments.benchmarks.machine import absent, facts, named
from experiments.benchmarks.matching import HERE, Clock, publish
from experiments.tables import markdown

SIDE, BATCH, REPEATS = 32, 512, 7
AFFINE, SHIFT, ZOOM, DEGREES = 0.08, 0.04, 0.08, 4.0
Work = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to make views."""

    what: str
    channels: int
    images_per_s: float
    """Of wall time."""
    images_per_cpu_s: float
    """Of CPU time, of all threads."""
    ratio: float
    """Our images per second of wall time over its, the median of the turns."""
    ratio_cpu: float


def with_albumentations(images: Tensor) -> Tensor:
    """Image by image through a pipeline of arrays."""
    grey = images.shape[3] == 1
    motion = A.Affine(
        scale=(1 - ZOOM, 1 + ZOOM),
        translate_percent=(-SHIFT, SHIFT),
        rotate=(-DEGREES, DEGREES),
        shear=(-DEGREES, DEGREES),
        border_mode=cv2.BORDER_REPLICATE,
        p=1.0,
    )
    pipeline = A.Compose([motion, *([] if grey else [A.InvertImg(p=0.5), A.ToGray(p=0.5)])])
    views = [torch.from_numpy(pipeline(image=image)["image"]) for image in images.numpy()]
    return torch.stack(views).permute(0, 3, 1, 2).float().div_(255)


def with_torchvision(images: Tensor) -> Tensor:
    """Image by image through transforms v2, which draw one set of parameters for whatever they are given."""
    changes = [v2.RandomInvert(0.5), v2.RandomGrayscale(0.5)] if images.shape[3] > 1 else []
    bilinear = v2.InterpolationMode.BILINEAR
    motion = v2.RandomAffine(DEGREES, (SHIFT, SHIFT), (1 - ZOOM, 1 + ZOOM), DEGREES, interpolation=bilinear)
    pipeline = v2.Compose([motion, *changes, v2.ToDtype(torch.float32, scale=True)])
    return torch.stack([pipeline(image) for image in images.permute(0, 3, 1, 2)])


def ours(images: Tensor) -> Tensor:
    """The whole batch at once, on its device."""
    augment = Augment(affine=AFFINE, invert=0.5, grey=0.5) if images.shape[3] > 1 else Augment(affine=AFFINE)
    views = augment(images, torch.Generator(images.device).manual_seed(0))
    if images.device.type == "cuda":
        torch.cuda.synchronize()
    return views


def measure(channels: int, device: torch.device) -> list[Row]:
    """All ways in turns, after one of each that does not count."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (BATCH, SIDE, SIDE, channels), dtype=torch.uint8, generator=draw)
    ways: dict[str, Work] = {
        "domainmetric, a batch at once": partial(ours, images.to(device)),
        f"albumentations {A.__version__}": partial(with_albumentations, images),
        f"torchvision {torchvision.__version__.partition('+')[0]}, v2": partial(with_torchvision, images),
    }
    times: dict[str, list[Clock]] = {name: [] for name in ways}
    for turn in range(REPEATS + 1):
        for name, work in ways.items():
            clock = Clock()
            clock(work)
            if turn:
                times[name].append(clock)
    mine = next(iter(times.values()))
    return [
        Row(
            what=name,
            channels=channels,
            images_per_s=BATCH / median(clock.wall for clock in clocks),
            images_per_cpu_s=BATCH / median(clock.cpu for clock in clocks),
            ratio=median(other.wall / own.wall for own, other in zip(mine, clocks, strict=True)),
            ratio_cpu=median(other.cpu / own.cpu for own, other in zip(mine, clocks, strict=True)),
        )
        for name, clocks in times.items()
    ]


def picture(rows: Sequence[Row], path: Path) -> None:
    """Images per second of CPU time."""
    figure = new_figure(6.4, 3.0, title="Random views of 32x32 images, made in a second of CPU time")
    names = list(dict.fromkeys(row.what for row in rows))
    panels = figure.subplots(1, 2, sharey=True)
    panels[0].invert_yaxis()
    for axes, channels in zip(panels, (1, 3), strict=True):
        tidy(axes, title="grey" if channels == 1 else "color, with negatives and grey", x="images per second")
        speeds = [row.images_per_cpu_s for row in rows if row.channels == channels]
        axes.barh(range(len(names)), speeds, height=0.6, color=[color(index) for index in range(len(names))])
        axes.set_xscale("log")
        axes.set_xlim(1e2, 1e6)
        axes.set_yticks(range(len(names)), names)
        for place, speed in enumerate(speeds):
            axes.text(speed * 1.1, place, f"{speed:,.0f}", va="center", fontsize=7.5)
    save(figure, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.augmentation", description="Random views.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the results")
    chosen = parser.parse_args(arguments)
    if absent(chosen.device):
        return 1
    device = torch.device(chosen.device)
    rows = [row for channels in (1, 3) for row in measure(channels, device)]
    head = ("", "channels", "images/s", "images/s of CPU", "ours / its", "ours / its, CPU")
    cells = (
        (
            row.what,
            row.channels,
            f"{row.images_per_s:,.0f}",
            f"{row.images_per_cpu_s:,.0f}",
            f"{row.ratio:.1f}",
            f"{row.ratio_cpu:.1f}",
        )
        for row in rows
    )
    told = facts(device)
    name = named("augmentation", chosen.device)
    text = f"{markdown(head, cells)}\n\n{', '.join(f'{what} {value}' for what, value in told.items())}.\n"
    publish(chosen.results, name, text, {**told, "rows": [asdict(row) for row in rows]})
    picture(rows, chosen.results / f"{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
