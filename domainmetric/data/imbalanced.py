"""A domain whose training classes are unequally common, while its test split stays as it is.

What a method meets where the target's class shares are unlike the source's: aligning the domains as a whole then pulls
frequent classes onto rare ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from domainmetric.data.digits import Mnist
from domainmetric.data.domain import Domain, Split, spec_hash
from domainmetric.errors import ConfigError, DataError
from domainmetric.randomness import generator
from domainmetric.types import ImageSet

_VERSION = 1  # of the draw: raise it when the same seed comes to mean other rows


@dataclass(frozen=True, kw_only=True)
class Imbalanced(Domain):
    """Another domain with its training split thinned: shares of the classes fall geometrically from 1 to 1 / `ratio`.

    The class in place i of k keeps ratio^(-i / (k - 1)) times as many images as the first one, which keeps as many as
    the images there are allow. Which class has which place, and which images stay, is drawn by `seed`; the images stay
    in their order. The test split is left whole, so accuracy is that over the original shares.

    The labels are read to make the data, as one who collects it would, and not to train on it: a run is told neither
    the shares nor the order, and the same thinning of a target without labels is impossible.
    """

    domain: Domain = field(default_factory=Mnist)
    """The domain that is thinned."""
    ratio: float = 10.0
    """How many times as common the commonest class is as the rarest; above 1."""
    seed: int = 0
    """Draws the order of the classes and the images that stay. No business of the run's seed: runs share the data."""

    def __post_init__(self) -> None:
        if not 1 < self.ratio < float("inf"):
            raise ConfigError(
                f"Imbalanced.ratio must be a number above 1, but is {self.ratio}. For equal shares take "
                f"'{self.domain.name}' itself."
            )
        if self.seed < 0:
            raise ConfigError(f"Imbalanced.seed must not be negative, but is {self.seed}.")
        if isinstance(self.domain, Imbalanced):
            raise ConfigError("Imbalanced.domain is itself Imbalanced. Thin the domain once, with one ratio.")
        if len(self.domain.classes or ()) < 2:
            raise ConfigError(
                f"Imbalanced needs a domain of at least two classes, but '{self.domain.name}' has "
                f"{len(self.domain.classes or ())}."
            )

    @property
    def name(self) -> str:
        """Such as `mnist_imbalanced`."""
        return f"{self.domain.name}_imbalanced"

    @property
    def channels(self) -> int:
        """Those of the domain."""
        return self.domain.channels

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the domain; also the rarest class has images."""
        assert self.domain.classes is not None
        return self.domain.classes

    @property
    def order(self) -> tuple[int, ...]:
        """Class indices from the commonest to the rarest."""
        draw = generator("cpu", self.seed, "imbalanced", "order")
        return tuple(torch.randperm(len(self.classes), generator=draw).tolist())

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        """One split; that for training is thinned.

        Raises what the domain's own `load` raises, and DataError where it has no labels or too few images of a class.
        """
        images = self.domain.load(split, root=root, size=size)
        return images if split == "test" else images.take(self._kept(images))

    def frame(self, images: UInt8[Tensor, "n h w c"], size: int) -> UInt8[Tensor, "n {size} {size} c"]:
        return self.domain.frame(images, size)

    def hashes(self, root: Path, *, size: int) -> dict[str, str]:
        """Those of the domain, and one of the thinning."""
        return {**self.domain.hashes(root, size=size), "imbalance": spec_hash(self, version=_VERSION)}

    def _kept(self, images: ImageSet) -> Int64[Tensor, " r"]:
        """The rows that stay, in ascending order."""
        if images.labels is None:
            raise DataError(f"'{self.domain.name}' has no training labels, so its classes cannot be thinned.")
        labels = images.labels.cpu()
        counts = self.counts(labels.bincount(minlength=len(self.classes)).tolist())
        rows = []
        for label, count in enumerate(counts):
            of_class = (labels == label).nonzero()[:, 0]
            draw = generator("cpu", self.seed, "imbalanced", label)
            rows.append(of_class[torch.randperm(len(of_class), generator=draw)[:count]])
        return torch.cat(rows).sort().values

    def counts(self, available: Sequence[int]) -> tuple[int, ...]:
        """How many images of each class stay, of the numbers that there are. Raises DataError where one has none."""
        shares = [0.0] * len(available)
        for place, label in enumerate(self.order):
            shares[label] = self.ratio ** (-place / (len(available) - 1))
        most = min(number / share for number, share in zip(available, shares, strict=True))
        counts = tuple(min(round(most * share), number) for share, number in zip(shares, available, strict=True))
        if min(counts) < 1:
            raise DataError(
                f"'{self.domain.name}' has {dict(zip(self.classes, available, strict=True))} training images, too few "
                f"for a ratio of {self.ratio:g}: a class would have none. Choose a smaller Imbalanced.ratio."
            )
        return counts
