"""How many examples of a class should a batch hold? Recall@1 against n, easy positives, L1 and L2, collapse marked.

Question: Xuan et al. (2020) vary n, the examples of each class in a batch, under easy-positive mining: with n = 2 the
positive is a random one, with a large n the likeliest one. Does Recall@1 depend on n with few classes, and does the
first-order loss (L1) collapse where the second-order one (L2) does not?

Design: the paper holds the batch at 128 images, and with it the number of images seen, of updates, and (nearly) of
negatives for an anchor. With five classes a batch of 5 x n cannot: n = 2 would see a sixteenth of the images, or make
sixteen times the updates, and mine among 8 negatives and not 128. So the batch is `fixed` here at 5 x 32 images, all
those of other classes are negatives, and an anchor's positives are those of its own group of n: only n varies. The
batch that is made of n examples of each class is there by flag (`--batch grown`): every run then sees the same number
of images, and makes more updates where n is small.

Data: SVHN; trained on the digits 0 to 4, retrieved among test images of 5 to 9 (`--ordinary` trains and retrieves all
ten, with 8 classes in a batch; `--domain mnist`). 200 updates, seeds 11, 12, 13. Learning rates: Adam, one for each
miner and loss, of LRS the best Recall@1 on 2,000 training images that are not trained on, mean of the smallest and the
largest n, seed 100. No test image is looked at for it.

Command: `python -m experiments.group_size` (95 runs of about 8 s on one thread; two at a time took half an hour on a
machine that others used, too; an interrupted series goes on where it stopped).

Finding (Recall@1 in %, mean and deviation of three seeds, on 1,841 images; an untrained encoder has 49.9; all in
`experiments/results/group_size/`):
* L1 with EPHN collapses (mean cosine above .997) in 12 of 12 runs with n = 2 to 16, and in none of 3 with n = 32, where
  it passes through a collapse of half the training (.97) and ends at 69.7 +- 5.4. With n = 2 and 4 it is below the
  untrained encoder (44.7, 45.2). For n = 2 every learning rate tried collapsed, 3e-4 to 1e-2, above .997 each.
* L2 never collapses (0 of 30) and hardly depends on n: EPHN 73.2 +- 1.6 at n = 2 and 75.0 +- 0.7 at n = 32, EPSHN 72.9
  and 74.6.
* Semi-hard negatives keep L1 from collapsing (0 of 15): it rises with n, 68.0, 69.2, 71.8, 72.8 for n = 4 to 32, and
  stays 2 to 4 points below L2. At n = 2 it fails in another way: 47.0 +- 13.6 (33, 48, 60) at its chosen 3e-3, spread
  out (mean cosine .23 to .53) but unstable; at 1e-3, tried afterwards, 66.0 +- 1.8. Images of known classes, on which
  rates are chosen, did not show that (88.8 at 3e-3 against 88.6): a warning about choosing so.
* A larger n spreads the embedding out, whichever the miner and loss: for L2 the mean cosine falls from .45 to .12.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric import DomainMetricError, EasyPositiveHardNegative, MetricLoss, Miner, Pairs
from domainmetric.figures.style import save
from domainmetric.losses.base import LossValue
from domainmetric.losses.order import FirstOrder, SecondOrder
from domainmetric.metrics.collapse import mean_cosine
from domainmetric.miners.hard import EasyPositiveSemiHardNegative
from domainmetric.pairs import label_pairs
from experiments.group_size_report import Cell, Cells, draw, table
from experiments.kept import finish
from experiments.lab import Encoder, Recipe, Task, data_root, digits, scores, train, validation

RESULTS = Path(__file__).parent / "results" / "group_size"
MINERS: dict[str, Miner] = {"EPHN": EasyPositiveHardNegative(), "EPSHN": EasyPositiveSemiHardNegative()}
LOSSES: dict[str, MetricLoss] = {"L1": FirstOrder(), "L2": SecondOrder()}
LRS = (3e-4, 1e-3, 3e-3, 1e-2)
TUNING_SEED = 100
LOOKS = 20
"""How often during a run the spread of the batch's embeddings is noted."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training, and on which images it is judged."""

    miner: str
    loss: str
    n: int
    lr: float
    seed: int
    steps: int
    """Updates with the fixed batch; the grown one makes `largest / n` times as many, and so sees as many images."""
    largest: int
    """The largest n of the series: examples of each class in the fixed batch."""
    batch: str
    """`fixed` or `grown`, see above."""
    domain: str
    held_out: bool
    num_test: int
    widths: tuple[int, ...]
    """Channels of the encoder's convolutions."""
    validate: bool = False
    """Judge on training images that are not trained on."""

    @property
    def name(self) -> str:
        """What a result is kept under."""
        if not self.steps:
            return f"untrained/seed{self.seed}"
        kind = f"tuning/lr{self.lr:g}" if self.validate else "test"
        return f"{kind}/{self.miner}/{self.loss}/n{self.n}/seed{self.seed}"


@cache
def task_of(domain: str, root: Path, held_out: bool, num_test: int, validate: bool) -> Task:
    """The images, loaded once in a process."""
    task = digits(domain, root, held_out=held_out, num_test=num_test)
    return validation(task, num_test) if validate else task


