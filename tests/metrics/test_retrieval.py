"""Retrieval against explicit loops and pytorch-metric-learning, with its laws and refusals."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from torch import Tensor

from domainmetric.errors import DataError
from domainmetric.geometry import normalize
from domainmetric.metrics.retrieval import retrieval


def clusters(num: int, *, seed: int, num_classes: int = 4, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    """Unit vectors around class centers shared by all seeds, each class present."""
    centers = torch.randn(num_classes, 8, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (num,), generator=generator)
    labels[:num_classes] = torch.arange(num_classes)
    return normalize(centers[labels] + noise * torch.randn(num, 8, generator=generator)), labels


def by_loops(
    query_z: Tensor, query_labels: Tensor, gallery_z: Tensor, gallery_labels: Tensor, *, exclude_self: bool
) -> dict[str, float]:
    """The definitions, item by item, in float64; irrelevant items first among equals."""
    rows: list[dict[str, float]] = []
    for q in range(len(query_z)):
        others = [g for g in range(len(gallery_z)) if not (exclude_self and g == q)]
        distance = {g: float((query_z[q].double() - gallery_z[g].double()).square().sum()) for g in others}
        relevant = {g for g in others if gallery_labels[g] == query_labels[q]}
        ranking = sorted(others, key=lambda g: (distance[g], g in relevant))
        hits = [g in relevant for g in ranking]
        r = len(relevant)
        precisions = [sum(hits[: i + 1]) / (i + 1) if hits[i] else 0.0 for i in range(r)]
        rows.append(
            {
                "precision_at_1": float(hits[0]),
                "map_at_r": sum(precisions) / r,
                "r_precision": sum(hits[:r]) / r,
                "recall_at_1": float(any(hits[:1])),
                "recall_at_10": float(any(hits[:10])),
            }
        )
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


@pytest.mark.parametrize("chunk", [1, 7, 128])
@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_equals_loops_across_two_sets(chunk: int, noise: float) -> None:
    query, gallery = clusters(23, seed=1, noise=noise), clusters(61, seed=2, noise=noise)
    expected = by_loops(*query, *gallery, exclude_self=False)
    assert retrieval(*query, *gallery, chunk=chunk) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("chunk", [1, 7, 128])
def test_equals_loops_within_one_set(chunk: int) -> None:
    items = clusters(47, seed=3, noise=2.0)
    expected = by_loops(*items, *items, exclude_self=True)
    assert retrieval(*items, *items, exclude_self=True, chunk=chunk) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("exclude_self", [False, True])
def test_equals_pytorch_metric_learning(exclude_self: bool) -> None:
    gallery = clusters(150, seed=4, noise=2.0)
    query = gallery if exclude_self else clusters(40, seed=5, noise=2.0)
    names = ("precision_at_1", "mean_average_precision_at_r", "r_precision")
    knn = CustomKNN(LpDistance(normalize_embeddings=False))
    calculator = AccuracyCalculator(include=names, k="max_bin_count", knn_func=knn, device=torch.device("cpu"))
    theirs = calculator.get_accuracy(query[0], gallery[0], query[1], gallery[1], exclude_self)
    ours = retrieval(*query, *gallery, exclude_self=exclude_self)
    assert [ours["precision_at_1"], ours["map_at_r"], ours["r_precision"]] == pytest.approx(
        [theirs[name] for name in names], abs=1e-6
    )


def test_ties_count_against_the_query() -> None:
    same = torch.ones(6, 1)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    result = retrieval(same, labels, same, labels, recall_at=(1, 3, 4))
    nothing = ["precision_at_1", "map_at_r", "r_precision", "recall_at_1", "recall_at_3"]
    assert result == dict.fromkeys(nothing, 0.0) | {"recall_at_4": 1.0}


def test_duplicates_of_the_query_do_not_hide_it() -> None:
    z = torch.eye(3)[[0, 0, 1, 1, 2, 2]]
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    assert set(retrieval(z, labels, z, labels, exclude_self=True).values()) == {1.0}


def test_one_class_is_perfect_and_one_item_suffices() -> None:
    z, labels = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(5, dtype=torch.int64)
    assert set(retrieval(z, labels, z, labels, exclude_self=True).values()) == {1.0}
    assert set(retrieval(z[:1], labels[:1], z[:1], labels[:1]).values()) == {1.0}


def test_random_embeddings_score_chance() -> None:
    generator = torch.Generator().manual_seed(6)
    z, labels = normalize(torch.randn(1000, 16, generator=generator)), torch.arange(1000) % 5
    result = retrieval(z, labels, z, labels, exclude_self=True)
    assert result["r_precision"] == pytest.approx(0.2, abs=0.01)
    assert result["map_at_r"] == pytest.approx(0.04, abs=0.01)


def test_collapsed_embedding_keeps_its_order() -> None:
    """At a spread of 1e-4 around one point the plain float32 Gram matrix loses the order; the centered one does not."""
    z, labels = clusters(120, seed=7, noise=1.0)
    collapsed = normalize(torch.eye(8)[:1] * 1e4 + z)
    expected = by_loops(collapsed, labels, collapsed, labels, exclude_self=True)
    result = retrieval(collapsed, labels, collapsed, labels, exclude_self=True)
    assert result["r_precision"] == pytest.approx(expected["r_precision"], abs=2e-3)
    assert result["map_at_r"] == pytest.approx(expected["map_at_r"], abs=2e-3)


def test_order_and_class_names_do_not_matter() -> None:
    query, gallery = clusters(30, seed=8), clusters(50, seed=9)
    base = retrieval(*query, *gallery)
    shuffle_q, shuffle_g = torch.randperm(30, generator=torch.Generator().manual_seed(1)), torch.arange(49, -1, -1)
    rename = torch.tensor([7, 0, 31, 2])
    other = retrieval(
        query[0][shuffle_q], rename[query[1]][shuffle_q], gallery[0][shuffle_g], rename[gallery[1]][shuffle_g]
    )
    assert other == pytest.approx(base, abs=1e-6)


def test_inputs_are_left_as_they_were() -> None:
    z, labels = clusters(30, seed=10)
    kept, kept_labels = z.clone(), labels.clone()
    retrieval(z, labels, z, labels, exclude_self=True)
    assert torch.equal(z, kept) and torch.equal(labels, kept_labels)


def test_half_precision_is_computed_in_float32() -> None:
    z, labels = clusters(60, seed=11)
    z = z.bfloat16()
    assert retrieval(z, labels, z, labels) == retrieval(z.float(), labels, z.float(), labels)


def test_a_query_class_missing_in_the_gallery_is_named() -> None:
    z = torch.eye(3)
    with pytest.raises(DataError, match=r"too few: \[2\]"):
        retrieval(z, torch.tensor([0, 1, 2]), z, torch.tensor([0, 1, 1]))
    with pytest.raises(DataError, match=r"at least two items .* too few: \[0, 1, 2\]"):
        retrieval(z, torch.arange(3), z, torch.arange(3), exclude_self=True)


def test_bad_input_is_refused() -> None:
    z, labels = torch.eye(3), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(DataError, match="the gallery itself"):
        retrieval(z[:2], labels[:2], z, labels, exclude_self=True)
    with pytest.raises(DataError, match="recall_at"):
        retrieval(z, labels, z, labels, recall_at=(0,))
    with pytest.raises(DataError, match="1 of 3 rows hold NaN"):
        retrieval(z.where(z < 1, torch.tensor([[1.0], [torch.nan], [1.0]])), labels, z, labels)
    with pytest.raises(DataError, match="at least 1 row"):
        retrieval(z[:0], labels[:0], z, labels)
    with pytest.raises(DataError, match="from 0 on"):
        retrieval(z, labels - 1, z, labels)


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_shapes_and_types_are_refused() -> None:
    z, labels = torch.eye(3), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(DataError, match="must have the shape"):
        retrieval(z, labels[:2], z, labels)
    with pytest.raises(DataError, match="must be int64"):
        retrieval(z, labels.int(), z, labels)
    with pytest.raises(DataError, match="one row for each item"):
        retrieval(z[0], labels, z, labels)
    with pytest.raises(DataError, match="equally wide"):
        retrieval(z[:, :2], labels, z, labels)
