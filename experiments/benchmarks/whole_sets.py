"""Whole training sets at once: every MNIST image by its pixels, and a bank of all SVHN with the matches of all MNIST.

Command: `python -m experiments.benchmarks.whole_sets` (`--device cuda`; `make bench-gpu`). The first turn is not
counted; the median of the others is told. Images are those of the prepared SVHN and MNIST, or random ones of the same
number; weights are random, since they cost what trained ones do. A refresh encodes the whole source set by the network
of `full` (DTN) in the precision that is asked for, and the whole target set, which `Nearest` then matches. The results
go to `whole_sets.json` and `.md`, on a GPU `whole_sets_cuda`.

On a GPU: not run yet.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from domainmetric import AnchorContext, ImageSet, Nearest, Runtime
from domainmetric.anchors.pixel import pixel_search
from domainmetric.training import runtime
from domainmetric.training.banks import fill, labels_of_bank
from domainmetric.training.phases import new_network
from domainmetric.training.wall_time import WallTime
from experiments.benchmarks.machine import absent, facts, named
from experiments.benchmarks.matching import HERE, images, publish
from experiments.svhn_to_mnist import full
from experiments.tables import markdown

DIGITS = tuple("0123456789")


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    """Wall time of each turn but the first, the device's work included."""
    found = []
    for _ in range(repeats + 1):
        with WallTime(device) as spent:
            work()
        found.append(spent.seconds)
    return found[1:]


def refresh_and_match(source: Tensor, target: Tensor, device: torch.device, precision: str) -> Callable[[], object]:
    """A bank of the whole source set, and the matches of the whole target set."""
    labels = torch.arange(len(source), device=device) % len(DIGITS)
    sets = {
        "source": ImageSet(images=source, labels=labels, classes=DIGITS),
        "target": ImageSet(images=target, labels=None, classes=DIGITS),
    }
    teacher = new_network(full(), device).eval().requires_grad_(False)
    matcher = Nearest().build(AnchorContext(source=sets["source"], target=sets["target"], seed=0))
    rows = {name: torch.arange(len(one), device=device) for name, one in sets.items()}

    @torch.no_grad()
    def work() -> object:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            bank, seen = (fill(teacher, name, sets[name], rows[name]) for name in ("source", "target"))
            matcher.refresh(bank, None)
            return labels_of_bank(matcher, seen)

    return work


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.whole_sets", description="Whole sets.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="of the network")
    parser.add_argument("--share", type=float, default=1.0, help="share of both training sets (default: all)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the results")
    chosen = parser.parse_args(arguments)
    if absent(chosen.device):
        return 1
    device = runtime.fabric(Runtime(device=chosen.device)).device
    target, source, origin = images(chosen.share)
    target, source = target.to(device), source.to(device)
    works = {
        "exact pixel search": lambda: pixel_search(target, source, num=1),
        "bank refresh and semantic match": refresh_and_match(source, target, device, chosen.precision),
    }
    found = {name: seconds(work, device, chosen.repeats) for name, work in works.items()}
    rows = [
        (name, f"{len(target):,} x {len(source):,}", f"{median(times):.3g}", f"{min(times):.3g} to {max(times):.3g}")
        for name, times in found.items()
    ]
    told = {**facts(device), "images": origin, "precision": chosen.precision}
    text = markdown(("what", "target x source", "wall, s", "turns"), rows)
    text += f"\n\n{', '.join(f'{name} {value}' for name, value in told.items())}.\n"
    publish(chosen.results, named("whole_sets", chosen.device), text, {**told, "seconds": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
