"""Does the approximate search pay for a bank of a million items? Against the exact product, on one thread.

Command: `python -m experiments.benchmarks.large_bank` (minutes, 3 GB of memory); the table goes to
`experiments/benchmarks/large_bank.md`. The embeddings are made up: a thousand wide clusters on the sphere. Recall is
the share of the ten nearest that are found, and higher on clusters than it may be elsewhere.

Finding (`--batches 1`, AMD EPYC, quiet machine, CPU time): the cells of a million items take 28 s to make, and then a
batch 0.17 s in place of 1.7 s, so that they are ahead after nineteen batches; all of the ten nearest were found.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from domainmetric.anchors.approximate import CellSearch
from domainmetric.anchors.search import ExactSearch
from domainmetric.geometry import normalize
from experiments.benchmarks.matching import HERE, Clock
from experiments.kept import one_thread
from experiments.tables import markdown

BATCH, SIZE, K, CLUSTERS = 256, 128, 10, 1000
PROBED = (0.02,)


def embeddings(count: int, seed: int) -> Tensor:
    """Unit vectors around a thousand centers, as far from them as these are long."""
    centers = torch.randn(CLUSTERS, SIZE, generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(seed)
    z = torch.randn(count, SIZE, generator=draw)
    return normalize(z.add_(centers[torch.randint(CLUSTERS, (count,), generator=draw)]))


def measure(count: int, batches: int) -> list[tuple[str, ...]]:
    """A line for each search: preparing the bank, a batch, recall, and after how many batches it is ahead."""
    bank, queries = embeddings(count, 1), embeddings(BATCH * batches, 2).split(BATCH)
    exact = Clock()
    nearest = [exact(lambda: ExactSearch().among(bank)(part, K))[1] for part in queries]  # noqa: B023 (called at once)
    each = exact.cpu / batches
    rows = [("exact", "0", f"{each:.3f}", "1", "")]
    for probed in PROBED:
        prepare, search = Clock(), Clock()
        lookup = prepare(lambda: CellSearch(probed=probed).among(bank))  # noqa: B023
        places = [search(lambda: lookup(part, K))[1] for part in queries]  # noqa: B023
        found = [(a[:, :, None] == b[:, None]).any(2).float().mean() for a, b in zip(places, nearest, strict=True)]
        saved = each - search.cpu / batches
        ahead = f"{prepare.cpu / saved:.0f}" if saved > 0 else "never"
        recall = float(torch.stack(found).mean())
        rows.append(
            (f"{probed:.1%} of the cells", f"{prepare.cpu:.0f}", f"{search.cpu / batches:.3f}", f"{recall:.3f}", ahead)
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.large_bank", description="Large banks.")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the result")
    chosen = parser.parse_args(arguments)
    with one_thread():
        rows = measure(chosen.items, chosen.batches)
    head = ("search", "bank prepared, s of CPU", f"batch of {BATCH}, s of CPU", f"recall of {K}", "ahead after batches")
    what = f"{chosen.items:,} items of {SIZE} dimensions, batches measured: {chosen.batches}"
    facts = f"{what}; one thread, {torch.backends.cpu.get_cpu_capability()}"
    text = f"{markdown(head, rows)}\n\n{facts}.\n"
    (chosen.results / "large_bank.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
