"""Losses and miners: forward and backward with mining, against pytorch-metric-learning 2.9.0 and the bare product.

Command: `make bench` (three minutes on two cores; float32, 128 dimensions, 10 classes); `--device cuda` measures a GPU,
for which no bar is set. Ours and theirs take turns in one process, so that both see the same machine; the ratio is
that of the medians. Memory is the peak of a fresh process above its embeddings. The results go to
`experiments/benchmarks/triplets.json` and `triplets.md`, on a GPU `triplets_cuda`.

pytorch-metric-learning lies in a folder of its own, which `make bench` fills and puts first on the path.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from jaxtyping import Float, Int64
from pytorch_metric_learning import __version__ as theirs_version
from pytorch_metric_learning import distances, losses, miners, reducers
from rich.console import Console
from rich.progress import track
from torch import Tensor

from domainmetric import EasyPositiveHardNegative, MarginTriplet, SemiHardTriplet
from domainmetric.losses.base import MetricLoss
from domainmetric.losses.contrastive import Contrastive
from domainmetric.losses.multi_similarity import MultiSimilarity
from domainmetric.losses.softmax import NTXent, SupCon
from domainmetric.miners.base import Miner
from experiments.benchmarks.machine import absent, facts, high_water_mb, named
from experiments.benchmarks.matching import HERE, publish
from experiments.tables import markdown

DIMENSIONS, CLASSES = 128, 10
Work = Callable[[Float[Tensor, "b d"], Int64[Tensor, " b"]], Float[Tensor, ""]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison. Times are medians of a forward and backward pass, in milliseconds."""

    name: str
    batch: int
    ours_ms: float
    ours_spread_ms: tuple[float, float]
    """Fastest and slowest."""
    against: str
    theirs_ms: float | None
    ratio: float | None
    """Theirs over ours: above 1 is faster."""
    ours_mb: float
    """Peak of a fresh process above its embeddings."""
    theirs_mb: float | None
    bar: str
    met: bool


def batch(size: int, device: torch.device) -> tuple[Float[Tensor, "b d"], Int64[Tensor, " b"]]:
    """Random vectors near their class's mean, so that mining has easy and hard ones, and labels."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(size) % CLASSES
    means = torch.randn(CLASSES, DIMENSIONS, generator=draw)
    z = means[y] + 1.5 * torch.randn(size, DIMENSIONS, generator=draw)
    return z.to(device).requires_grad_(), y.to(device)


def ours(loss: MetricLoss, miner: Miner | None = None) -> Work:
    """Our loss on mined triplets, or on all that the labels allow."""
    from domainmetric.pairs import label_pairs

    def work(z: Tensor, y: Tensor) -> Tensor:
        pairs = label_pairs(z, y)  # once, as in a training step
        return loss.of(pairs, None if miner is None else miner.select(pairs)).value

    return work


def theirs(loss: losses.BaseMetricLossFunction, miner: miners.BaseMiner | None = None) -> Work:
    """The same of pytorch-metric-learning."""

    def work(z: Tensor, y: Tensor) -> Tensor:
        value: Tensor = loss(z, y, None if miner is None else miner(z, y))
        return value

    return work


def product(z: Tensor, y: Tensor) -> Tensor:
    """The bare matrix product that every method needs; its backward pass gets a gradient at each element."""
    del y
    return torch.mm(z, z.T)


SQUARED = distances.LpDistance(power=2)
MEAN = reducers.MeanReducer()
WORKS: dict[str, Work] = {
    "ephn": ours(MarginTriplet(margin=0.2), EasyPositiveHardNegative()),
    "ephn/pml": theirs(
        losses.TripletMarginLoss(margin=0.2, distance=SQUARED, reducer=MEAN),
        miners.BatchEasyHardMiner(pos_strategy="easy", neg_strategy="hard"),
    ),
    "product": product,
    "batch_all": ours(MarginTriplet(margin=0.2)),
    "batch_all/pml": theirs(losses.TripletMarginLoss(margin=0.2, distance=SQUARED, reducer=MEAN)),
    "semi_hard_all": ours(SemiHardTriplet(margin=0.2)),
    "nt_xent": ours(NTXent(temperature=0.1)),
    "nt_xent/pml": theirs(losses.NTXentLoss(temperature=0.1)),
    "sup_con": ours(SupCon(temperature=0.1)),
    "sup_con/pml": theirs(losses.SupConLoss(temperature=0.1)),
    "contrastive": ours(Contrastive()),
    "contrastive/pml": theirs(losses.ContrastiveLoss()),
    "multi_similarity": ours(MultiSimilarity()),
    "multi_similarity/pml": theirs(losses.MultiSimilarityLoss()),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is compared with what, how often, and what it must reach."""

    name: str
    batch: int
    against: str | None = None
    repeats: int = 15
    at_least: float | None = None
    """Theirs over ours."""
    at_most_s: float | None = None
    at_most_mb: float | None = None


CASES = (
    Case(name="ephn", batch=1024, against="ephn/pml", at_least=2.0),
    Case(name="ephn", batch=1024, against="product", at_least=1 / 4),
    Case(name="ephn", batch=4096, against="product", at_least=1 / 3, repeats=7),
    Case(name="batch_all", batch=1024, against="batch_all/pml", repeats=2, at_least=50.0, at_most_mb=120),
    Case(name="batch_all", batch=4096, repeats=3, at_most_s=5.0, at_most_mb=400),
    Case(name="semi_hard_all", batch=4096, repeats=3, at_most_s=5.0, at_most_mb=400),
    Case(name="nt_xent", batch=128, against="nt_xent/pml", repeats=2),
    Case(name="nt_xent", batch=4096, repeats=3, at_most_s=2.0),
    Case(name="sup_con", batch=1024, against="sup_con/pml", repeats=5),
    Case(name="contrastive", batch=1024, against="contrastive/pml", repeats=5),
    Case(name="multi_similarity", batch=1024, against="multi_similarity/pml", repeats=5),
)
NO_BAR: dict[str, Any] = {"at_least": None, "at_most_s": None, "at_most_mb": None}


