"""How good the matched anchors are: one number that needs target labels (an oracle), and the rest that need none."""

from __future__ import annotations

import math

import torch
from jaxtyping import Int64
from torch import Tensor

from domainmetric.errors import DataError
from domainmetric.metrics.checks import check_paired, check_range
from domainmetric.statistics import entropy
from domainmetric.types import Matches


def match_precision_oracle(matches: Matches, target_labels: Int64[Tensor, " m"]) -> float:
    """Share of *all* target items whose matched label is the true one. In [0, 1]; an abstention counts as wrong."""
    check_paired(target_labels, len(_keep(matches)), name="Target labels")
    return _share(matches.keep & (matches.label == target_labels))


def coverage(matches: Matches) -> float:
    """Share of target items that have a match. In [0, 1]."""
    return _share(_keep(matches))


def class_balance(matches: Matches, num_classes: int) -> float:
    """Entropy of the matched labels over that of equal shares. In [0, 1]; 0 for a single class, or no match."""
    labels = matches.label[_keep(matches)]
    if len(labels) == 0 or num_classes == 1:
        return 0.0
    check_paired(labels, len(labels), name="Matched labels")
    check_range(labels, num_classes, name="Matched labels")
    share = labels.bincount(minlength=num_classes).double() / len(labels)
    return float(entropy(share.unsqueeze(0)).squeeze()) / math.log(num_classes)


def agreement(matches: Matches, earlier: Matches) -> float:
    """Share of the target items matched now or earlier that have the same label both times. In [0, 1].

    The two are about the same items in the same order. An item that is matched at one of the two times alone disagrees;
    one that is matched at neither does not count. 0 without any match.
    """
    if matches.label.shape != earlier.label.shape:
        raise DataError(
            f"Two matches of the same target items are compared, but they are about {len(matches.label)} and "
            f"{len(earlier.label)} items."
        )
    either = _keep(matches) | earlier.keep
    same = matches.keep & earlier.keep & (matches.label == earlier.label)
    return float(same.sum()) / max(1, int(either.sum()))


def unique_share(matches: Matches) -> float:
    """Different source items over all anchors chosen. In [0, 1]; 1 if none serves twice, 0 without any match."""
    occurrences = _occurrences(matches)
    return len(occurrences) / int(occurrences.sum()) if len(occurrences) else 0.0


def hubness(matches: Matches, num_candidates: int) -> float:
    """Skewness of how often each candidate is chosen (k-occurrence; Radovanovic et al. 2010, section 2.2).

    Candidates are the source items that could be chosen, those that nobody chose included: `num_candidates` is the size
    of the source bank, or of the source training set for a strategy that looks at all of it. Anchors drawn uniformly
    have about 1/sqrt(mean occurrence), few anchors among many candidates thus more than many. Hubs have more than that:
    one item that stands for all targets has (b - 2) / sqrt(b - 1), the most that b candidates allow, and h such items
    about sqrt(b / h). 0 where all are chosen equally often, or without any match. Raises DataError for fewer candidates
    than items chosen.
    """
    chosen = _occurrences(matches)
    if len(chosen) > num_candidates:
        raise DataError(
            f"Anchors must be among the candidates, but {len(chosen)} different ones were chosen of {num_candidates}. "
            "Pass the size of the source bank, or of the source set for a strategy that looks at all of it."
        )
    occurrences = torch.cat([chosen, chosen.new_zeros(num_candidates - len(chosen))]).double()
    if len(chosen) == 0 or bool((occurrences == occurrences[0]).all()):
        return 0.0
    centered = occurrences - occurrences.mean()
    return float(centered.pow(3).mean() / centered.square().mean().pow(1.5))


def anchor_quality(matches: Matches, num_source: int, num_candidates: int, num_classes: int) -> dict[str, float]:
    """Every measure that needs no target label, by name; `source_share` is the share of source items in use.

    `num_source` is the size of the source training set, `num_candidates` how many of it could be chosen. Raises
    DataError for anchors outside of the set.
    """
    chosen = matches.source_index[_keep(matches)]
    if chosen.numel() and not 0 <= int(chosen.min()) <= int(chosen.max()) < num_source:
        raise DataError(
            f"Anchors must be rows 0..{num_source - 1} of the source set, "
            f"but span {int(chosen.min())}..{int(chosen.max())}."
        )
    return {
        "coverage": coverage(matches),
        "class_balance": class_balance(matches, num_classes),
        "unique_share": unique_share(matches),
        "source_share": len(_occurrences(matches)) / num_source,
        "hubness": hubness(matches, num_candidates),
    }


def _keep(matches: Matches) -> Tensor:
    if len(matches.keep) == 0:
        raise DataError("Matches must hold at least one target item, but are empty.")
    return matches.keep


def _occurrences(matches: Matches) -> Int64[Tensor, " s"]:
    """How often each chosen source item is chosen; items never chosen are left out."""
    counts: Tensor = matches.source_index[_keep(matches)].unique(return_counts=True)[1]
    return counts


def _share(right: Tensor) -> float:
    return float(right.double().mean())
