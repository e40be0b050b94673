"""Exact matching: pixels of whole training sets, and the search of a training step, against the bare matrix product.

Command: `python -m experiments.benchmarks.matching` (minutes on two cores), or `make bench`. Ours and the bare product
take turns in one process, slice by slice of the queries, so that both see the same machine; ratios are those of the
sums. CPU time tells more than wall time where the machine is shared. The results go to
`experiments/benchmarks/matching.json` and `matching.md`. Images are those of the prepared SVHN and MNIST, or random
ones of the same number where they are not prepared: the products are the same.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from domainmetric import AnchorContext, Bank, DataNotPrepared, ImageSet, Mnist, Nearest, Svhn
from domainmetric.anchors.pixel import GALLERY_CHUNK, QUERY_CHUNK, grey_vectors, pixel_search
from domainmetric.geometry import normalize
from domainmetric.runner import data_root
from experiments.svhn_to_mnist import quick_full
from experiments.tables import markdown

HERE = Path(__file__).parent
MNIST_TRAIN, SVHN_TRAIN = 60_000, 73_257
SLICES = 4
LOOP_QUERIES, LOOP_GALLERY = 10, 1000


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement, and what it is held against."""

    what: str
    wall_s: float
    cpu_s: float
    """Of all threads."""
    against: str = ""
    against_wall_s: float | None = None
    against_cpu_s: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over the other, in CPU time."""
        return None if self.against_cpu_s is None else self.cpu_s / self.against_cpu_s


class Clock:
    """Adds up wall and CPU seconds of what is called through it."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __call__(self, work: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.wall, self.cpu = self.wall + time.perf_counter() - wall, self.cpu + time.process_time() - cpu
        return result


def images(share: float) -> tuple[UInt8[Tensor, "m h w c"], UInt8[Tensor, "n h w c2"], str]:
    """All MNIST and SVHN training images at 32x32, or an even share of them, and where they come from."""
    sizes = round(share * MNIST_TRAIN), round(share * SVHN_TRAIN)
    try:
        sets = [domain.load("train", root=data_root(quick_full()), size=32).images for domain in (Mnist(), Svhn())]
        origin = "MNIST and SVHN"
    except DataNotPrepared:
        draw = torch.Generator().manual_seed(0)
        shapes = [(size, 32, 32, channels) for size, channels in zip(sizes, (1, 3), strict=True)]
        sets = [torch.randint(256, shape, generator=draw, dtype=torch.uint8) for shape in shapes]
        origin = "random images"
    queries, gallery = (
        found[torch.linspace(0, len(found) - 1, size).long()] for found, size in zip(sets, sizes, strict=True)
    )
    return queries, gallery, origin


def bare(queries: Float[Tensor, "m p"], gallery: Float[Tensor, "n p"]) -> None:
    """The chunked product alone; nothing is looked for in it."""
    for part in gallery.split(GALLERY_CHUNK):
        for some in queries.split(QUERY_CHUNK):
            some @ part.T


def pixels(queries: Tensor, gallery: Tensor, num: int) -> Row:
    """The whole search, grey vectors included, against the bare product of finished vectors, of every other slice."""
    a, b = grey_vectors(queries), torch.cat([grey_vectors(part) for part in gallery.split(GALLERY_CHUNK)])
    ours, product, preparing = Clock(), Clock(), Clock()
    for turn, some in enumerate(queries.tensor_split(SLICES)):
        ours(lambda: pixel_search(some, gallery, num=num))  # noqa: B023 (called at once)
        if turn % 2:
            product(lambda: bare(a.tensor_split(SLICES)[turn], b))  # noqa: B023
    for _ in range(SLICES - 1):  # a whole search makes the gallery's vectors once, and not in each slice
        preparing(lambda: [grey_vectors(part) for part in gallery.split(GALLERY_CHUNK)])
    return Row(
        what=f"pixel search, {len(queries):,} x {len(gallery):,}, top {num}",
        wall_s=ours.wall - preparing.wall,
        cpu_s=ours.cpu - preparing.cpu,
        against="bare product",
        against_wall_s=2 * product.wall,
        against_cpu_s=2 * product.cpu,
        note=f"product: half of the queries, doubled; grey vectors: {preparing.cpu / (SLICES - 1):.1f} s of CPU",
    )


def scikit(queries: Tensor, gallery: Tensor) -> Row:
    """scikit-learn's brute force on a twentieth of the queries, and ours on the same."""
    some = queries[::20]
    a, b = grey_vectors(some).numpy(), grey_vectors(gallery).numpy()
    ours, theirs = Clock(), Clock()
    _, index = ours(lambda: pixel_search(some, gallery, num=1))
    found = theirs(lambda: NearestNeighbors(n_neighbors=1, algorithm="brute").fit(b).kneighbors(a))[1]
    agree = float((index[:, 0].numpy() == found[:, 0]).mean())
    return Row(
        what=f"pixel search, {len(some):,} x {len(gallery):,}",
        wall_s=ours.wall,
        cpu_s=ours.cpu,
        against="scikit-learn NearestNeighbors(brute)",
        against_wall_s=theirs.wall,
        against_cpu_s=theirs.cpu,
        note=f"the same neighbor for {agree:.2%}",
    )


