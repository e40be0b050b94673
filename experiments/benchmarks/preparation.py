"""What it costs to convert a folder of one's own, once, beside plain reading of the same files by Pillow.

Command: `python -m experiments.benchmarks.preparation` (minutes; `--small` and `--large` say how many files). Files are
color PNG of 32x32 and JPEG of 640x480, made on the spot, and converted to 32x32 as `UnlabelledFolder` does when a run
first names it. Each conversion is a process of its own, as often as `--repeats` says, which reads the files by Pillow
before and after it, so that both see the same machine; the share is that of plain reading's CPU time in the
conversion's, the middle one of all turns. Memory is the largest that is resident while the images are converted, beside
what the imported libraries took before. The results go to `experiments/benchmarks/preparation.json` and
`preparation.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from domainmetric import UnlabelledFolder
from experiments.benchmarks.machine import facts, high_water_mb, in_a_process, reset_high_water
from experiments.benchmarks.matching import HERE, Clock, publish
from experiments.tables import markdown

CPU = torch.device("cpu")
SIDE, DIFFERENT, PER_FOLDER = 32, 64, 1000


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of files."""

    name: str
    height: int
    width: int
    suffix: str


KINDS = (
    Kind(name="PNG, 32x32", height=32, width=32, suffix=".png"),
    Kind(name="JPEG, 640x480", height=480, width=640, suffix=".jpg"),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The conversion of one kind of files: the middle one of all turns."""

    what: str
    images: int
    wall_s: float
    cpu_s: float
    """Of all threads."""
    plain_cpu_s: float
    """Of plain reading by Pillow."""
    shares: list[float]
    """CPU time of plain reading over that of the conversion, of each turn."""
    peak_mb: float
    before_mb: float
    """Resident before the first image."""


def write(place: Path, kind: Kind, count: int) -> None:
    """So many files in folders of a thousand: blurred noise with a little grain, the same few images again and again.

    They compress about as photographs do.
    """
    draw = torch.Generator().manual_seed(0)
    different = min(count, DIFFERENT)
    coarse = torch.rand(different, 3, 6, 8, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(kind.height, kind.width), mode="bicubic")
    grain = torch.randn(different, 3, kind.height, kind.width, generator=draw)
    pixels = (255 * smooth + 6 * grain).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for row in range(count):
        folder = place / f"{row // PER_FOLDER:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[row % different]).save(folder / f"{row}{kind.suffix}")


def plain(place: Path) -> Clock:
    """The time in which Pillow reads all files of a folder."""
    clock = Clock()

    def read() -> None:
        for path in sorted(place.rglob("*.*")):
            with Image.open(path) as image:
                np.asarray(image.convert("RGB"))

    clock(read)
    return clock


def convert(place: Path) -> None:
    """The child's work: convert the folder, and tell time and memory, and the time of plain reading, as JSON."""
    domain, clock = UnlabelledFolder(path=place), Clock()
    first = plain(place)
    reset_high_water(CPU)
    before = high_water_mb(CPU)
    with tempfile.TemporaryDirectory() as root:
        clock(lambda: domain.convert(Path(root), SIDE))
        peak = high_water_mb(CPU)
    cpu = (first.cpu + plain(place).cpu) / 2
    print(
        json.dumps({"wall_s": clock.wall, "cpu_s": clock.cpu, "plain_cpu_s": cpu, "peak_mb": peak, "before_mb": before})
    )


def measured(kind: Kind, count: int, repeats: int) -> Row:
    """A folder of one kind, converted in a process of its own each time."""
    with tempfile.TemporaryDirectory() as root:
        place = Path(root) / "images"
        write(place, kind, count)
        found = [in_a_process("experiments.benchmarks.preparation", "--convert", str(place)) for _ in range(repeats)]
    return Row(
        what=kind.name,
        images=count,
        wall_s=median(one["wall_s"] for one in found),
        cpu_s=median(one["cpu_s"] for one in found),
        plain_cpu_s=median(one["plain_cpu_s"] for one in found),
        shares=[one["plain_cpu_s"] / one["cpu_s"] for one in found],
        peak_mb=max(one["peak_mb"] for one in found),
        before_mb=max(one["before_mb"] for one in found),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.preparation", description="Conversion.")
    parser.add_argument("--small", type=int, default=10_000, help="PNG files (default: 10,000)")
    parser.add_argument("--large", type=int, default=1000, help="JPEG files (default: 1,000)")
    parser.add_argument("--repeats", type=int, default=3, help="how often (default: 3)")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the results")
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.convert is not None:
        convert(chosen.convert)
        return 0
    counts = (chosen.small, chosen.large)
    rows = [measured(kind, count, chosen.repeats) for kind, count in zip(KINDS, counts, strict=True)]
    machine = facts(CPU)
    head = (
        *("", "images", "wall, s", "CPU, s", "images/s of CPU", "images/s of plain reading", "of plain reading"),
        *("each turn", "peak, MB", "before, MB"),
    )
    cells = (
        (
            row.what,
            f"{row.images:,}",
            f"{row.wall_s:.1f}",
            f"{row.cpu_s:.1f}",
            f"{row.images / row.cpu_s:,.0f}",
            f"{row.images / row.plain_cpu_s:,.0f}",
            f"{median(row.shares):.0%}",
            f"{min(row.shares):.0%} to {max(row.shares):.0%}",
            f"{row.peak_mb:,.0f}",
            f"{row.before_mb:,.0f}",
        )
        for row in rows
    )
    text = f"{markdown(head, cells)}\n\n{', '.join(f'{name} {value}' for name, value in machine.items())}.\n"
    publish(chosen.results, "preparation", text, {**machine, "rows": [asdict(row) for row in rows]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
