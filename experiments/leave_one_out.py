"""What does each term contribute? `quick_full` and `quick_core` with one term left out at a time.

Command: `python -m experiments.ladder` runs these beside the recipes of `svhn_to_mnist.py`, on the same seeds.
Two arms have names already: `full` without information maximization is `core`, and `core` without its triplets, and so
without anchors, is `dann_mmd` as it ends (`unguarded.py`).
"""

from __future__ import annotations

from domainmetric.experiment import Experiment
from experiments.svhn_to_mnist import quick_core, quick_full


def quick_full_without_triplet() -> Experiment:
    """`quick_full` without triplets, and so without anchors. Expected: 96.1% (90.8 to 98.8): one seed swaps 4 and 9."""
    return quick_full().without("triplet")


def quick_full_without_dann() -> Experiment:
    """`quick_full` without the adversary. Expected, by three seeds: 99.2% (99.1 to 99.3)."""
    return quick_full().without("dann")


def quick_full_without_mmd() -> Experiment:
    """`quick_full` without MMD. Expected, by three seeds: 99.1% (98.9 to 99.2)."""
    return quick_full().without("mmd")


def quick_core_without_dann() -> Experiment:
    """`quick_core` without the adversary. Expected, by three seeds: 94.0% (93.5 to 94.5)."""
    return quick_core().without("dann")


def quick_core_without_mmd() -> Experiment:
    """`quick_core` without MMD. Expected, by three seeds: 92.7% (92.2 to 92.9)."""
    return quick_core().without("mmd")
