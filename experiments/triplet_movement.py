"""Do updates move triplets as the loss wants it, and where do the triplets of a whole split lie as training goes on?

Question: after one update on a batch of disjoint triplets (n = 16 examples of each digit; hardest positive and hardest
negative, HPHN, or easiest positive and easiest negative, EPEN), what share of them has moved down-right (S_ap up, S_an
down), and does the second-order loss L2 do better than the first-order L1, early and late in training? And what does
the scatter of (S_ap, S_an) over a test set look like at five times of training with n = 2 and with n = 8?
Command: `python -m experiments.triplet_movement [--data-root FOLDER]`, 304 s of processor time, by two processes.

Encoders train by EPHN and either loss (Adam, 400 steps); the measured updates, by both losses from the same weights on
the same triplets, are plain gradient descent at lr 1e-5 with all passes in evaluation mode. Shares are means over seeds
11, 12 and 13, some 950 triplets each; every number is in `results/triplet_movement/`. MNIST whole; SVHN with all
training images, and a test split of 5,000.

Finding:

* Triplets do not move as each would alone. Outside a collapse the field predicts 96% or more of the HPHN triplets
  down-right for both losses. Measured early (step 25) / late (400), each loss on the encoder that it trained: MNIST L1
  69 / 55%, L2 34 / 49%; SVHN L2 0 / 32%. Most of the others go up-right, negatives with positives (SVHN L2 early: all).
  Mean cosine between measured and predicted directions: .50 to .98. The paper's entanglement, p = .8, raises it for L2
  on HPHN triplets of a collapsed encoder (.77 to .96) and early on SVHN (.73 to .81), but on MNIST by .03 at most.
* L2 is *not* better at down-right: from the same weights on the same triplets L1 moves a larger share so in 45 of 48
  cases (domain, training, time, miner, seed), and an equal one, none, in 3. Late, on HPHN: MNIST 60 against 49%, SVHN
  63 against 32% (encoders trained by L2).
* On easy triplets L2 pulls negatives in where S_an is below 0, as its formula says: it moves 69 to 96% of EPEN triplets
  up-right on MNIST and 93 to 100% on SVHN, where L1 moves 28 to 100% down-left (encoders trained by L2).
* What L2 does is leave the corner (1, 1). L1 collapses SVHN in 25 steps, even with n = 16 (mean S_ap and S_an .98 or
  more), and moves 92% of HPHN triplets up-right there, further in. L2 from these very weights moves all of them
  down-left, out along the diagonal, while S_ap - S_an falls: no encoder that it trained collapsed, yet it does not mend
  the order of hard triplets.
* Whole test split (EPHN), one seed: with n = 2 L1 collapses on both domains, with n = 8 on SVHN alone; L2 nowhere. Hard
  triplets at the end, n = 2 / 8: MNIST L1 5.9 / 1.4%, L2 2.3 / 1.1%; SVHN L1 57.2 / 53.4%, L2 42.8 / 25.3%, from 56%.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domainmetric import DataNotPrepared
from experiments.kept import results
from experiments.lab import data_root
from experiments.movement_report import report
from experiments.movement_runs import LOSSES, Run, work

RESULTS = Path(__file__).parent / "results" / "triplet_movement"


def runs_of(options: argparse.Namespace) -> list[Run]:
    """Scatter runs with small groups, of one seed, and movement runs, of all."""
    root = options.data_root or data_root()
    common: dict[str, Any] = {"steps": options.steps, "root": root, "num_test": options.num_test}
    runs = []
    for domain in options.domains:
        for loss in LOSSES:
            for n in (2, 8):
                runs.append(Run(domain=domain, loss=loss, n=n, seed=options.seeds[0], batches=0, **common))
            for seed in options.seeds:
                runs.append(Run(domain=domain, loss=loss, n=options.n, seed=seed, batches=options.batches, **common))
    return runs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; returns the exit status."""
    parser = argparse.ArgumentParser(description="Where updates move triplets, and where triplets lie.")
    parser.add_argument("--data-root", type=Path, default=None, help="prepared digits; else $DOMAINMETRIC_DATA, data/")
    parser.add_argument("--domains", nargs="+", default=["mnist", "svhn"], choices=("mnist", "svhn", "usps"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--steps", type=int, default=400, help="of training, at least 16")
    parser.add_argument("--n", type=int, default=16, help="examples of each digit where updates are measured")
    parser.add_argument("--batches", type=int, default=6, help="on which updates are measured, at least 1")
    parser.add_argument("--num-test", type=int, default=None, help="images of the scatter; else the whole test set")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of tables and figures")
    options = parser.parse_args(arguments)
    if options.steps < 16 or options.batches < 1:
        parser.error("--steps must be at least 16 and --batches at least 1")
    runs = {str(index): run for index, run in enumerate(runs_of(options))}
    try:
        done = dict(results(runs, work, options.workers))
    except DataNotPrepared as error:
        print(error, file=sys.stderr)
        return 1
    report({run: done[name] for name, run in runs.items()}, options.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
