"""Clusters against k-means by loops, and every assignment of clusters to classes."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from domainmetric.anchors import cluster
from domainmetric.anchors.cluster import Cluster, spherical_k_means
from domainmetric.types import Bank
from tests.anchors.pair_of_sets import D, K, M, banks, match, ready

ALL_ROWS = torch.arange(M)


def means_by_loop(bank: Bank) -> np.ndarray:
    assert bank.labels is not None
    sums = [sum(z.double().numpy() for z, y in zip(bank.z, bank.labels, strict=True) if y == c) for c in range(K)]
    return np.stack([s / np.linalg.norm(s) for s in sums])


def k_means_by_loop(z: np.ndarray, centers: np.ndarray, rounds: int) -> np.ndarray:
    for _ in range(rounds):
        chosen = [max(range(len(centers)), key=lambda c: float(item @ centers[c])) for item in z]
        for c in range(len(centers)):
            mine = [item for item, k in zip(z, chosen, strict=True) if k == c]
            if mine:
                centers[c] = sum(mine) / np.linalg.norm(sum(mine))
    return centers


@pytest.mark.parametrize("rounds", [1, 20])
def test_clusters_settle_and_take_the_classes_that_fit_best(rounds: int) -> None:
    source, target = banks()
    matcher = ready(Cluster(rounds=rounds))
    means = means_by_loop(source)
    centers = k_means_by_loop(target.z.double().numpy(), means.copy(), rounds)
    np.testing.assert_allclose(matcher.memory["centers"], centers, atol=1e-5)
    best = max(permutations(range(K)), key=lambda p: sum(float(centers[c] @ means[p[c]]) for c in range(K)))
    assert matcher.memory["classes"].tolist() == list(best)
    matches = match(matcher, ALL_ROWS)
    for row, z in enumerate(target.z.double().numpy()):
        cosines = [float(z @ center) for center in centers]
        nearest = max(range(K), key=lambda c: cosines[c])
        assert int(matches.label[row]) == best[nearest]
        shares = np.exp(np.array(cosines) / 0.1)
        assert float(matches.confidence[row]) == pytest.approx(shares.max() / shares.sum(), abs=1e-4)


def test_clusters_that_moved_past_each_other_change_their_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever k-means does to their order, each cluster takes the class that it lies at."""
    plain = match(ready(Cluster()), ALL_ROWS)

    def crossed(z: torch.Tensor, centers: torch.Tensor, rounds: int) -> torch.Tensor:
        return spherical_k_means(z, centers, rounds)[[2, 0, 3, 1]]

    monkeypatch.setattr(cluster, "spherical_k_means", crossed)
    matcher = ready(Cluster())
    assert matcher.memory["classes"].tolist() == [2, 0, 3, 1]
    assert torch.equal(match(matcher, ALL_ROWS).label, plain.label)


def test_an_empty_cluster_keeps_its_place_and_settled_clusters_stop() -> None:
    centers = torch.eye(D)[:3]
    z = torch.eye(D)[[0, 0, 1]]
    assert torch.equal(spherical_k_means(z, centers, 1), spherical_k_means(z, centers, 10**9))
    assert torch.equal(spherical_k_means(z, centers, 5)[2], centers[2])
