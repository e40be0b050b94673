"""How the cost of the kernels grows with the batch, with the images, and with the classes.

Command: `python -m experiments.benchmarks.growth` (`--device cuda`), or `make bench`. Told is the exponent e of a fit
t = c n^e through the largest sizes, since fixed costs would hide it in small ones. Times are CPU time of all threads,
which a busy machine changes little; on a GPU they are wall time. Losses and miners make a forward and backward pass on
embeddings of 128 dimensions. *Expected* is what the arithmetic asks for, where memory and threads are as good at every
size.

Finding (two threads, quiet machine, CPU time): losses and mining grow as the square of the batch, search, retrieval and
class means as the images and classes or less, and the sampler's step and all triplets of a batch not at all with images
and classes. Above what is expected is MMD alone (2.6 from 1,024 to 4,096, where its dozen matrices of batch by batch no
longer fit the cache).
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import linear_regression, median

import torch
import torch.nn.functional as F
from torch import Tensor

from domainmetric import Balanced, HardNegative, MarginTriplet
from domainmetric.anchors.search import ExactSearch, vote
from domainmetric.anchors.source_bank import SourceBank
from domainmetric.figures.style import color, new_figure, save, tidy
from domainmetric.geometry import normalize
from domainmetric.losses.softmax import SupCon
from domainmetric.metrics.retrieval import retrieval
from domainmetric.pairs import label_pairs
from domainmetric.statistics import mmd2
from experiments.benchmarks.machine import absent, facts, named
from experiments.benchmarks.matching import HERE, publish
from experiments.tables import markdown

DIMENSIONS, QUERIES = 128, 256
SIZES = {
    "batch": (64, 128, 256, 512, 1024, 2048, 4096),
    "images": (1_000, 10_000, 100_000, 1_000_000),
    "classes": (10, 100, 1_000, 10_000),
}
FITTED = 3
"""Sizes through which the line is laid."""
Work = Callable[[], object]
Make = Callable[[int, torch.device], Work]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kernel at all sizes."""

    what: str
    of: str
    """What grows: batch, images or classes."""
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    """Median time at each size."""
    exponent: float
    expected: float


def points(count: int, device: torch.device, classes: int = 10) -> tuple[Tensor, Tensor]:
    """Unit vectors, and labels in turns."""
    z = normalize(torch.randn(count, DIMENSIONS, generator=torch.Generator().manual_seed(count)))
    return z.to(device).requires_grad_(), torch.arange(count, device=device) % classes


def trained(value: Callable[[Tensor, Tensor], Tensor]) -> Make:
    """A forward and backward pass on a batch."""

    def make(size: int, device: torch.device) -> Work:
        z, y = points(size, device)
        return lambda: value(z, y).backward()

    return make


def hard_negative(z: Tensor, y: Tensor) -> Tensor:
    """One negative for every positive, mined."""
    pairs = label_pairs(z, y)
    return MarginTriplet(margin=0.2).of(pairs, HardNegative().select(pairs)).value


def halves(z: Tensor, y: Tensor) -> Tensor:
    """MMD of one half of a batch and the other."""
    del y
    return mmd2(*z.tensor_split(2))


def search(size: int, device: torch.device) -> Work:
    """A batch of a step among a bank."""
    with torch.no_grad():
        bank, queries = points(size, device)[0].detach(), points(QUERIES, device)[0].detach()
    lookup = ExactSearch().among(bank)
    return lambda: lookup(queries, 10)


def draws(size: int, device: torch.device) -> Work:
    """The rows of a step, of a class-balanced sampler that is open."""
    del device
    rows = Balanced().open(torch.arange(size) % 10, 10, QUERIES, seed=0, name="growth")
    step = iter(range(10**9))
    return lambda: rows(next(step))


def evaluation(size: int, device: torch.device) -> Work:
    """Retrieval figures of a batch of queries among so many images."""
    (gallery, labels), (queries, own) = points(size, device), points(QUERIES, device)
    return lambda: retrieval(queries.detach(), own, gallery.detach(), labels)


def class_means(size: int, device: torch.device) -> Work:
    """Class means of a bank of 8,190 items."""
    z, y = points(8190, device, size)
    bank = SourceBank(rows=torch.arange(8190, device=device), z=z.detach(), labels=y)
    return lambda: bank.means(size)


def votes(size: int, device: torch.device) -> Work:
    """The votes of ten neighbors for each image of a batch."""
    labels = torch.arange(QUERIES * 10, device=device).view(QUERIES, 10) % size
    return lambda: vote(labels, torch.ones(QUERIES, 10, device=device), size)


