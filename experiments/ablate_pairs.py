"""Do anchor strategies rank on other pairs of digits as they do on SVHN -> MNIST?

Question: `usps_to_mnist`, `mnist_to_usps` and `mnist_to_svhn` take another pair and nothing else: the weights,
schedules, steps and networks are those of `svhn_to_mnist.py`, which were never tuned on these pairs, and five
strategies of `ablate_anchors.py` at their defaults. (Source images are grey here, so that none need be made so.) The
baseline is `nearest`.

Command: `domainmetric ablate experiments/ablate_pairs.py:usps_to_mnist --seeds 3` (15 runs of about four minutes of one
thread), then `domainmetric report ablations/usps_to_mnist`. Needs `python -m data_prep usps mnist svhn`.

Finding of `usps_to_mnist --seeds 11 12 --phases.source.steps=300 --phases.adapt.steps=150`
(`experiments/results/ablate_pairs_usps_to_mnist/`): the ranks are those of SVHN -> MNIST but closer: nearest 98.15,
cluster 98.12, confident 97.72, pixel 74.48, random 5.56. The library needed no change for it.
"""

from __future__ import annotations

from dataclasses import replace

from domainmetric import Augment, Augmentation, Domain, Experiment, Mnist, Pair, Svhn, Usps
from experiments.ablate_anchors import STRATEGIES, arm, base

NAMES = ("nearest", "random", "pixel", "cluster", "confident")


def arms(source: Domain, target: Domain) -> dict[str, Experiment]:
    """The strategies on a pair whose source is grey."""
    pair, views = Pair(source=source, target=target), Augmentation(source=Augment(invert=0.5))
    on_pair = replace(base(), data=pair, augmentation=views)
    return {name: arm(on_pair, name, STRATEGIES[name]) for name in NAMES}


def usps_to_mnist() -> dict[str, Experiment]:
    """From 7,291 digits of envelopes to MNIST."""
    return arms(Usps(), Mnist())


def mnist_to_usps() -> dict[str, Experiment]:
    """The way back."""
    return arms(Mnist(), Usps())


def mnist_to_svhn() -> dict[str, Experiment]:
    """From MNIST to house numbers: the hard direction, since the source has one background."""
    return arms(Mnist(), Svhn())
