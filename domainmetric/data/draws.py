"""How the batches of a phase are drawn: the specs of the samplers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Int64
from torch import Tensor

from domainmetric.data.epoch_groups import EpochGroupRows
from domainmetric.data.sampling import BalancedRows, GroupRows
from domainmetric.data.views import Rows
from domainmetric.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sampling(ABC):
    """How batches of labelled images are drawn."""

    @abstractmethod
    def check(self, batch_size: int, num_classes: int, what: str) -> None:
        """Raise ConfigError, naming the field `what`, where no batch of that size can be drawn from the classes."""

    @abstractmethod
    def open(self, labels: Int64[Tensor, " r"], num_classes: int, batch_size: int, *, seed: int, name: str) -> Rows:
        """The rows of each step: a pure function."""


@dataclass(frozen=True, kw_only=True)
class Balanced(Sampling):
    """The same number of images of every class, in random order within each.

    Where the batch is no multiple of the classes, some have one image more than others, in turns; in a batch smaller
    than the number of classes they take turns to be there.
    """

    def check(self, batch_size: int, num_classes: int, what: str) -> None:
        if batch_size < 2:
            raise ConfigError(f"{what} must be at least 2, or no image has a negative, but is {batch_size}.")

    def open(self, labels: Int64[Tensor, " r"], num_classes: int, batch_size: int, *, seed: int, name: str) -> Rows:
        return BalancedRows(labels, num_classes, batch_size, seed, name).rows


@dataclass(frozen=True, kw_only=True)
class Groups(Sampling):
    """n examples of some of the classes, others in each step and all equally often (Xuan et al. 2020).

    n is the batch over `num_classes`. No image comes twice in a batch.
    """

    num_classes: int = 8
    """Classes in a batch, at least 2."""

    def __post_init__(self) -> None:
        check_number(self, self.num_classes)

    def check(self, batch_size: int, num_classes: int, what: str) -> None:
        check_fit(self, self.num_classes, batch_size, num_classes, what)

    def open(self, labels: Int64[Tensor, " r"], num_classes: int, batch_size: int, *, seed: int, name: str) -> Rows:
        return GroupRows(labels, self.num_classes, batch_size // self.num_classes, seed, name).rows


@dataclass(frozen=True, kw_only=True)
class EpochGroups(Sampling):
    """Groups of n examples of one class, and yet every image exactly once per epoch.

    n is the batch over `num_classes`. Classes come as often as they have images, so a large one may have several groups
    in a batch. What is left over of classes and groups fills the few batches at the seams between epochs.
    """

    num_classes: int = 8
    """Groups in a batch, at least 2, each of another class where the sizes of the classes allow it."""

    def __post_init__(self) -> None:
        check_number(self, self.num_classes)

    def check(self, batch_size: int, num_classes: int, what: str) -> None:
        check_fit(self, self.num_classes, batch_size, num_classes, what)

    def open(self, labels: Int64[Tensor, " r"], num_classes: int, batch_size: int, *, seed: int, name: str) -> Rows:
        return EpochGroupRows(labels, self.num_classes, batch_size // self.num_classes, seed, name).rows


@dataclass(frozen=True, kw_only=True)
class TargetSampling(ABC):
    """How batches of target images, which have no labels, are drawn."""

    @property
    @abstractmethod
    def needs_matches(self) -> bool:
        """Whether it asks the anchor strategy for the classes of target images."""


@dataclass(frozen=True, kw_only=True)
class Shuffled(TargetSampling):
    """Every image once per epoch, without regard to class."""

    @property
    def needs_matches(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class MatchedBalanced(TargetSampling):
    """The same number of images of every matched class.

    At each refresh of the banks the anchor strategy labels `Banks.target_size` random target images, as the teacher
    sees them, and until the next one the batches are drawn from those that it keeps. A class with fewer of them than
    its share gives what it has, and the others share the rest; without any match the batches are shuffled. No label of
    the target is looked at, unless the anchors are an oracle.
    """

    @property
    def needs_matches(self) -> bool:
        return True


def check_number(spec: Groups | EpochGroups, number: int) -> None:
    """Raise ConfigError where a batch would hold no negative."""
    if number < 2:
        raise ConfigError(
            f"{type(spec).__name__}.num_classes must be at least 2, or no image has a negative, but is {number}."
        )


def check_fit(spec: Groups | EpochGroups, number: int, batch_size: int, num_classes: int, what: str) -> None:
    """Raise ConfigError unless a batch is groups of two or more of that many classes."""
    field = f"{type(spec).__name__}.num_classes"
    if number > num_classes:
        raise ConfigError(f"{field} is {number}, but there are {num_classes} classes. Use 2 to {num_classes}.")
    if batch_size < 2 * number or batch_size % number:
        good = max(2, round(batch_size / number)) * number
        raise ConfigError(
            f"{what} must hold n >= 2 images of each of c = {number} classes ({field}), but is {batch_size}. "
            f"Use {good} (n = {good // number})."
        )
