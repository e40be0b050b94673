"""Classification metrics against loops and scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor

from domainmetric.errors import DataError
from domainmetric.geometry import normalize
from domainmetric.metrics.classification import accuracy, confusion, knn_accuracy, prototype_accuracy, prototypes


def clusters(num: int, *, seed: int, num_classes: int = 3, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    centers = torch.randn(num_classes, 6, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (num,), generator=generator)
    return normalize(centers[labels] + noise * torch.randn(num, 6, generator=generator)), labels


def test_accuracy_counts_the_largest_logit() -> None:
    logits = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.5, 0.5]])
    assert accuracy(logits, torch.tensor([1, 1, 0])) == pytest.approx(2 / 3)
    with pytest.raises(DataError, match="at least 1 row"):
        accuracy(logits[:0], torch.zeros(0, dtype=torch.int64))


def test_confusion_is_scikit_learns_with_rows_true() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, labels = torch.randint(4, (2, 50), generator=generator)
    expected = confusion_matrix(labels.numpy(), predicted.numpy(), labels=range(5))
    assert confusion(predicted, labels, 5).tolist() == expected.tolist()
    assert confusion(torch.tensor([1]), torch.tensor([0]), 2).tolist() == [[0, 1], [0, 0]]
    with pytest.raises(DataError, match=r"Predicted labels must lie in 0\.\.1"):
        confusion(torch.tensor([2]), torch.tensor([0]), 2)


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_does_not_go_together_is_refused() -> None:
    one, two = torch.tensor([0]), torch.tensor([0, 1])
    with pytest.raises(DataError, match=r"Predicted labels must have the shape \(2,\), but came as \(1,\)"):
        confusion(one, two, 2)
    with pytest.raises(DataError, match="equally wide, but have 2 and 3 columns"):
        knn_accuracy(torch.eye(2), two, torch.eye(3)[:2], two, k=1)


def test_prototypes_are_normalized_class_means_and_absent_classes_zero() -> None:
    z, labels = clusters(40, seed=1)
    result = prototypes(z, labels, 5)
    for label in range(3):
        assert torch.allclose(result[label], normalize(z[labels == label].mean(0, keepdim=True))[0], atol=1e-6)
    assert torch.equal(result[3:], torch.zeros(2, 6))


def test_prototype_accuracy_equals_loops() -> None:
    z, labels = clusters(40, seed=2, noise=2.0)
    anchors = prototypes(z, labels, 3)
    right = [int((anchors @ z[i]).argmax()) == int(labels[i]) for i in range(40)]
    assert 12 < sum(right) < 40  # neither chance nor perfect, or the comparison would say little
    assert prototype_accuracy(z, labels, anchors) == pytest.approx(sum(right) / 40)


def test_a_prototype_of_zeros_is_never_chosen() -> None:
    anchors = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert prototype_accuracy(torch.tensor([[-1.0, 0.0]]), torch.tensor([0]), anchors) == 1.0
    with pytest.raises(DataError, match="all of them are zero"):
        prototype_accuracy(torch.eye(2), torch.tensor([0, 1]), torch.zeros(2, 2))
    with pytest.raises(DataError, match="2 classes"):
        prototype_accuracy(torch.eye(2), torch.tensor([0, 2]), anchors)


def knn_by_loops(query_z: Tensor, query_labels: Tensor, gallery_z: Tensor, gallery_labels: Tensor, *, k: int) -> float:
    right = 0
    for z, label in zip(query_z.double(), query_labels.tolist(), strict=True):
        cosines = [float(z @ g) for g in gallery_z.double()]
        near = sorted(range(len(cosines)), key=lambda g: -cosines[g])[:k]
        votes: dict[int, float] = {}  # in the order of nearness, so that max() takes the nearest of equals
        for g in near:
            votes[int(gallery_labels[g])] = votes.get(int(gallery_labels[g]), 0.0) + (1 + cosines[g]) / 2
        right += max(votes, key=lambda c: votes[c]) == label
    return right / len(query_z)


@pytest.mark.parametrize("k", [1, 2, 5, 10, 31])
@pytest.mark.parametrize("chunk", [4, 64])
def test_knn_equals_loops(k: int, chunk: int) -> None:
    query, gallery = clusters(25, seed=3, noise=2.0), clusters(31, seed=4, noise=2.0)
    assert knn_accuracy(*query, *gallery, k=k, chunk=chunk) == pytest.approx(knn_by_loops(*query, *gallery, k=k))


@pytest.mark.parametrize("turn", range(12))
def test_knn_gives_equal_votes_to_the_nearest_class(turn: int) -> None:
    """Two neighbors of each class with equal sums of cosines, however they round: the class of the nearest wins."""
    angles = torch.acos(torch.tensor([0.9, 0.8, 0.8, 0.7])) + turn
    gallery, query = torch.stack([angles.cos(), angles.sin()], 1), torch.tensor([[math.cos(turn), math.sin(turn)]])
    for labels in ([1, 0, 0, 1], [0, 1, 1, 0]):
        assert knn_accuracy(query, torch.tensor(labels[:1]), gallery, torch.tensor(labels), k=4) == 1.0


def test_knn_weighs_votes_by_similarity_and_counts_unknown_classes_as_wrong() -> None:
    gallery = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    query = torch.tensor([[1.0, 0.0]])
    assert knn_accuracy(query, torch.tensor([0]), gallery, torch.tensor([0, 1, 1]), k=3) == 1.0
    assert knn_accuracy(query, torch.tensor([9]), gallery, torch.tensor([0, 1, 1]), k=3) == 0.0
    for k in (0, 4):
        with pytest.raises(DataError, match=r"1\.\.3"):
            knn_accuracy(query, torch.tensor([0]), gallery, torch.tensor([0, 1, 1]), k=k)


def test_collapsed_embedding_still_votes() -> None:
    z, labels = torch.ones(12, 4) / 2, torch.arange(12) % 3
    assert 0 <= knn_accuracy(z, labels, z, labels, k=5) <= 1
    assert prototype_accuracy(z, labels, prototypes(z, labels, 3)) == pytest.approx(1 / 3)
