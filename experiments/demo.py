"""A transfer in two minutes, without a download: rendered street digits teach a network to read real handwritten ones.

Question: do anchors that the embedding picks ("semantic") carry knowledge across the domains where anchors picked by
pixels do not? Command: `make demo`, or `python -m experiments.demo [--seed=N]`; one recipe alone:
`domainmetric run experiments/demo.py:semantic_anchors`.

The two anchored recipes differ in `anchors` and in nothing else: the same terms, steps and seeds, and the same source
phase, which is trained once and reused. Their triplets join the targets to the matched source items and, by the same
matched labels, to the random source items of the batch. Training uses no target label. The settings below, however,
were chosen with the labels of this pair: its source is synthetic, and it exists for that. The real pair's were not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from domainmetric import (
    AdaptationPhase,
    AnchorStrategy,
    Banks,
    Classify,
    DataNotPrepared,
    DomainMetricError,
    Evaluation,
    Experiment,
    Interrupted,
    MarginTriplet,
    Metric,
    Mnist,
    Nearest,
    Optimizer,
    Pair,
    PixelNearest,
    Roles,
    Runtime,
    SigmoidRamp,
    SklearnDigits,
    SourcePhase,
    StreetDigits,
    Svhn,
    Term,
    Tracking,
    run,
)
from domainmetric.runner import data_root
from domainmetric.terms import BOTH_DIRECTIONS

CLASSIFY = Term(part=Classify())
WITH_SOURCE = (
    Roles(anchor="target", positive="source", negative="source"),
    Roles(anchor="source", positive="target", negative="target"),
)
"""Targets against random source items, and the other way around."""
TRIPLET = Term(part=Metric(loss=MarginTriplet(margin=1.0), roles=BOTH_DIRECTIONS + WITH_SOURCE), schedule=SigmoidRamp())


def adapted(name: str, anchors: AnchorStrategy) -> Experiment:
    """The source phase, then triplets beside the source cross-entropy, with the given anchors."""
    terms = {"classify": CLASSIFY, "triplet": TRIPLET}
    return Experiment(
        name=name,
        data=Pair(source=StreetDigits(num_train=4000, num_test=1000), target=SklearnDigits()),
        image_size=16,
        terms=terms,
        anchors=anchors,
        phases={
            "source": SourcePhase(terms=("classify",), steps=400, source_batch=100, optimizer=Optimizer(lr=4e-3)),
            "adapt": AdaptationPhase(
                terms=tuple(terms), steps=250, source_batch=100, target_batch=128, ema=0.9, optimizer=Optimizer(lr=4e-3)
            ),
        },
        banks=Banks(source_size=2000),
        evaluation=Evaluation(every=50),
        runtime=Runtime(threads=1),  # the same table on any number of cores, and no waiting on a busy machine
        tracking=Tracking(wandb="off"),
    )


def source_only() -> Experiment:
    """Trained on the street digits alone. Expected: 70 to 76% of the handwritten digits."""
    experiment = semantic_anchors()
    phases = {"source": experiment.phases["source"]}
    return replace(experiment, name="demo_source_only", terms={"classify": CLASSIFY}, phases=phases, anchors=None)


def pixel_anchors() -> Experiment:
    """Anchors by likeness of pixels: the baseline. Expected: no better than source only, since pixels mislead."""
    return adapted("demo_pixel_anchors", PixelNearest())


def semantic_anchors() -> Experiment:
    """Anchors by the vote of the nearest source embeddings. Expected: at least 10 points above source only."""
    return adapted("demo_semantic_anchors", Nearest())


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: what a finished run reached on the target's test images, as fractions."""

    name: str
    accuracy: float
    precision_at_1: float
    """Of the source training image nearest to each target test image."""
    map_at_r: float
    """Of the ranking of the source training images for each target test image."""
    seconds: float
    """Of training; those of a reused source phase are counted again."""
    folder: Path

    @staticmethod
    def read(name: str, folder: Path) -> Row:
        """The numbers in a run's report."""
        report: dict[str, Any] = json.loads((folder / "report.json").read_text())
        across = report["retrieval"]["target_to_source"]
        return Row(
            name=name,
            accuracy=report["target_accuracy"],
            precision_at_1=across["precision_at_1"],
            map_at_r=across["map_at_r"],
            seconds=report["seconds"],
            folder=folder,
        )


def table(rows: Sequence[Row], title: str) -> Table:
    """The rows for people, in percent."""
    result = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    result.add_column("")
    for name in ("accuracy", "P@1", "MAP@R", "training"):
        result.add_column(name, justify="right")
    for row in rows:
        numbers = (f"{value:.1%}" for value in (row.accuracy, row.precision_at_1, row.map_at_r))
        result.add_row(row.name, *numbers, f"{row.seconds:.0f} s")
    return result


def real_data(root: Path) -> str:
    """What to type for the real pair: to run it where its data lies prepared in `root`, otherwise to prepare it too."""
    tools = Path(sys.executable).parent
    if tools.is_relative_to(Path.cwd()):
        tools = tools.relative_to(Path.cwd())
    run_it = f"  {tools}/domainmetric run experiments/svhn_to_mnist.py:quick_full"
    try:
        for domain in (Svhn(), Mnist()):
            domain.hashes(root, size=32)
    except DataNotPrepared:
        prepare = f"  {tools}/python -m data_prep svhn mnist --root {root}"
        return f"On real data, SVHN -> MNIST, which {root} lacks. Prepare it, then run:\n{prepare}\n{run_it}"
    except DomainMetricError as error:
        return f"The real data in {root} cannot be used: {error}"
    return f"The real data, SVHN and MNIST, is ready in {root}. To run on it:\n{run_it}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the three recipes and print what they reached. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.demo", description="Anchors compared on generated data."
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    seed = parser.parse_args(arguments).seed
    out, progress = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    rows = []
    for number, recipe in enumerate((source_only, pixel_anchors, semantic_anchors), start=1):
        name = recipe.__name__.replace("_", " ")
        progress.print(f"{number}/3 {name}")
        try:
            rows.append(Row.read(name, run(replace(recipe(), seed=seed))))
        except DomainMetricError as error:
            progress.print(f"demo: {error}", markup=False)
            return 130 if isinstance(error, Interrupted) else 1
    out.print(table(rows, f"Street digits -> handwritten digits, seed {seed}: 500 target test images"))
    figures = ", ".join(sorted(path.name for path in (rows[-1].folder / "figures").iterdir()))
    out.print(f"P@1 and MAP@R: the source training images retrieved for them.\n\nRuns, each with figures/ ({figures}):")
    out.print("\n".join(f"  {row.folder}" for row in rows), markup=False)
    out.print(f"\n{real_data(data_root(semantic_anchors()))}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