def classify(size: int, device: torch.device) -> Work:
    """Cross-entropy of the prototype classifier, forward and backward."""
    (z, y), weight = points(QUERIES, device, size), points(size, device)[0]
    return lambda: F.cross_entropy(10 * z @ weight.T, y).backward()


def losses_of_classes(size: int, device: torch.device) -> Work:
    """All triplets of a batch of 1,024."""
    z, y = points(1024, device, size)
    return lambda: MarginTriplet(margin=0.2)(z, y).backward()


KERNELS: tuple[tuple[str, str, Make, float], ...] = (
    ("all triplets, by sorting", "batch", trained(MarginTriplet(margin=0.2)), 2),
    ("hard negatives, mined", "batch", trained(hard_negative), 2),
    ("supervised contrastive", "batch", trained(SupCon(temperature=0.1)), 2),
    ("MMD", "batch", trained(halves), 2),
    ("exact search of a batch in a bank", "images", search, 1),
    ("rows of a step, balanced", "images", draws, 0),
    ("retrieval figures of 256 queries", "images", evaluation, 1),
    ("cross-entropy of a batch of 256", "classes", classify, 1),
    ("votes of neighbors", "classes", votes, 1),
    ("class means of a bank of 8,190", "classes", class_means, 1),
    ("all triplets of a batch of 1,024", "classes", losses_of_classes, 0),
)


def seconds(work: Work, device: torch.device, repeats: int = 3) -> float:
    """Median time, after one that does not count; what takes long is timed once."""
    clock, times = time.process_time if device.type == "cpu" else time.perf_counter, []
    for turn in range(repeats + 1):
        began = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        took = clock() - began
        if turn or took > 1:
            times.append(took)
        if took > 1:
            break
    return median(times)


def exponent(sizes: Sequence[int], times: Sequence[float]) -> float:
    """The slope of the logarithms over the largest sizes."""
    some = [(math.log(n), math.log(t)) for n, t in zip(sizes, times, strict=True)][-FITTED:]
    return linear_regression(*zip(*some, strict=True)).slope


def measure(device: torch.device, largest: int | None) -> list[Row]:
    """All kernels at all sizes."""
    rows = []
    for what, of, make, expected in KERNELS:
        sizes = tuple(size for size in SIZES[of] if largest is None or size <= largest)
        times = tuple(seconds(make(size, device), device) for size in sizes)
        slope = exponent(sizes, times)
        rows.append(Row(what=what, of=of, sizes=sizes, seconds=times, exponent=slope, expected=expected))
    return rows


def picture(rows: Sequence[Row], path: Path) -> None:
    """Time over size, in three panels."""
    figure = new_figure(9.6, 3.6, title="Growth of the kernels")
    for axes, of in zip(figure.subplots(1, 3), SIZES, strict=True):
        tidy(axes, x=of, y="seconds" if of == "batch" else "")
        for index, row in enumerate(row for row in rows if row.of == of):
            label = f"{row.what}: {row.exponent:.2f}"
            axes.plot(row.sizes, row.seconds, marker="o", markersize=3, linewidth=1.4, color=color(index), label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.legend(fontsize=6.5, frameon=False, loc="upper left", title="exponent", title_fontsize=6.5)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * 30)
    save(figure, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.growth", description="Growth of kernels.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--largest", type=int, help="leave out larger sizes")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the results")
    chosen = parser.parse_args(arguments)
    if absent(chosen.device):
        return 1
    device = torch.device(chosen.device)
    rows = measure(device, chosen.largest)
    head = ("kernel", "grows with", "from", "ms", "to", "ms", "exponent", "expected")
    cells = (
        (
            row.what,
            row.of,
            f"{row.sizes[0]:,}",
            f"{1e3 * row.seconds[0]:.3g}",
            f"{row.sizes[-1]:,}",
            f"{1e3 * row.seconds[-1]:.4g}",
            f"{row.exponent:.2f}",
            f"{row.expected:g}",
        )
        for row in rows
    )
    told = facts(device)
    name = named("growth", chosen.device)
    text = f"{markdown(head, cells)}\n\n{', '.join(f'{what} {value}' for what, value in told.items())}; float32.\n"
    publish(chosen.results, name, text, {**told, "rows": [asdict(row) for row in rows]})
    picture(rows, chosen.results / f"{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
