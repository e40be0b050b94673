"""Scores that choose a checkpoint without any target label. Higher is better, everywhere.

None of them is safe alone: a classifier that gives every target item the same class has perfect `Entropy` and the
highest `SoftNeighborhoodDensity`; one that permutes the target classes can be perfect in all of them. (Compared by
Musgrave et al. 2022, "Benchmarking Validation Methods for Unsupervised Domain Adaptation".)
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from threadpoolctl import threadpool_limits
from torch import Tensor

from domainmetric.errors import ConfigError, DataError
from domainmetric.metrics.checks import check_labelled, check_rows
from domainmetric.metrics.classification import accuracy
from domainmetric.metrics.domain_gap import mmd
from domainmetric.statistics import entropy, information


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What a checkpoint shows without target labels. Raises DataError if a part is empty, non-finite or mismatched."""

    target_z: Float[Tensor, "m d"]
    target_logits: Float[Tensor, "m k"]
    source_z: Float[Tensor, "n d"]
    """Of held-out source images, like the logits and labels below."""
    source_logits: Float[Tensor, "n k"]
    source_labels: Int64[Tensor, " n"]
    target_neighbors: Int64[Tensor, "m j"]
    """For each target item the rows of those most like it, by something that training does not move: their pixels."""

    def __post_init__(self) -> None:
        check_rows(self.target_z, name="Target embeddings")
        check_rows(self.target_logits, name="Target logits")
        check_rows(self.source_z, name="Source embeddings")
        check_labelled(self.source_logits, self.source_labels, name="Source logits")
        for domain, z, logits in (
            ("target", self.target_z, self.target_logits),
            ("source", self.source_z, self.source_logits),
        ):
            if len(z) != len(logits):
                raise DataError(
                    f"Each {domain} item needs one embedding and one row of logits, "
                    f"but {len(z)} and {len(logits)} came."
                )
        if len(self.target_neighbors) != len(self.target_z):
            raise DataError(
                f"Each of the {len(self.target_z)} target items needs its neighbors, but those of "
                f"{len(self.target_neighbors)} came."
            )

    def target_probabilities(self) -> Float[Tensor, "m k"]:
        """Softmax of the target logits, float32 at least."""
        return self.target_logits.detach().to(torch.promote_types(self.target_logits.dtype, torch.float32)).softmax(1)


@dataclass(frozen=True, kw_only=True)
class SelectionScore(ABC):
    """A label-free judgment of a checkpoint."""

    margin: ClassVar[float] = 0.0
    """By how much a checkpoint must be better than the start of its adaptation to be believed, where that was measured.
    """

    @abstractmethod
    def score(self, evidence: Evidence) -> float:
        """A finite number; higher is better."""


@dataclass(frozen=True, kw_only=True)
class InformationMaximization(SelectionScore):
    """Mutual information of target item and predicted class, in nats: [0, ln k] (Krause et al. 2010). 0 if constant."""

    def score(self, evidence: Evidence) -> float:
        return float(information(evidence.target_probabilities()))


@dataclass(frozen=True, kw_only=True)
class Entropy(SelectionScore):
    """Minus the mean entropy of the target predictions, in nats: [-ln k, 0]; -ln k if all logits are equal."""

    def score(self, evidence: Evidence) -> float:
        return -float(entropy(evidence.target_probabilities()).mean())


@dataclass(frozen=True, kw_only=True)
class Diversity(SelectionScore):
    """Entropy of the mean target prediction, in nats: [0, ln k]. High when all classes are used alike."""

    def score(self, evidence: Evidence) -> float:
        return float(entropy(evidence.target_probabilities().mean(0, keepdim=True)).squeeze())


@dataclass(frozen=True, kw_only=True)
class SoftNeighborhoodDensity(SelectionScore):
    """Mean entropy of each target prediction's soft neighborhood, in nats: [0, ln(m-1)] (Saito et al. 2021).

    Equal predictions everywhere give the maximum, ln(m-1); a single item gives 0. Compare at equal m only.
    """

    temperature: float = 0.05
    """Of the softmax over cosine similarities; above zero."""
    max_items: int = 4_000
    """More target items than this are thinned evenly, since time grows with the square."""

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.max_items < 2:
            raise ConfigError(
                f"Expected temperature > 0 and max_items >= 2, but they are {self.temperature} and {self.max_items}."
            )

    def score(self, evidence: Evidence) -> float:
        p = evidence.target_probabilities()
        if len(p) > self.max_items:
            p = p[torch.linspace(0, len(p) - 1, self.max_items, device=p.device, dtype=torch.float64).long()]
        with warnings.catch_warnings():
            _ignore_import_warnings()
            from pytorch_adapt.validators import SNDValidator
        return float(SNDValidator(T=self.temperature, batch_size=512)(target_train={"preds": p}))


