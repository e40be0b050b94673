"""Can an adaptation that ends below source-only be told without target labels? Precision and recall of the alarm.

Question: of the short adaptations that end worse on the target than they began, how many does a fall of a label-free
score show (recall), and how many of those that it shows are really worse (precision)? Command:
`python -m experiments.alarm_precision [--seeds 10] [--part I/N] [--folder FOLDER]`; it can be interrupted and goes on,
and parts can be run side by side. On the generated pair of `experiments/demo.py`, cut short: 150 steps on the source,
then 60 of adaptation in thirteen ways, of which some are known to help, some to hurt, and some do either.

Which score the alarm `BelowSource` goes by was chosen on the even seeds: of the three that are best there, within two
runs of each other (bnm, information_maximization, class_cluster), the one that no term trains; so was how far it must
fall, and anything up to .1 tells the same there. What it reaches is to be read of the odd seeds.
The labels of this pair may be looked at: its source is generated, and it exists for that.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from domainmetric import (
    AdaptationPhase,
    Alarm,
    Alarmed,
    BelowSource,
    Coral,
    Dann,
    Experiment,
    Finding,
    FirstOrder,
    HardPositiveHardNegative,
    InformationMaximization,
    Metric,
    Mmd,
    Nearest,
    Optimizer,
    Pair,
    PixelNearest,
    Prototype,
    RandomAnchors,
    Sight,
    SklearnDigits,
    StreetDigits,
    Term,
    run,
)
from domainmetric.training.tracking import history
from experiments.demo import CLASSIFY, TRIPLET, semantic_anchors
from experiments.kept import finish, read

ORACLE = "eval/target/accuracy_oracle"
WORSE = 0.0
"""An end this much below the start (accuracy on target training images) counts as worse."""
L1 = Term(part=Metric(loss=FirstOrder(), miner=HardPositiveHardNegative()))


@dataclass(frozen=True, kw_only=True)
class Trained(Alarm):
    """Ends a run after its last look: the report and the figures are not asked for here."""

    @property
    def meaning(self) -> str:
        return "The training is over."

    @property
    def advice(self) -> str:
        return "Read the log."

    def find(self, sight: Sight) -> Iterator[Finding]:
        if sight.adapts and sight.seen is not None and sight.step == sight.steps:
            yield Finding("end", "The last look was taken.")


@dataclass(frozen=True, kw_only=True)
class Short:
    """One run: a way to adapt, and a seed."""

    way: str
    seed: int


def ways() -> dict[str, Experiment]:
    """Every way to adapt."""
    base = semantic_anchors()
    base = replace(
        base,
        data=Pair(source=StreetDigits(num_train=2000, num_test=200), target=SklearnDigits()),
        evaluation=replace(base.evaluation, every=30, num_images=600, gradient_every=10),
        alarms={"trained": Trained(action="stop")},
    )

    def way(lr: float = 4e-3, *, classify: bool = True, **terms: Term) -> Experiment:
        every = {"classify": CLASSIFY, **terms}
        adapting = tuple(name for name in every if classify or name != "classify")
        adapt = AdaptationPhase(
            terms=adapting, steps=60, source_batch=50, target_batch=64, ema=0.9, optimizer=Optimizer(lr=lr)
        )
        phases = {"source": replace(base.phases["source"], steps=150), "adapt": adapt}
        anchors = Nearest() if any("matches" in term.part.needs for term in terms.values()) else None
        return replace(base, terms=every, phases=phases, anchors=anchors)

    triplet = way(triplet=TRIPLET)
    return {
        "nearest_anchors": triplet,
        "prototype_anchors": replace(triplet, anchors=Prototype()),
        "pixel_anchors": replace(triplet, anchors=PixelNearest()),
        "random_anchors": replace(triplet, anchors=RandomAnchors()),
        "L1,HPHN": way(triplet=L1),
        "L1,HPHN,lr=0.02": way(0.02, triplet=L1),
        "DANN": way(dann=Term(part=Dann())),
        "DANN_alone": way(classify=False, dann=Term(part=Dann())),
        "DANN,lr=0.02": way(0.02, dann=Term(part=Dann())),
        "MMD": way(mmd=Term(part=Mmd())),
        "CORAL_alone": way(classify=False, coral=Term(part=Coral(), weight=1e4)),
        "information": way(information=Term(part=InformationMaximization())),
        "information,lr=0.05": way(0.05, information=Term(part=InformationMaximization())),
    }


def adapt(root: Path, short: Short) -> dict[str, Any]:
    """Run it in `root`, where the ways share the source phase of a seed, and leave nothing else there.

    Returns each score and the oracle accuracy, at the start of the adaptation and at its end.
    """
    experiment = replace(ways()[short.way], name=f"short-{os.getpid()}", seed=short.seed, runs_root=root)
    with suppress(Alarmed):
        run(experiment)
    (made,) = root.glob(f"{experiment.name}-*")
    curves = history(made)
    shutil.rmtree(made)
    begin = experiment.phases["source"].steps
    found = {}
    for name, (steps, values) in curves.items():
        if name.startswith("score/") or name == ORACLE:
            inside = [value for step, value in zip(steps, values, strict=True) if step >= begin]
            found[name.removeprefix("score/")] = [inside[0], inside[-1]]
    return found


def rates(rows: Sequence[Mapping[str, Any]], score: str) -> dict[str, float]:
    """How well a fall of a score tells that the target accuracy fell."""
    worse = [row[ORACLE][1] < row[ORACLE][0] - WORSE for row in rows]
    fall = BelowSource().fall if score == BelowSource().score else 0.0
    told = [row[score][1] < row[score][0] - fall for row in rows]
    both = sum(w and t for w, t in zip(worse, told, strict=True))
    return {
        "worse": sum(worse),
        "told": sum(told),
        "both": both,
        "precision": both / sum(told) if any(told) else float("nan"),
        "recall": both / sum(worse) if any(worse) else float("nan"),
    }


def table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Precision and recall of every score."""
    result = Table(title=title, title_justify="left")
    for column in ("a fall of", "runs", "worse", "told", "both", "precision", "recall"):
        result.add_column(column, justify="left" if column == "a fall of" else "right")
    for score in sorted(name for name in rows[0] if name != ORACLE):
        found = rates(rows, score)
        counts = [str(int(found[name])) for name in ("worse", "told", "both")]
        shares = [f"{found[name]:.2f}" for name in ("precision", "recall")]
        result.add_row(score, str(len(rows)), *counts, *shares)
    return result