def once(work: Work, z: Tensor, y: Tensor) -> float:
    """Milliseconds of one forward and backward pass."""
    z.grad = None
    gradient = torch.ones(len(z), len(z), device=z.device) if work is product else None
    wait = torch.cuda.synchronize if z.is_cuda else lambda: None
    wait()
    began = time.perf_counter()
    work(z, y).backward(gradient)
    wait()
    return 1000 * (time.perf_counter() - began)


def measure(case: Case, device: torch.device, pool: ProcessPoolExecutor) -> Row:
    """Ours and theirs in turns, after one of each that does not count; their memory in processes of the pool."""
    z, y = batch(case.batch, device)
    works = [WORKS[case.name], *([] if case.against is None else [WORKS[case.against]])]
    warm = [once(work, *batch(min(case.batch, 256), device)) for work in works]
    assert all(ms > 0 for ms in warm)
    times = [[once(work, z, y) for work in works] for _ in range(case.repeats)]
    mine, other = [turn[0] for turn in times], [turn[-1] for turn in times]
    ratio = None if case.against is None else median(other) / median(mine)
    names = [case.name, *([] if case.against is None else [case.against])]
    memory, *others = pool.map(partial(peak, size=case.batch, device=device.type), names)
    checks = {
        f"{case.at_least:.2g}x" if case.at_least else "": case.at_least is None or (ratio or 0) >= case.at_least,
        f"{case.at_most_s:g} s" if case.at_most_s else "": case.at_most_s is None
        or median(mine) <= 1000 * case.at_most_s,
        f"{case.at_most_mb:g} MB" if case.at_most_mb else "": case.at_most_mb is None or memory <= case.at_most_mb,
    }
    return Row(
        name=case.name,
        batch=case.batch,
        ours_ms=median(mine),
        ours_spread_ms=(min(mine), max(mine)),
        against=case.against or "",
        theirs_ms=None if case.against is None else median(other),
        ratio=ratio,
        ours_mb=memory,
        theirs_mb=others[0] if others else None,
        bar=", ".join(bar for bar in checks if bar),
        met=all(checks.values()),
    )


def fresh() -> ProcessPoolExecutor:
    """A new process for each task, of one that has imported all of this and computed nothing; two at a time.

    Memory alone is read there, which side by side does not change.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["experiments.benchmarks.triplets"])
    return ProcessPoolExecutor(2, mp_context=context, max_tasks_per_child=1)


def peak(name: str, size: int, device: str) -> float:
    """Peak memory of this process above what it had with its embeddings and a small warm-up, in MB."""
    where = torch.device(device)
    once(WORKS[name], *batch(64, where))
    z, y = batch(size, where)
    before = high_water_mb(where)
    once(WORKS[name], z, y)
    return high_water_mb(where) - before


def disagreements() -> list[str]:
    """Where our value and theirs differ by more than 1e-5 of it, on 200 rows in float64."""
    draw = torch.Generator().manual_seed(1)
    z, y = torch.randn(200, 16, generator=draw, dtype=torch.float64), torch.arange(200) % CLASSES
    found = []
    for name in (name for name in WORKS if f"{name}/pml" in WORKS):
        one, two = float(WORKS[name](z, y)), float(WORKS[f"{name}/pml"](z, y))
        if abs(one - two) > 1e-5 * abs(two):
            found.append(f"{name}: {one} here, {two} there")
    return found


def table(rows: list[Row]) -> str:
    """Markdown."""
    head = (
        "what",
        "batch",
        "ms (fastest to slowest)",
        "against",
        "its ms",
        "ratio",
        "extra MB",
        "its MB",
        "bar",
        "met",
    )
    cells = (
        (
            row.name,
            row.batch,
            f"{row.ours_ms:.1f} ({row.ours_spread_ms[0]:.1f} to {row.ours_spread_ms[1]:.1f})",
            row.against,
            "" if row.theirs_ms is None else f"{row.theirs_ms:.1f}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            f"{row.ours_mb:.0f}",
            "" if row.theirs_mb is None else f"{row.theirs_mb:.0f}",
            row.bar,
            "" if not row.bar else "yes" if row.met else "NO",
        )
        for row in rows
    )
    return markdown(head, cells)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything; the exit status is 1 where a bar is missed or a value differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the results")
    chosen = parser.parse_args(arguments)
    if absent(chosen.device):
        return 1
    device = torch.device(chosen.device)
    cases = CASES if device.type == "cpu" else [replace(case, **NO_BAR) for case in CASES]
    wrong = disagreements()
    console = Console(stderr=True)
    with fresh() as pool:
        rows = [measure(case, device, pool) for case in track(cases, "Losses and miners", console=console)]
    told = {"pytorch-metric-learning": theirs_version, "threads": torch.get_num_threads(), **facts(device)}
    text = f"{table(rows)}\n\n{', '.join(f'{name} {value}' for name, value in told.items())}; float32.\n"
    publish(chosen.results, named("triplets", chosen.device), text, {**told, "rows": [asdict(row) for row in rows]})
    for words in wrong:
        print(f"values differ: {words}")
    return int(bool(wrong) or not all(row.met for row in rows))


if __name__ == "__main__":
    sys.exit(main())
