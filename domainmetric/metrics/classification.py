"""How often an embedding or a classifier names the right class.

Called with target labels, the results are *oracle* numbers: they report, and never train or select.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.errors import DataError
from domainmetric.geometry import class_means, squared_chord
from domainmetric.metrics.checks import check_labelled, check_paired, check_range, check_rows, check_widths
from domainmetric.metrics.comparing import squared_chord_chunks


def accuracy(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """Share of rows whose largest logit is that of the label (the first one, of equal ones). In [0, 1]."""
    check_labelled(logits, labels, name="Logits")
    return _share(logits.argmax(1) == labels)


def confusion(predicted: Int64[Tensor, " n"], labels: Int64[Tensor, " n"], num_classes: int) -> Int64[Tensor, "k k"]:
    """How many items of each true class (rows) were given each class (columns)."""
    check_paired(labels, len(labels), name="Labels")
    check_paired(predicted, len(labels), name="Predicted labels")
    check_range(labels, num_classes, name="Labels")
    check_range(predicted, num_classes, name="Predicted labels")
    cells = (labels * num_classes + predicted).bincount(minlength=num_classes**2)
    return cells.view(num_classes, num_classes)


@torch.no_grad()
def prototypes(z: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], num_classes: int) -> Float[Tensor, "k d"]:
    """Normalized class means. A class without items has a row of zeros, which `prototype_accuracy` never chooses."""
    check_labelled(z, labels, name="Embeddings")
    check_range(labels, num_classes, name="Labels")
    return class_means(z, labels, num_classes)


@torch.no_grad()
def prototype_accuracy(z: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], prototypes: Float[Tensor, "k d"]) -> float:
    """Share of rows whose nearest prototype is that of their class. In [0, 1].

    Rows are unit vectors; a prototype of zeros stands for no class. Of equally near ones the first counts.
    """
    check_labelled(z, labels, name="Embeddings")
    check_rows(prototypes, name="Prototypes")
    check_widths(z, prototypes, names="Embeddings and prototypes")
    check_range(labels, len(prototypes), name="Labels")
    absent = (prototypes == 0).all(1)
    if bool(absent.all()):
        raise DataError("At least one prototype must stand for a class, but all of them are zero.")
    return _share(squared_chord(z, prototypes).masked_fill(absent, torch.inf).argmin(1) == labels)


@torch.no_grad()
def knn_accuracy(
    query_z: Float[Tensor, "q d"],
    query_labels: Int64[Tensor, " q"],
    gallery_z: Float[Tensor, "g d"],
    gallery_labels: Int64[Tensor, " g"],
    *,
    k: int = 10,
    chunk: int = 64,
) -> float:
    """Share of queries whose `k` nearest gallery items vote for the right class. In [0, 1]; exact.

    Rows are unit vectors. A neighbor's vote weighs (1 + cosine) / 2; of classes with equal votes (to 1e-6), that of the
    nearest item wins. `chunk` queries are compared with the gallery at a time. Raises DataError for `k` outside 1..g.
    """
    check_labelled(query_z, query_labels, name="Query embeddings")
    check_labelled(gallery_z, gallery_labels, name="Gallery embeddings")
    check_widths(query_z, gallery_z, names="Query and gallery embeddings")
    if not 1 <= k <= len(gallery_z):
        raise DataError(f"k must lie in 1..{len(gallery_z)}, the size of the gallery, but is {k}.")
    num_classes = int(gallery_labels.max()) + 1
    right = [
        _vote(distance, gallery_labels, k=k, num_classes=num_classes) == query_labels[rows]
        for rows, distance in squared_chord_chunks(query_z, gallery_z, chunk=chunk)
    ]
    return _share(torch.cat(right))


def _vote(
    sq_chord: Float[Tensor, "q g"], labels: Int64[Tensor, " g"], *, k: int, num_classes: int
) -> Int64[Tensor, " q"]:
    """The class that the k nearest items of each row vote for."""
    near, index = sq_chord.topk(k, dim=1, largest=False)
    candidates = labels[index]
    votes = near.new_zeros(len(near), num_classes).scatter_add_(1, candidates, (1 - near / 4).clamp_min(0))
    winning = votes.gather(1, candidates) >= votes.amax(1, keepdim=True) * (1 - 1e-6)
    # argmax of 0/1 is the first, hence nearest, candidate of a winning class
    return candidates.gather(1, winning.byte().argmax(1, keepdim=True)).squeeze(1)


def _share(right: Tensor) -> float:
    return float(right.double().mean())