def by_way(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """What each way of adapting does to the target accuracy."""
    result = Table(title="Target accuracy (oracle), change over the adaptation in points", title_justify="left")
    for column in ("way", "runs", "mean", "lowest", "highest"):
        result.add_column(column, justify="left" if column == "way" else "right")
    for way in ways():
        changes = [
            100 * (r[ORACLE][1] - r[ORACLE][0]) for name, r in results.items() if name.rpartition(", seed")[0] == way
        ]
        if changes:
            mean = sum(changes) / len(changes)
            result.add_row(way, str(len(changes)), *(f"{x:+.1f}" for x in (mean, min(changes), max(changes))))
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, and print the tables. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.alarm_precision", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0, 1, ... of each way (default: 10)")
    parser.add_argument("--part", default="1/1", help="run only the I-th of N parts, 1/N to N/N")
    parser.add_argument("--folder", type=Path, default=Path("runs/alarm_precision"), help="where results are kept")
    asked = parser.parse_args(arguments)
    index, _, count = asked.part.partition("/")
    runs = {f"{way}, seed {seed}": Short(way=way, seed=seed) for seed in range(asked.seeds) for way in ways()}
    mine = dict(list(runs.items())[int(index) - 1 :: int(count)])
    asked.folder.mkdir(parents=True, exist_ok=True)
    work = partial(adapt, asked.folder / "runs")
    finish(asked.folder / f"part-{index}-of-{count}.json", mine, work, title="short runs")
    files = asked.folder.glob(f"part-*-of-{count}.json")
    results = {name: record["result"] for file in files for name, record in read(file).items() if name in runs}
    out = Console(highlight=False, width=120)
    out.print(by_way(results))
    for half, title in enumerate(("Even seeds, by which the score was chosen", "Odd seeds")):
        rows = [result for name, result in results.items() if runs[name].seed % 2 == half]
        if rows:
            out.print(table(rows, title))
    return 0


if __name__ == "__main__":
    sys.exit(main())
