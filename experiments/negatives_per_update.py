"""What does it buy to use more negatives in an update? Triplets, contrastive, NT-Xent, SupCon and all triplets.

Questions: how many negatives does each loss use in an update, what does that cost, and what does it bring after equal
steps and after equal time? And what does random selection do to the share of active triplets?

Negatives are counted for each anchor, as a mean over the anchors of a batch, before and after training: `offered` are
those that enter the loss, `with gradient` those whose distance has one, and `effective` counts them by their weight:
(sum w)^2 / (sum w^2) of the gradients w at their distances, which is k where k negatives weigh the same.

Times are CPU milliseconds of one thread, the arms in turn and 41 times around, as median and quartiles. Equal time is
the time that the cheapest arm takes for all its steps; what an arm has reached by then is read from its curve.

Data: SVHN, all digits, batches of 8 classes x 16; retrieval among the first 2,000 test images (`--held-out`: trained on
0 to 4, retrieved among 5 to 9; `--domain mnist`). Margins are FaceNet's 0.2 on the squared chord, temperatures 0.1, the
contrastive margin its library's default. Learning rates: Adam, of LRS the best final Recall@1 on 2,000 training images
that are not trained on, seed 100, for each arm alike.

Command: `python -m experiments.negatives_per_update` (56 runs of about 10 s on one thread; an interrupted series goes
on where it stopped).

Finding (Recall@1 in %, three seeds, 300 steps; all in `experiments/results/negatives_per_update/`):
* Many negatives bring much: one random triplet for each anchor 67.1 +- 2.8, all triplets 79.7 +- 0.3, semi-hard ones
  78.5, SupCon 80.4, NT-Xent 81.0, and contrastive best, 82.8 +- 0.7. They are nearly free, since the encoder dominates:
  the dearest step (semi-hard) costs 4% more than the one with random triplets, so equal time tells what equal steps do.
* Number is not everything: contrastive wins with 7 effective negatives for an anchor at the end, of the 112 offered;
  all triplets use 42, SupCon 36. The one *hardest* negative is worse than a random one: EPHN (49.6) and HPHN (32.6)
  collapse in 3 of 3 runs, and so did tuning runs at each of the four learning rates (untrained: 40).
* Alone, at batch 1024, the loss over all triplets takes 85 ms, NT-Xent 33, a mined triplet 8: there the count costs.
* Random selection wastes: of random triplets 73% are active at first; at the end 51% where one trains on them, 29%
  where one trains on all, 18% where one trains on semi-hard ones. The hardest ones all stay active.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from domainmetric import DomainMetricError, EasyPositiveHardNegative, MarginTriplet, Miner
from domainmetric.losses.base import LossValue
from domainmetric.losses.contrastive import Contrastive
from domainmetric.losses.margin import SemiHardTriplet
from domainmetric.losses.softmax import NTXent, SupCon
from domainmetric.miners.hard import HardPositiveHardNegative
from domainmetric.miners.random import RandomTriplets
from domainmetric.pairs import label_pairs
from domainmetric.randomness import generator
from experiments import negatives_figures
from experiments.kept import finish
from experiments.lab import Encoder, Recipe, Task, data_root, digits, scores, train, validation
from experiments.negatives_measures import Arm, active_share, negatives_used, time_losses, time_steps

RESULTS = Path(__file__).parent / "results" / "negatives_per_update"
TRIPLET = MarginTriplet(margin=0.2)
HPHN, EPHN = HardPositiveHardNegative(), EasyPositiveHardNegative()
ARMS: dict[str, Arm] = {
    "triplet, random": (TRIPLET, RandomTriplets()),
    "triplet, HPHN": (TRIPLET, HPHN),
    "triplet, EPHN": (TRIPLET, EPHN),
    "triplet, semi-hard": (SemiHardTriplet(margin=0.2), None),
    "triplet, all": (TRIPLET, None),
    "contrastive": (Contrastive(), None),
    "NT-Xent": (NTXent(temperature=0.1), None),
    "SupCon": (SupCon(temperature=0.1), None),
}
SELECTIONS: dict[str, Miner | None] = {"random": None, "EPHN": EPHN, "HPHN": HPHN}
"""Whose active share is noted at every look. Of all triplets it is what a random one has on average."""
LRS = (3e-4, 1e-3, 3e-3, 1e-2)
TUNING_SEED = 100
PER_CLASS = 16
ROUNDS = 41
SIZES = (128, 512, 1024)
"""Batch sizes at which the loss alone is timed."""
LOOKS, MARKS = 30, 10
"""How often during a run active shares are noted, and how often it is judged."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training, and on which images it is judged."""

    arm: str
    lr: float
    seed: int
    steps: int
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
        return f"{f'tuning/lr{self.lr:g}' if self.validate else 'test'}/{self.arm}/seed{self.seed}"

    def recipe(self) -> Recipe:
        """The training."""
        loss, miner = ARMS[self.arm]
        return Recipe(
            loss=loss,
            miner=miner,
            num_classes=5 if self.held_out else 8,
            per_class=PER_CLASS,
            steps=self.steps,
            lr=self.lr,
            seed=self.seed,
            widths=self.widths,
        )