def pairs_in_groups(z: Float[Tensor, "b d"], labels: Int64[Tensor, " b"], n: int) -> Pairs:
    """Pairs of a batch in which positives are found only among n consecutive examples of a class."""
    pairs = label_pairs(z, labels)
    same = labels[:, None] == labels
    group = same.tril(-1).sum(1) // n
    return replace(pairs, positive=pairs.positive & (group[:, None] == group))


def work(run: Run) -> dict[str, Any]:
    """Train and judge one run."""
    task = task_of(run.domain, data_root(), run.held_out, run.num_test, run.validate)
    grown = run.batch == "grown"
    recipe = Recipe(
        loss=LOSSES[run.loss],
        miner=MINERS[run.miner],
        num_classes=5 if run.held_out else 8,
        per_class=run.n if grown else run.largest,
        steps=run.steps * run.largest // run.n if grown else run.steps,
        lr=run.lr,
        seed=run.seed,
        widths=run.widths,
    )
    spread: list[float] = []

    def watch(step: int, encoder: Encoder, z: Tensor, labels: Tensor, loss: LossValue) -> None:
        if step % max(1, recipe.steps // LOOKS) == 0:
            spread.append(round(mean_cosine(z.detach()), 4))

    trained = train(task, recipe, watch=watch, pairs_of=partial(pairs_in_groups, n=run.n))
    found = scores(task, trained.encoder)
    names = ("recall_at_1", "map_at_r", "mean_cosine")
    return {**{k: round(found[k], 4) for k in names}, "batch_cosine": spread, "seconds": round(trained.seconds, 1)}


def best_lrs(results: Mapping[str, Mapping[str, Any]], runs: Sequence[Run]) -> dict[tuple[str, str], float]:
    """For each miner and loss the learning rate of the best mean Recall@1 of its tuning runs."""
    recalls: dict[tuple[str, str], dict[float, list[float]]] = {}
    for run in runs:
        arm = recalls.setdefault((run.miner, run.loss), {})
        arm.setdefault(run.lr, []).append(results[run.name]["recall_at_1"])
    return {arm: max(by_lr, key=lambda lr: fmean(by_lr[lr])) for arm, by_lr in recalls.items()}


def cells_of(results: Mapping[str, Mapping[str, Any]], runs: Sequence[Run]) -> Cells:
    """Results by miner and loss, and n."""
    cells: Cells = {}
    for run in runs:
        cell = cells.setdefault((run.miner, run.loss), {}).setdefault(run.n, Cell(recall=[], cosine=[]))
        cell.recall.append(results[run.name]["recall_at_1"])
        cell.cosine.append(results[run.name]["mean_cosine"])
    return cells


def main(arguments: Sequence[str] | None = None) -> int:
    """Choose the learning rates, run what is missing, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", default="svhn", choices=("svhn", "mnist", "usps"))
    parser.add_argument("--ordinary", action="store_true", help="train and retrieve all ten digits")
    parser.add_argument("--batch", default="fixed", choices=("fixed", "grown"))
    parser.add_argument("--ns", type=int, nargs="+", default=[2, 4, 8, 16, 32])
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--widths", type=int, nargs=3, default=[16, 32, 64], help="channels of the convolutions")
    parser.add_argument("--num-test", type=int, default=2000, help="images to retrieve among")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results, table and figure")
    options = parser.parse_args(arguments)
    try:
        return series(options)
    except DomainMetricError as error:
        print(f"group_size: {error}", file=sys.stderr)
        return 1


def series(options: argparse.Namespace) -> int:
    """The whole series of the given options."""
    stem = f"{options.domain}_{'ordinary' if options.ordinary else 'held_out'}_{options.batch}"
    common = Run(
        miner="",
        loss="",
        n=0,
        lr=0,
        seed=TUNING_SEED,
        steps=options.steps,
        largest=max(options.ns),
        batch=options.batch,
        domain=options.domain,
        held_out=not options.ordinary,
        num_test=options.num_test,
        widths=tuple(options.widths),
    )
    arms = [(miner, loss) for miner in MINERS for loss in LOSSES]
    ends = sorted({min(options.ns), max(options.ns)})
    tuning = [
        replace(common, miner=miner, loss=loss, n=n, lr=lr, validate=True)
        for miner, loss in arms
        for n in ends
        for lr in LRS
    ]
    path = options.results / f"{stem}.json"
    found = finish(path, {run.name: run for run in tuning}, work, workers=options.workers, title="learning rates")
    lrs = best_lrs(found, tuning)
    runs = [
        replace(common, miner=miner, loss=loss, n=n, lr=lrs[miner, loss], seed=seed)
        for seed in options.seeds
        for n in options.ns
        for miner, loss in arms
    ]
    untrained = [replace(common, miner="EPHN", loss="L1", n=max(options.ns), steps=0, seed=s) for s in options.seeds]
    results = finish(path, {run.name: run for run in [*runs, *untrained]}, work, workers=options.workers)
    cells, (baseline,) = cells_of(results, runs), cells_of(results, untrained).values()
    (start,) = baseline.values()
    text = table(cells, start, lrs)
    (options.results / f"{stem}.md").write_text(text + "\n")
    which = "digits 5 to 9 after training on 0 to 4" if common.held_out else "all digits"
    what = f"{options.domain.upper()}, {which}, {options.batch} batch, {options.steps} steps"
    save(draw(cells, start, what=what), options.results / f"{stem}.png")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
