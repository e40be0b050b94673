"""A pair: the labelled source domain and the unlabelled target domain of one transfer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from domainmetric.data.domain import Domain
from domainmetric.errors import ConfigError
from domainmetric.types import ImageSet


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Which domain teaches, and to which domain it is carried over.

    Classes are matched by their names, in whichever order the domains have them. A target without labels needs none.
    """

    source: Domain
    """The domain whose labels are used."""
    target: Domain
    """The domain whose labels are never used for training."""
    unshared: Literal["refuse", "keep"] = "refuse"
    """Classes that only one domain has. `refuse`: an error. `keep`: the source is learned whole; target images of other
    classes take part in the training, as nobody can tell them apart there, and are left out of accuracies."""

    @property
    def name(self) -> str:
        """Such as `svhn_to_mnist`."""
        return f"{self.source.name}_to_{self.target.name}"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that are learned: those of the source."""
        return self._named(self.source)

    def aligned(self, images: ImageSet) -> ImageSet:
        """Images of the target with the source's class indices; classes that the source lacks stand after its own."""
        learned = self.classes
        if images.labels is None:
            return ImageSet(images=images.images, labels=None, classes=learned)
        if images.classes == learned:
            return images
        classes = learned + tuple(name for name in images.classes if name not in learned)
        place = torch.tensor([classes.index(name) for name in images.classes], device=images.labels.device)
        return ImageSet(images=images.images, labels=place[images.labels], classes=classes)

    def check(self) -> None:
        """Raise ConfigError unless the source has two classes and the target, where it is labelled, shares them."""
        source = self._named(self.source)
        if len(source) < 2:
            raise ConfigError(
                f"A pair needs at least two classes, or nothing has a negative, but '{self.source.name}' has "
                f"{len(source)}: {', '.join(source) or 'none'}."
            )
        target = source if self.target.classes is None else self._named(self.target)
        if self.unshared == "keep" and set(source) & set(target):
            return
        if set(source) != set(target):
            only_source = ", ".join(c for c in source if c not in target) or "none"
            only_target = ", ".join(c for c in target if c not in source) or "none"
            raise ConfigError(
                f"The domains of a pair must have the same classes, but those of '{self.source.name}' and "
                f"'{self.target.name}' differ (only in the source: {only_source}; only in the target: {only_target}). "
                "Rename, merge or leave out classes with WithClasses(domain=..., names={...}), or accept those that "
                'they share with Pair(..., unshared="keep").'
            )

    def _named(self, domain: Domain) -> tuple[str, ...]:
        """The classes of a labelled domain. Raises ConfigError where it has none, or could not tell them apart."""
        classes = domain.classes
        if classes is None:
            raise ConfigError(f"The source of a pair needs labels, but '{domain.name}' has none. Only a target may.")
        if len(set(classes)) < len(classes):
            twice = ", ".join(sorted({name for name in classes if classes.count(name) > 1}))
            raise ConfigError(
                f"The classes of '{domain.name}' must have different names, but these come twice: {twice}."
            )
        return classes