@cache
def task_of(domain: str, root: Path, held_out: bool, num_test: int, validate: bool) -> Task:
    """The images, loaded once in a process."""
    task = digits(domain, root, held_out=held_out, num_test=num_test)
    return validation(task, num_test) if validate else task


def work(run: Run) -> dict[str, Any]:
    """Train and judge one run, several times on its way."""
    task = task_of(run.domain, data_root(), run.held_out, run.num_test, run.validate)
    recall: dict[int, float] = {}
    shares: dict[str, dict[int, float]] = {name: {} for name in SELECTIONS}
    negatives: list[dict[str, float]] = []

    def judge(step: int, encoder: Encoder) -> dict[str, float]:
        found = scores(task, encoder)
        recall[step] = round(found["recall_at_1"], 4)
        return found

    def watch(step: int, encoder: Encoder, z: Tensor, labels: Tensor, value: LossValue) -> None:
        pairs = label_pairs(z.detach(), labels)
        if step % max(1, run.steps // LOOKS) == 0:
            for name, selection in SELECTIONS.items():
                shares[name][step] = active_share(pairs, TRIPLET, selection)
        if step in (0, run.steps - 1):
            negatives.append(negatives_used(pairs, ARMS[run.arm], generator("cpu", run.seed, "counting", step)))
        if step % max(1, run.steps // MARKS) == 0 and not run.validate:
            judge(step, encoder)

    trained = train(task, run.recipe(), watch=watch)
    found = judge(run.steps, trained.encoder)
    own = [round(share, 4) for share in trained.active[:: max(1, run.steps // LOOKS)]]
    return {
        **{name: round(found[name], 4) for name in ("recall_at_1", "map_at_r", "mean_cosine")},
        "recall": recall,
        "own_share": own,
        "shares": shares,
        "negatives": {"before": negatives[0], "after": negatives[-1]},
    }


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A comparison of what a step costs with each arm: the loss alone at several batch sizes, and a whole step."""

    sizes: tuple[int, ...]
    rounds: int
    widths: tuple[int, ...]


def time_arms(timing: Timing) -> dict[str, Any]:
    """CPU milliseconds by what is timed and by arm: every round in which all arms took their turn."""
    losses = {f"loss alone, {size}": time_losses(ARMS, size, timing.rounds) for size in timing.sizes}
    size = timing.sizes[0]
    return {**losses, f"whole step, {size}": time_steps(ARMS, size, timing.rounds, timing.widths)}


def best_lrs(results: Mapping[str, Mapping[str, Any]], runs: Sequence[Run]) -> dict[str, float]:
    """For each arm the learning rate of its best tuning run."""
    return {
        arm: max((run for run in runs if run.arm == arm), key=lambda run: results[run.name]["recall_at_1"]).lr
        for arm in ARMS
    }


def series(options: argparse.Namespace) -> int:
    """Time, choose the learning rates, run what is missing, draw and print."""
    stem = f"{options.domain}_{'held_out' if options.held_out else 'ordinary'}"
    path, widths = options.results / f"{stem}.json", tuple(options.widths)
    timing = Timing(sizes=tuple(options.sizes), rounds=options.rounds, widths=widths)
    times = finish(path, {"timing": timing}, time_arms, title="timing")["timing"]
    common = Run(
        arm="",
        lr=0,
        seed=TUNING_SEED,
        steps=options.steps,
        domain=options.domain,
        held_out=options.held_out,
        num_test=options.num_test,
        widths=widths,
    )
    tuning = [replace(common, arm=arm, lr=lr, validate=True) for arm in ARMS for lr in LRS]
    found = finish(path, {run.name: run for run in tuning}, work, workers=options.workers, title="learning rates")
    lrs = best_lrs(found, tuning)
    runs = [replace(common, arm=arm, lr=lrs[arm], seed=seed) for seed in options.seeds for arm in ARMS]
    results = finish(path, {run.name: run for run in runs}, work, workers=options.workers)
    by_arm = {arm: [results[run.name] for run in runs if run.arm == arm] for arm in ARMS}
    print(negatives_figures.write(options.results, stem, by_arm, times, lrs))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", default="svhn", choices=("svhn", "mnist", "usps"))
    parser.add_argument("--held-out", action="store_true", help="train on the digits 0 to 4, retrieve among 5 to 9")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="batch sizes of the timing")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the timing")
    parser.add_argument("--widths", type=int, nargs=3, default=[16, 32, 64], help="channels of the convolutions")
    parser.add_argument("--num-test", type=int, default=2000, help="images to retrieve among")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results, tables and figures")
    try:
        return series(parser.parse_args(arguments))
    except DomainMetricError as error:
        print(f"negatives_per_update: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
