"""Why does aligning two domains ruin a target branch that starts from a trained source branch?

Question: plain DANN took SVHN -> MNIST from 73% to 10%. Is it the strength, the head that moves along, the batch
statistics, label shift, or that marginals also agree under a permutation of the classes?
Command: `python -m experiments.why_alignment_hurts` (about 10 s a run on a free core); `--pair digits_10_to_1` for a
target with unequal classes, `--pair svhn_to_mnist --steps 150 --seeds 11` for the real pair (about a minute a run, and
its source phase once for each seed). Results and figure: `experiments/results/why_alignment_hurts/`.

Finding, on the digits, seeds 0 and 1, seven of the arms (the others, and the other pairs, have not been run): neither
the strength nor a permutation. No term but the alignment pulls the target branch, and AdamW divides a gradient by its
own size, so DANN moves the branch at the full learning rate whatever its weight: a hundredth of it moves the branch as
far and ruins it as well. The branch outruns the discriminator, which ends at chance while a classifier trained afresh
tells the domains apart always (A-distance 1.99, and 0.92 without alignment). MMD is moved in the same way and loses 12
to 16 points. Where AdamW's epsilon lies above the gradients, an arm loses four points at most, as it does without any
alignment; where the branch must also classify source images, DANN costs 7 to 9 points and not 70. Nothing gains here:
damped, the terms hardly move the branch.

Every arm starts from the same trained source branch, copied, with the target's batch statistics estimated anew, and has
the source's cross-entropy beside its terms. Accuracies here are *oracle*: target training images with their labels, for
explanation. Weights are chosen on the digits, whose labels may be used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from domainmetric import DataNotPrepared
from experiments.alignment_loop import PAIRS, Arm, work
from experiments.alignment_report import report
from experiments.kept import finish

RESULTS = Path(__file__).parent / "results" / "why_alignment_hurts"
DAMPED = 1e-2
"""Optimizer.epsilon of the damped arms: well above the gradients of an alignment term."""


def arms(**common: Any) -> dict[str, Arm]:
    """One seed's arms by name; each differs from `dann` or `mmd` in one thing."""
    none = Arm(**common)
    dann, mmd = replace(none, dann=0.4), replace(none, mmd=5.0)
    return {
        "no alignment": none,
        "DANN": dann,
        "DANN, weight / 100": replace(dann, dann=0.004),
        "DANN, head and prototypes fixed": replace(dann, moves=("target_branch",)),
        "DANN, batch statistics fixed": replace(dann, fixed_norms=True),
        "DANN, damped": replace(dann, epsilon=DAMPED),
        "DANN, branch also reads the source": replace(dann, reads_source=True),
        "DANN + information": replace(dann, information=1.0),
        "MMD": mmd,
        "MMD, damped": replace(mmd, epsilon=DAMPED),
        "MMD, damped, weight / 5": replace(mmd, mmd=1.0, epsilon=DAMPED),
        "DANN + MMD": replace(dann, mmd=5.0),
        "DANN + MMD / 5, damped": replace(dann, mmd=1.0, epsilon=DAMPED),
        "CORAL, damped": replace(none, coral=1e5, epsilon=DAMPED),
        "information, damped": replace(none, information=1.0, epsilon=DAMPED),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing and draw; returns the exit status."""
    parser = argparse.ArgumentParser(description="Why alignment can ruin a warm-started target branch.")
    parser.add_argument("--pair", default="digits", choices=tuple(PAIRS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=150, help="of adaptation")
    parser.add_argument("--arms", nargs="+", default=None, help="some of the arms, by name; all by default")
    parser.add_argument("--runs-root", type=Path, default=Path("runs"), help="where the source phases are")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results, table and figure")
    options = parser.parse_args(arguments)
    runs = {
        f"{name}, seed {seed}": arm
        for seed in options.seeds
        for name, arm in arms(pair=options.pair, seed=seed, steps=options.steps).items()
        if options.arms is None or name in options.arms
    }
    file = options.results / f"{options.pair}.json"
    try:
        done = finish(file, runs, partial(work, runs_root=options.runs_root), title="alignment")
    except DataNotPrepared as error:
        print(error, file=sys.stderr)
        return 1
    report({name: (arm, done[name]) for name, arm in runs.items()}, options.results / options.pair)
    return 0


if __name__ == "__main__":
    sys.exit(main())
