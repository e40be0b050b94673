"""A training step of SVHN -> MNIST against its limit, the bare networks, and against pytorch-adapt's DANN.

Command: `python -m experiments.benchmarks.step` (`--device cuda`, `--threads 1`, `--recipes quick_full`), or
`make bench`, which also writes `step_full`: the recipes of full size. It needs the prepared data
(`python -m data_prep svhn mnist`).

The *limit* of a recipe (`domainmetric/training/limit.py`) is a forward and backward pass of the recipe's own networks,
in the same layout and precision, with the same parts frozen, on random images of the same sets that lie ready as
floats: as many of each domain as a step encodes, the re-encoded anchors among them. It has no augmentation, no teacher
(whose pass over the clean target images decides the matches, and so counts as the framework's), no banks, no terms, no
alarms and no optimizer. The gradients that it sends back are constants. Since the teacher's passes are arithmetic of
networks, too, which no framework could save, the share is also told where they count as the limit's: the pass over the
target batch, and over as many source images as the bank takes in a step.

The framework's step is that of a run, with everything that a run does between two evaluations: bank refreshes and
gradient shares are spread over the steps between two of them. A step and one of the limit take turns in one process, so
that both see the same machine; told are the medians of the ratios of neighbors. On a busy machine the CPU time tells
more than the wall time. Memory is the peak of three steps and a bank refresh in a process of its own, above what it had
after the first two steps, in which the network is copied to see how it is wired.

pytorch-adapt's loop (`adapt_loop.py`, float32) shares the networks and the number of images of a step. Blocks of its
steps come just before and after ours. It trains one branch for both domains, and ours one of two: so its neighbor is
also `quick_dann` with a source branch that trains, which is the same arithmetic of the networks.

Finding (two threads, quiet machine, AMD EPYC): `full` reaches 76% of its limit (862 against 661 ms), `dann_mmd` 96%
(568 against 552), `quick_dann_mmd` 86% (85 against 73), `quick_full` 61% (141 against 85), or 81% where the teacher's
passes count as the limit's. Those take 30 ms: with nothing else beside the limit, 74% would be the most that it could
reach. Beside pytorch-adapt's DANN: with the same arithmetic of the networks (`quick_dann_both`) 1.9 times as fast
(121 against 229 ms), `quick_full` 1.5 times (141 against 208), though it encodes 642 images with the student and 420
with the teacher, and that one 386; `full` as fast (862 against 870), of which its bare networks take 661, so that
twice is out of reach. With `--precision bf16`, which this processor has instructions for: `quick_full` 102 ms, 2.0
times as fast as pytorch-adapt's loop in float32; `full` 496 ms, 1.7 times, and 72% of its limit in bfloat16. The peak
of memory is that of the limit in the middle (`full`: 274 over 276 MB, four processes each), but a single one says
little: `full` had 1.57 in the table, for the C library keeps some of what it was given back.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from domainmetric.figures.style import QUIET, color, new_figure, save, tidy
from domainmetric.runner import data_root
from domainmetric.training import runtime
from domainmetric.training.batches import load
from experiments.benchmarks.adapt_loop import WORKERS
from experiments.benchmarks.machine import absent, facts, named
from experiments.benchmarks.matching import HERE, publish
from experiments.benchmarks.step_adapt import AdaptRow, beside_adapt
from experiments.benchmarks.step_limit import Row, beside_limit, print_peak, recipe
from experiments.tables import markdown

RECIPES = ("quick_full", "quick_dann_mmd", "quick_dann_both")
COMPARED = ("quick_full", "quick_dann", "quick_dann_both", "full", "dann_both")
"""Recipes that are held against pytorch-adapt; `full` is to be at least twice as fast, though it does more."""


def table(rows: Sequence[Row]) -> str:
    """Markdown: beside the limit."""
    head = ("recipe", "step, ms", "limit, ms", "share of the limit", "bar", "step, CPU ms", "limit, CPU ms")
    head += ("share by CPU time (quartiles)", "with the teacher's passes", "peak, MB", "limit's peak, MB", "ratio")
    cells = (
        (
            f"`{row.recipe}`",
            f"{row.wall_ms:.0f}",
            f"{row.limit_wall_ms:.0f}",
            f"{row.share:.0%}",
            "" if row.bar is None else f"{row.bar:.0%}",
            f"{row.cpu_ms:.0f}",
            f"{row.limit_cpu_ms:.0f}",
            f"{row.share_cpu:.0%} ({row.quartiles_cpu[0]:.0%} to {row.quartiles_cpu[1]:.0%})",
            f"{row.share_with_teacher_cpu:.0%}",
            f"{row.peak_mb:.0f}",
            f"{row.limit_peak_mb:.0f}",
            f"{row.memory:.2f}",
        )
        for row in rows
    )
    return markdown(head, cells)


def adapt_table(rows: Sequence[AdaptRow]) -> str:
    """Markdown: beside pytorch-adapt."""
    head = ("recipe", "step, ms", "pytorch-adapt's, ms", "ratio", "step, CPU ms", "pytorch-adapt's, CPU ms")
    head += ("ratio by CPU time (range)",)
    cells = (
        (
            f"`{row.recipe}`",
            f"{row.wall_ms:.0f}",
            f"{row.theirs_wall_ms:.0f}",
            f"{row.ratio:.1f}",
            f"{row.cpu_ms:.0f}",
            f"{row.theirs_cpu_ms:.0f}",
            f"{row.ratio_cpu:.1f} ({row.ratios_cpu[0]:.1f} to {row.ratios_cpu[1]:.1f})",
        )
        for row in rows
    )
    return markdown(head, cells)


def picture(rows: Sequence[Row], path: Path) -> None:
    """Shares of the limit by CPU time, with their quartiles and what is to be reached."""
    figure = new_figure(6.4, 0.9 + 0.45 * len(rows), title="Throughput of a training step, as a share of its limit")
    axes = tidy(figure.subplots(), x="share of the bare networks' throughput by CPU time (line: quartiles)", grid=False)
    places = range(len(rows))[::-1]
    for place, row in zip(places, rows, strict=True):
        axes.barh(place, row.share_cpu, height=0.55, color=color(0))
        axes.plot(row.quartiles_cpu, (place, place), color=QUIET, linewidth=1.5)
        axes.text(0.01, place, f"{row.share_cpu:.0%}", va="center", fontsize=8, color="white", fontweight="bold")
        if row.bar is not None:
            axes.plot((row.bar, row.bar), (place - 0.35, place + 0.35), color=color(2), linewidth=2)
    axes.axvline(1, color=QUIET, linestyle=":", linewidth=1)
    axes.set_xlim(0, 1.05)
    axes.set_yticks(list(places), [row.recipe for row in rows])
    axes.set_title("red: to be reached; dotted: the limit", fontsize=8, color=QUIET, loc="left")
    save(figure, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.step", description="A training step.")
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES), help="of experiments/svhn_to_mnist.py")
    parser.add_argument("--repeats", type=int, default=1, help="periods of each recipe")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="of the networks")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's default")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the results")
    parser.add_argument("--name", default="step", help="of the files there")
    parser.add_argument("--peak", choices=("step", "limit"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if absent(chosen.device):
        return 1
    experiments = [recipe(name, chosen.device, chosen.precision, chosen.threads or None) for name in chosen.recipes]
    if chosen.peak is not None:
        print_peak(chosen.peak, experiments[0])
        return 0
    fabric = runtime.fabric(experiments[0].runtime)
    with runtime.arithmetic(experiments[0].runtime):
        data = load(experiments[0], data_root(experiments[0]), fabric.device)
        rows, others = [], []
        for name, experiment in zip(chosen.recipes, experiments, strict=True):
            measure = partial(beside_limit, name, experiment, data, fabric, chosen.repeats)
            if name in COMPARED:
                row, other = beside_adapt(experiment, data, fabric, measure)
                others.append(other)
            else:
                row = measure()
            rows.append(row)
        told = {**facts(fabric.device), "precision of the networks": chosen.precision}
    text = f"{table(rows)}\n\nBeside pytorch-adapt's DANN, {WORKERS} loading processes:\n\n{adapt_table(others)}\n\n"
    text += f"{', '.join(f'{name} {value}' for name, value in told.items())}.\n"
    found: dict[str, Any] = {**told, "rows": [{**asdict(row), "memory": row.memory} for row in rows]}
    name = named(chosen.name, chosen.device)
    publish(chosen.results, name, text, {**found, "pytorch-adapt": [asdict(row) for row in others]})
    picture(rows, chosen.results / f"{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