def double_loops(queries: Tensor, gallery: Tensor, whole: Row) -> list[Row]:
    """Two loops over images with one distance at a time, on a sample, carried over to all pairs.

    Of vectors that are ready, as ours are; and of images as they are stored, which the inner loop makes grey and
    standardizes, as the loops of tutorials do that take item after item from a data set.
    """
    some, others = queries[:LOOP_QUERIES], gallery[:LOOP_GALLERY]
    a, b = list(grey_vectors(some)), list(grey_vectors(others))
    loops: dict[str, tuple[Sequence[Any], Sequence[Any], Callable[[Any, Any], float]]] = {
        "numpy.linalg.norm of ready vectors": ([x.numpy() for x in a], [x.numpy() for x in b], numpy_distance),
        "torch.dist of ready vectors": (a, b, lambda x, y: float(torch.dist(x, y))),
        "numpy, images made ready inside": (
            [standardized(image) for image in some.numpy()],
            list(others.numpy()),
            lambda x, image: numpy_distance(x, standardized(image)),
        ),
    }
    pairs, rows = len(queries) * len(gallery), []
    for name, one, two, distance in ((name, *loop) for name, loop in loops.items()):
        clock = Clock()
        clock(lambda: [min(range(len(two)), key=lambda j: distance(x, two[j])) for x in one])  # noqa: B023
        scale = pairs / (len(one) * len(two))
        rows.append(
            Row(
                what=whole.what,
                wall_s=whole.wall_s,
                cpu_s=whole.cpu_s,
                against=f"double loop, {name}, from {len(one) * len(two):,} pairs",
                against_wall_s=clock.wall * scale,
                against_cpu_s=clock.cpu * scale,
                note=f"{1e6 * clock.cpu * scale / pairs:.1f} us for each pair",
            )
        )
    return rows


def numpy_distance(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Euclidean."""
    return float(np.linalg.norm(x - y))


def standardized(image: NDArray[Any]) -> NDArray[Any]:
    """One image as a vector: grey, with mean 0 and deviation 1."""
    grey = image.mean(-1, dtype=np.float32).ravel()
    return (grey - grey.mean()) / (grey.std() + 1e-6)


def in_training(repeats: int = 30) -> Row:
    """What a quick step searches: 256 targets, 8,190 bank items, 128 dimensions; the bare product with its top 10."""
    draw = torch.Generator().manual_seed(0)
    z, z_t = (normalize(torch.randn(n, 128, generator=draw)) for n in (8190, 256))
    labels = torch.arange(8190) % 10
    blank = torch.zeros(8190, 8, 8, 1, dtype=torch.uint8)
    classes = tuple(map(str, range(10)))
    context = AnchorContext(
        source=ImageSet(images=blank, labels=labels, classes=classes),
        target=ImageSet(images=blank, labels=None, classes=classes),
        seed=0,
    )
    matcher = Nearest().build(context)
    matcher.refresh(Bank(rows=torch.arange(8190), z=z, logits=torch.zeros(8190, 10), labels=labels), None)
    rows, logits = torch.arange(256), torch.zeros(256, 10)
    works = (lambda: matcher(rows, z_t, logits), lambda: (z_t @ z.T).topk(10, 1))
    times: list[list[tuple[float, float]]] = [[], []]
    for turn in range(repeats + 3):
        for place, work in enumerate(works):
            clock = Clock()
            clock(work)
            if turn >= 3:
                times[place].append((clock.wall, clock.cpu))
    (wall, cpu), (other_wall, other_cpu) = (tuple(median(kind) for kind in zip(*found, strict=True)) for found in times)
    return Row(
        what="Nearest(k=10) on a batch of 256 x 8,190 x 128",
        wall_s=wall,
        cpu_s=cpu,
        against="bare product with top 10",
        against_wall_s=other_wall,
        against_cpu_s=other_cpu,
        note=f"medians of {repeats}",
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    head = (
        "what",
        "wall s",
        "CPU s",
        "against",
        "its wall s",
        "its CPU s",
        "ours / its, CPU",
        "its / ours, CPU",
        "note",
    )
    cells = (
        (
            row.what,
            f"{row.wall_s:.4g}",
            f"{row.cpu_s:.4g}",
            row.against,
            f"{row.against_wall_s:.4g}" if row.ratio is not None else "",
            f"{row.against_cpu_s:.4g}" if row.ratio is not None else "",
            f"{row.ratio:.3g}" if row.ratio is not None else "",
            f"{1 / row.ratio:.3g}" if row.ratio is not None else "",
            row.note,
        )
        for row in rows
    )
    return markdown(head, cells)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything and write it down."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.matching", description="Exact matching.")
    parser.add_argument("--share", type=float, default=1.0, help="share of both training sets (default: all)")
    parser.add_argument("--top", type=int, nargs="*", default=[1], help="numbers of neighbors (default: 1)")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the results")
    chosen = parser.parse_args(arguments)
    queries, gallery, origin = images(chosen.share)
    rows = [in_training()]
    whole = [pixels(queries, gallery, num) for num in chosen.top]
    rows += [*whole, *double_loops(queries, gallery, whole[0]), scikit(queries, gallery)]
    facts = {
        "images": origin,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "load": load(),
    }
    text = f"{table(rows)}\n\n{', '.join(f'{name} {value}' for name, value in facts.items())}; float32, 32x32 grey.\n"
    publish(
        chosen.results, "matching", text, {**facts, "rows": [{**asdict(row), "ratio_cpu": row.ratio} for row in rows]}
    )
    return 0


def load() -> float | str:
    """Processes that want the machine, as Linux tells."""
    return round(float(Path("/proc/loadavg").read_text().split()[0]), 1) if sys.platform == "linux" else "unknown"


def publish(folder: Path, name: str, text: str, found: Mapping[str, Any]) -> None:
    """Write a benchmark down as a page and as JSON, and print the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text)
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
