"""Alignment alone as it ends, which no guard keeps from ruining the target: `svhn_to_mnist`'s recipes, their last look.

Command: `python -m experiments.ladder` runs these beside the recipes of `svhn_to_mnist.py`, on the same seeds.
"""

from __future__ import annotations

from dataclasses import replace

from domainmetric import Experiment, LastCheckpoint
from experiments.svhn_to_mnist import quick_dann, quick_dann_mmd, quick_mmd


def unguarded(experiment: Experiment) -> Experiment:
    """The same experiment, whose last checkpoint is reported."""
    return replace(experiment, name=f"{experiment.name}_unguarded", selection=LastCheckpoint())


def quick_dann_unguarded() -> Experiment:
    """`quick_dann` as it ends. Expected, by three seeds: 10.5%: it ruins the target."""
    return unguarded(quick_dann())


def quick_mmd_unguarded() -> Experiment:
    """`quick_mmd` as it ends. Expected, by three seeds: 80.2% (78.1 to 82.5)."""
    return unguarded(quick_mmd())


def quick_dann_mmd_unguarded() -> Experiment:
    """`quick_dann_mmd` as it ends. Expected, by three seeds: 84.9% (82.8 to 87.3)."""
    return unguarded(quick_dann_mmd())
