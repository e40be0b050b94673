"""A pair: the labelled source domain and the unlabelled target domain of one transfer."""

from __future__ import annotations

from dataclasses import dataclass

from domainmetric.data.domain import Domain
from domainmetric.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Which domain teaches, and to which domain it is carried over."""

    source: Domain
    """The domain whose labels are used."""
    target: Domain
    """The domain whose labels are never used for training."""

    @property
    def name(self) -> str:
        """Such as `svhn_to_mnist`."""
        return f"{self.source.name}_to_{self.target.name}"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that both domains share."""
        self.check()
        return self.source.classes

    def check(self) -> None:
        """Raise ConfigError unless both domains have the same classes in the same order."""
        source, target = self.source.classes, self.target.classes
        if source == target:
            self._check_number()
            return
        if set(source) == set(target):
            differ = f"they have the same classes in another order: {source} and {target}"
        else:
            only_source = ", ".join(c for c in source if c not in target) or "none"
            only_target = ", ".join(c for c in target if c not in source) or "none"
            differ = f"only in the source: {only_source}; only in the target: {only_target}"
        raise ConfigError(
            f"The domains of a pair must have the same classes, but those of '{self.source.name}' and "
            f"'{self.target.name}' differ ({differ}). Choose domains that share their classes, or map them in a domain "
            "of your own, whose `load` gives both the same names in the same order."
        )

    def _check_number(self) -> None:
        """Raise ConfigError where the classes could not be told apart."""
        classes = self.source.classes
        if len(classes) < 2:
            raise ConfigError(
                f"A pair needs at least two classes, or nothing has a negative, but '{self.source.name}' has "
                f"{len(classes)}: {', '.join(classes) or 'none'}."
            )
        if len(set(classes)) < len(classes):
            twice = ", ".join(sorted({name for name in classes if classes.count(name) > 1}))
            raise ConfigError(
                f"The classes of '{self.source.name}' must have different names, but these come twice: {twice}."
            )
