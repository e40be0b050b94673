"""Does squared Euclidean distance hurt on the sphere? Chord^2, chord, cosine and geodesic, in the triplet loss.

Question: embeddings lie on the sphere, but most triplet losses compare them by the square of a straight line through
it. The geodesic is the distance along the surface. Does it retrieve better, is it safer from collapse, and does it
matter whether vectors are normalized in the graph or after the update?

Parts (`--part`, all by default):

* `toy`: the collapse toy (`experiments.collapse_toy`), 7 losses, hard or easy positives.
* `angles`: how far the gradients differ, by formula and on batches of digits, and what of them lies along the sphere.
* `collapse`: the toy's question on SVHN: 6 losses x 3 batches x 2 learning rates x 3 seeds.
* `recall`: Recall@1 among SVHN digits that were never trained on, each arm at its best margin.

Protocol of `recall`, stated before the final runs. Train on the digits 0 to 4, 5 classes x 8 examples, all triplets,
200 steps; retrieve among 4,000 images of the digits 5 to 9. Chosen by Recall@1 on 2,000 other images of 0 to 4, on
seeds of their own: a learning rate for each optimizer and place of normalization (the best for its first and last
distance together), and a margin for each arm, from a grid of 4 in shares of the distance of orthogonal vectors, so that
it is the same for all. The final seeds are fresh. Gradients are `matched`: a batch's gradient has length 1 on the
sphere for every arm, in every step, and the learning rate alone says how far it goes, so distances differ in direction
and in how they weigh triplets against each other. With Adam a constant factor on the loss does nothing, so its arms are
left as they are: what one gets who swaps the distance. Cosine with half the margin is half of chord^2, and takes its
margin. (A first form of matching, length 1 before the normalization, was given up on validation results: the lengths of
the vectors then grow without end, and every distance trains badly.)
**Two arms count as equivalent if the 95% t-interval of their paired difference over the seeds lies within +-0.5 points
of Recall@1**; as different if it excludes zero; else as undecided. Intervals are not corrected for their number.

Command: `python -m experiments.geodesic_or_chord` (541 short runs of one thread, about an hour on a machine that others
used, too; an interrupted series goes on where it stopped).

Finding: **squared Euclidean distance does not hurt.** (All numbers in `experiments/results/geodesic_or_chord/`.)
* Recall@1 among unseen digits at matched gradients, 8 seeds: chord^2 63.7 +- 1.9; geodesic is 0.96 points worse
  [-1.76, -0.16], chord 0.61 worse [-1.78, +0.56], undecided. Simply swapped under Adam: chord^2 62.2 +- 2.2, chord 1.14
  worse [-2.18, -0.10], geodesic 0.35 worse [-1.09, +0.38], undecided. So nothing is shown to be better than chord^2;
  nor is anything shown to be equivalent within +-0.5 points but cosine, which at half the margin is the very same run.
* The gradients do differ: for a near positive and a far negative by 34 to 71 degrees (gamma 0 to .9), on batches of
  digits by 10 degrees at an embedding and 11 at the weights. But 95% and more of the raw gradient of chord^2 lies along
  the sphere there, so that little is lost in normalizing.
* Collapse is a matter of the loss and the positives, not of the distance: of 18 runs on SVHN each, chord^2 18, chord
  18, geodesic 17 and L1 18 collapse; L2 and SCT none. Collapsed, chord and geodesic keep a finer order than chord^2
  (easy positives, n = 8: 73 to 77% Recall@1 against 62 to 64). In the toy with 32 classes and easy positives chord and
  geodesic escape in 7 of 9 runs, chord^2 in none: the one place where the straight line's square is worse.
* Normalized after the update in place of in the graph: -0.8 to +1.2 points, all undecided (3 or 5 seeds). With lengths
  left free 8 to 14 points worse.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from domainmetric import DomainMetricError
from domainmetric.figures.style import save
from experiments import collapse_toy, geodesic_angles, geodesic_figures, geodesic_recall, geodesic_runs, tables
from experiments.collapse_toy import MARGIN, ToyRun
from experiments.geodesic_recall import Plan as RecallPlan
from experiments.geodesic_runs import DISTANCES, RIGHT_ANGLE, DigitRun
from experiments.kept import finish
from experiments.lab import COLLAPSED, data_root

RESULTS = Path(__file__).parent / "results" / "geodesic_or_chord"
SETTINGS = (("HPHN", 2, 32), ("HPHN", 8, 8), ("EPHN", 8, 8), ("EPHN", 8, 32))
"""Of the toy: miner, examples of a class and classes in a batch. All batches but the last one have 64 items."""
DIGIT_LOSSES = ("chord^2", "chord", "geodesic", "L1", "L2", "SCT")

Row = dict[str, Any]
Run = TypeVar("Run", ToyRun, DigitRun)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is run."""

    toy_lrs: tuple[float, ...] = (0.1, 0.3, 1.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the toy, the angles and the collapse on digits."""
    toy_steps: int = 300
    lrs: tuple[float, ...] = (0.1, 1.0)
    batches: tuple[tuple[str, int], ...] = (("HPHN", 2), ("HPHN", 8), ("EPHN", 8))
    """Of the collapse on digits: miner and examples of a class. With n = 2 the only positive is easy and hard."""
    steps: int = 200
    recall: RecallPlan = field(default_factory=RecallPlan)


TINY_SEEDS = (201, 202)
TINY_PLAN = Plan(
    toy_lrs=(1.0,),
    seeds=(0,),
    toy_steps=3,
    lrs=(1.0,),
    batches=(("HPHN", 2),),
    steps=2,
    recall=RecallPlan(
        shares=(0.25, 0.5),
        lrs={"matched": (0.03,), "adam": (1e-3,)},
        tuning_seeds=(100,),
        seeds=TINY_SEEDS,
        few_seeds=TINY_SEEDS,
        check_seeds=TINY_SEEDS,
        steps=2,
        n=2,
    ),
)
"""To see whether everything runs."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where results go and how runs are made."""

    folder: Path
    root: Path
    workers: int
    plan: Plan

    def finish(self, file: str, runs: Sequence[Run], work: Callable[[Run], Row]) -> dict[str, Row]:
        """The results of some runs by name; those that are kept in `file` are not run again."""
        return finish(self.folder / file, {run.name: run for run in runs}, work, workers=self.workers, title=file[:-5])

    def digits(self, file: str, runs: Sequence[DigitRun]) -> dict[str, Row]:
        """The same for runs on digits."""
        return self.finish(file, runs, partial(geodesic_runs.work, root=self.root))

    def tell(self, name: str, rows: Sequence[Row]) -> None:
        """Write a table as CSV and Markdown, and print it."""
        with (self.folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        text = markdown(rows)
        (self.folder / f"{name}.md").write_text(text + "\n")
        print(f"\n{name}\n\n{text}")


def markdown(rows: Sequence[Row]) -> str:
    """Rows of equal keys as a table."""
    cells = ([f"{v:.3f}" if isinstance(v, float) else v for v in row.values()] for row in rows)
    return tables.markdown(list(rows[0]), cells)


def toy(bench: Bench) -> None:
    """Which losses collapse on the toy."""
    plan = bench.plan
    runs = [
        ToyRun(loss=loss, miner=miner, n=n, classes=classes, lr=lr, seed=seed, steps=plan.toy_steps)
        for miner, n, classes in SETTINGS
        for loss in collapse_toy.LOSSES
        for lr in plan.toy_lrs
        for seed in plan.seeds
    ]
    found = bench.finish("toy.json", runs, collapse_toy.work)
    bench.tell("toy", rates(runs, found, ("miner", "n", "classes", "loss"), "mean_cosine", "recall_at_1"))
    save(geodesic_figures.toy(runs, found), bench.folder / "toy.png")


def angles(bench: Bench) -> None:
    """How far the gradients of the distances differ."""
    plan = bench.plan
    runs = [
        DigitRun(
            loss="chord^2", margin=geodesic_angles.SHARE * RIGHT_ANGLE["chord^2"], miner="all", n=plan.recall.n,
            optimizer="matched", lr=geodesic_angles.LR, seed=seed, steps=plan.steps,
        )
        for seed in plan.seeds
    ]  # fmt: skip
    found = bench.finish("angles.json", runs, partial(geodesic_angles.work, root=bench.root))
    measured = geodesic_angles.measured(found)
    bench.tell("angles_by_formula", geodesic_angles.by_formula())
    bench.tell("angles_at_the_corner", geodesic_angles.at_the_corner())
    bench.tell("angles_measured", measured)
    save(geodesic_figures.angles(measured), bench.folder / "angles.png")


def collapse(bench: Bench) -> None:
    """Which losses collapse on real digits."""
    plan = bench.plan
    runs = [
        DigitRun(
            loss=loss, margin=MARGIN if loss in DISTANCES else None, miner=miner, n=n, optimizer="sgd", lr=lr,
            seed=seed, steps=plan.steps,
        )
        for miner, n in plan.batches
        for loss in DIGIT_LOSSES
        for lr in plan.lrs
        for seed in plan.seeds
    ]  # fmt: skip
    found = bench.digits("collapse.json", runs)
    rows = rates(runs, found, ("miner", "n", "lr", "loss"), "validation_mean_cosine", "validation_recall_at_1")
    bench.tell("collapse", rows)
    save(geodesic_figures.collapse(rows), bench.folder / "collapse.png")


def rates(runs: Sequence[Run], found: Mapping[str, Row], by: tuple[str, ...], cosine: str, recall: str) -> list[Row]:
    """For each setting: how many runs ended collapsed, their mean cosine and Recall@1."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for run in runs:
        groups.setdefault(tuple(getattr(run, key) for key in by), []).append(found[run.name])
    rows = []
    for values, results in groups.items():
        recalls = [result[recall] for result in results]
        rows.append(
            dict(zip(by, values, strict=True))
            | {"collapsed": sum(result[cosine] > COLLAPSED for result in results), "runs": len(results)}
            | {"mean cosine": fmean(result[cosine] for result in results), "Recall@1": fmean(recalls)}
            | {"Recall@1 from": min(recalls), "to": max(recalls)}
        )
    return rows


def recall(bench: Bench) -> None:
    """Which distance retrieves unseen digits best, at its best margin and matched gradients."""
    outcome = geodesic_recall.series(bench.plan.recall, partial(bench.digits, "recall.json"))
    bench.tell("recall_margins", outcome.margins)
    bench.tell("recall", outcome.finals)
    bench.tell("recall_differences", outcome.differences)
    save(geodesic_figures.recall(outcome), bench.folder / "recall.png")


PARTS: Mapping[str, Callable[[Bench], None]] = {"toy": toy, "angles": angles, "recall": recall, "collapse": collapse}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing of the chosen parts, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--data-root", type=Path, default=None, help="prepared SVHN; else $DOMAINMETRIC_DATA, data/")
    parser.add_argument("--workers", type=int, default=1, choices=(1, 2), help="runs at a time, of one thread each")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results, tables and figures")
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="final seeds of `recall`, in place of 8")
    parser.add_argument("--tiny", action="store_true", help="a few steps of everything, to see whether it runs")
    options = parser.parse_args(arguments)
    plan = TINY_PLAN if options.tiny else Plan()
    if options.seeds:
        seeds = tuple(options.seeds)
        plan = replace(plan, recall=replace(plan.recall, seeds=seeds, few_seeds=seeds, check_seeds=seeds))
    folder = options.results / "tiny" if options.tiny else options.results
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(folder=folder, root=options.data_root or data_root(), workers=options.workers, plan=plan)
    try:
        for part in options.part:
            PARTS[part](bench)
    except DomainMetricError as error:
        print(f"geodesic_or_chord: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