@dataclass(frozen=True, kw_only=True)
class BatchNuclearNorm(SelectionScore):
    """Nuclear norm of the matrix of target predictions, over m: (0, sqrt(min(m, k) / m)] (BNM, Cui et al. 2020).

    High when predictions are decided and all classes are used. Compare at equal m only.
    """

    def score(self, evidence: Evidence) -> float:
        with warnings.catch_warnings():
            _ignore_import_warnings()
            from pytorch_adapt.validators import BNMValidator
        return float(BNMValidator()(target_train={"logits": evidence.target_probabilities().log()}))


@dataclass(frozen=True, kw_only=True)
class ClassCluster(SelectionScore):
    """Adjusted mutual information of predicted classes and k-means clusters of the target embeddings, at most 1.

    The clusters start from the means of the predicted classes (ABAS, Robbiano et al. 2022). About 0 where they have
    nothing to do with the predictions; 0 where fewer than two classes are predicted, or where classes outnumber items.
    """

    def score(self, evidence: Evidence) -> float:
        items, num_classes = evidence.target_logits.shape
        if len(evidence.target_logits.argmax(1).unique()) < 2 or items < num_classes:
            return 0.0
        with warnings.catch_warnings(), threadpool_limits(limits=1):  # sums in one order on any number of threads
            _ignore_import_warnings()
            warnings.filterwarnings("ignore", message="Number of distinct clusters")  # a collapsed embedding
            from pytorch_adapt.validators import ClassClusterValidator

            validator = ClassClusterValidator(centroid_init="label_centers")
            target = {"features": evidence.target_z.detach().float(), "logits": evidence.target_logits.detach()}
            return float(validator(target_train=target))


@dataclass(frozen=True, kw_only=True)
class NeighborAgreement(SelectionScore):
    """How often target items and those most like them in pixels are given one class, beyond chance: at most 1.

    (a - c) / (1 - c), where a is the share of neighbors that agree and c the share that would if classes were dealt out
    anew: the assortativity (Newman 2003) of predicted classes on the graph of pixel neighbors. 0 where all items get
    one class. Pixels are no guide across domains, but within one they are, and no term moves them: an alignment that
    deals out wrong classes to make shares equal cuts through neighborhoods. A permutation of classes is not seen.
    """

    margin: ClassVar[float] = 0.08
    """By the study `experiments/guard.py`."""

    def score(self, evidence: Evidence) -> float:
        predicted = evidence.target_logits.detach().argmax(1)
        near = predicted[evidence.target_neighbors]
        if near.numel() == 0:
            return 0.0
        classes = evidence.target_logits.shape[1]
        own, other = (x.flatten().bincount(minlength=classes).double() / x.numel() for x in (predicted, near))
        chance = float(own @ other)
        agreement = float((near == predicted[:, None]).double().mean())
        return (agreement - chance) / (1 - chance) if chance < 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class SourceAccuracy(SelectionScore):
    """Accuracy on held-out source images, in [0, 1]."""

    def score(self, evidence: Evidence) -> float:
        return accuracy(evidence.source_logits, evidence.source_labels)


@dataclass(frozen=True, kw_only=True)
class MmdScore(SelectionScore):
    """Minus the maximum mean discrepancy between the domains' embeddings: [-sqrt(2), 0]. A collapsed embedding: 0."""

    seed: int = 0
    """Draws the at most 2,000 items of each domain."""

    def score(self, evidence: Evidence) -> float:
        return -mmd(evidence.source_z, evidence.target_z, seed=self.seed)


def _ignore_import_warnings() -> None:
    """Within `warnings.catch_warnings`: the torchmetrics of pytorch-adapt imports the deprecated pkg_resources."""
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)


def all_scores(evidence: Evidence) -> dict[str, float]:
    """The value of every score at its default settings, by name."""
    return {name: score.score(evidence) for name, score in scores().items()}


def scores() -> dict[str, SelectionScore]:
    """Every score at its default settings, by name."""
    return {
        "information_maximization": InformationMaximization(),
        "entropy": Entropy(),
        "diversity": Diversity(),
        "snd": SoftNeighborhoodDensity(),
        "bnm": BatchNuclearNorm(),
        "class_cluster": ClassCluster(),
        "neighbor_agreement": NeighborAgreement(),
        "source_accuracy": SourceAccuracy(),
        "mmd": MmdScore(),
    }
