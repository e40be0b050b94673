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

Data: SVHN; trained on the digits 0 to 4, retrieved among the first 2,000 test images of 5 to 9 (`--ordinary` trains and
retrieves all ten, with 8 classes in a batch; `--domain mnist`). Learning rates: Adam, one for each miner and loss, of
LRS the best Recall@1 on 2,000 training images that are not trained on, mean of the smallest and the largest n, seed
100. No test image is looked at for it.

Command: `python -m experiments.group_size` (an interrupted series goes on where it stopped; 24 runs for the learning
rates and 60 others, about 20 minutes with both of two cores).
Finding (3 seeds, 200 steps): under easy positives and hardest negatives (EPHN) L1 collapses in all runs with n of 2
to 16 (mean cosine above .99, Recall@1 45 to 59%) and in none with n = 32 (69.7%); L2 never does, and hardly depends
on n (73.2% at n = 2, 75.0% at n = 32). Semi-hard negatives (EPSHN) cure L1's collapse but at n = 2 (47.0%, one seed
33%) it still learns little; from n = 4 on it stays 2 to 4 points below L2. With few classes, n matters for L1 and not
for L2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from jaxtyping import Float, Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from domainmetric import DomainMetricError, EasyPositiveHardNegative, MetricLoss, Miner, Pairs
from domainmetric.figures.style import INK, QUIET, SMALL_SIZE, WRONG, color, new_figure, save, tidy
from domainmetric.losses.base import LossValue
from domainmetric.losses.order import FirstOrder, SecondOrder
from domainmetric.metrics.collapse import mean_cosine
from domainmetric.miners.hard import EasyPositiveSemiHardNegative
from domainmetric.pairs import label_pairs
from experiments.kept import finish
from experiments.lab import COLLAPSED, Encoder, Recipe, Task, data_root, digits, scores, train, validation

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


@dataclass(frozen=True, kw_only=True)
class Cell:
    """All seeds of one miner, loss and n."""

    recall: list[float]
    cosine: list[float]

    @property
    def collapsed(self) -> int:
        """How many seeds ended collapsed."""
        return sum(cosine > COLLAPSED for cosine in self.cosine)

    def __str__(self) -> str:
        spread = f" ± {100 * stdev(self.recall):.1f}" if len(self.recall) > 1 else ""
        return f"{100 * fmean(self.recall):.1f}{spread}" + (f" ({self.collapsed} collapsed)" if self.collapsed else "")


Cells = dict[tuple[str, str], dict[int, Cell]]


def cells_of(results: Mapping[str, Mapping[str, Any]], runs: Sequence[Run]) -> Cells:
    """Results by miner and loss, and n."""
    cells: Cells = {}
    for run in runs:
        cell = cells.setdefault((run.miner, run.loss), {}).setdefault(run.n, Cell(recall=[], cosine=[]))
        cell.recall.append(results[run.name]["recall_at_1"])
        cell.cosine.append(results[run.name]["mean_cosine"])
    return cells


def table(cells: Cells, lrs: Mapping[tuple[str, str], float]) -> str:
    """Markdown: Recall@1 in percent as mean and deviation over the seeds."""
    ns = list(next(iter(cells.values())))
    lines = [f"| miner | loss | lr | {' | '.join(f'n = {n}' for n in ns)} |", "|---" * (3 + len(ns)) + "|"]
    for (miner, loss), by_n in cells.items():
        row = " | ".join(str(by_n[n]) for n in ns)
        lines.append(f"| {miner} | {loss} | {lrs[miner, loss]:g} | {row} |")
    return "\n".join(lines)


def draw(cells: Cells, *, what: str) -> Figure:
    """Recall@1 and mean cosine against n, a column for each miner, a line for each loss."""
    miners = list(dict.fromkeys(miner for miner, _ in cells))
    figure = new_figure(8.4, 6.0, title=f"{finding(cells)}\n{what}")
    grid = figure.subplots(2, len(miners), squeeze=False, sharex=True, sharey="row")
    for column, miner in enumerate(miners):
        tidy(grid[0, column], title=miner, y="Recall@1, %" if column == 0 else "")
        tidy(grid[1, column], x="n, examples of a class", y="mean cosine of test embeddings" if column == 0 else "")
        grid[1, column].axhline(COLLAPSED, color=WRONG, linewidth=0.9, linestyle=":")
        for index, loss in enumerate(loss for m, loss in cells if m == miner):
            by_n = cells[miner, loss]
            line(grid[0, column], loss, index, {n: [100 * r for r in cell.recall] for n, cell in by_n.items()}, by_n)
            line(grid[1, column], loss, index, {n: cell.cosine for n, cell in by_n.items()}, by_n)
    ns = list(next(iter(cells.values())))
    for axes in grid[1]:
        axes.set_xscale("log", base=2)
        axes.set_xticks(ns, [str(n) for n in ns])
        axes.minorticks_off()
        axes.set_ylim(top=1.03)
    grid[1, 0].text(ns[0], COLLAPSED - 0.015, "collapsed above", fontsize=SMALL_SIZE, color=WRONG, va="top")
    grid[0, 0].plot([], [], "o", color=QUIET, markersize=3, label="a seed")
    grid[0, 0].plot([], [], "x", color=WRONG, markersize=6, label="a seed that collapsed")
    grid[0, 0].legend(frameon=False, fontsize=SMALL_SIZE, labelcolor=INK)
    return figure


def line(axes: Axes, name: str, index: int, values: Mapping[int, list[float]], cells: Mapping[int, Cell]) -> None:
    """Mean over the seeds as a line, each seed as a dot, collapsed ones as crosses."""
    shift = 1.03 ** (2 * index - 1)  # so that the seeds of two losses lie beside each other
    axes.plot([n * shift for n in values], [fmean(v) for v in values.values()], color=color(index), label=name)
    for n, seeds in values.items():
        for value, cosine in zip(seeds, cells[n].cosine, strict=True):
            if cosine > COLLAPSED:
                axes.plot(n * shift, value, "x", color=WRONG, markersize=6)
            else:
                axes.plot(n * shift, value, "o", color=color(index), markersize=3)


def finding(cells: Cells) -> str:
    """The title: how often each loss collapsed, and where Recall@1 was best."""
    counts: list[str] = []
    for loss in dict.fromkeys(loss for _, loss in cells):
        own = [cell for (_, other), by_n in cells.items() if other == loss for cell in by_n.values()]
        counts.append(f"{loss}{'' if counts else ' collapses'} in {sum(cell.collapsed for cell in own)}")
        counts[-1] += f" of {sum(len(cell.recall) for cell in own)}{'' if counts[1:] else ' runs'}"
    flat = {(*arm, n): fmean(cell.recall) for arm, by_n in cells.items() for n, cell in by_n.items()}
    miner, loss, n = max(flat, key=lambda key: flat[key])
    return f"{', '.join(counts)}; best {100 * flat[miner, loss, n]:.1f}% by {miner} and {loss} at n = {n}"


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
    cells = cells_of(finish(path, {run.name: run for run in runs}, work, workers=options.workers), runs)
    text = table(cells, lrs)
    (options.results / f"{stem}.md").write_text(text + "\n")
    what = f"{options.domain}, {'digits 5 to 9 after training on 0 to 4' if common.held_out else 'all digits'}"
    save(draw(cells, what=f"{what}, {options.batch} batch, {options.steps} steps"), options.results / f"{stem}.png")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
