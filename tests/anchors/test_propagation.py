"""Label spreading against scikit-learn's, on a graph made by loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.semi_supervised import LabelSpreading

from domainmetric.anchors.propagation import Propagation, graph
from domainmetric.types import Bank
from tests.anchors.pair_of_sets import M, N, banks, context, match, ready, source_labels, target_labels


def graph_by_loop(source: Bank, target: Bank, k: int, temperature: float) -> np.ndarray:
    weights = np.zeros((N + M, N + M))
    items = [*source.z.double().numpy(), *target.z.double().numpy()]

    def join(one: int, others: list[int]) -> None:
        for other in sorted(others, key=lambda i: -float(items[one] @ items[i]))[:k]:
            weights[one, other] = weights[other, one] = math.exp((float(items[one] @ items[other]) - 1) / temperature)

    for t in range(N, N + M):
        join(t, list(range(N)))
        join(t, [other for other in range(N, N + M) if other != t])
    return weights


@pytest.mark.parametrize(("k", "spread", "temperature"), [(3, 0.9, 0.1), (5, 0.2, 0.5), (1, 0.99, 0.3)])
def test_what_arrives_is_what_scikit_learn_spreads(k: int, spread: float, temperature: float) -> None:
    source, target = banks()
    spec = Propagation(k=k, spread=spread, temperature=temperature)
    weights = graph_by_loop(source, target, k, temperature)
    np.testing.assert_allclose(graph(source.z, target.z, k, temperature).toarray(), weights, atol=1e-5)
    slow = LabelSpreading(kernel=lambda x, y: weights.copy(), alpha=spread, max_iter=20_000, tol=1e-9)
    slow.fit(np.arange(N + M)[:, None], [*source_labels().tolist(), *[-1] * M])
    matcher = ready(spec)
    np.testing.assert_allclose(matcher.memory["shares"], slow.label_distributions_[N:], atol=1e-4)
    matches = match(matcher, torch.arange(M))
    for row in range(M):
        cosines = [float(target.z[row] @ other) for other in target.z]
        neighbors = sorted(range(M), key=lambda i: -cosines[i])[:k]
        weight = torch.tensor([cosines[i] / temperature for i in neighbors]).softmax(0).numpy()
        mean = sum(w * slow.label_distributions_[N + i] for w, i in zip(weight, neighbors, strict=True))
        assert int(matches.label[row]) == mean.argmax()
        assert float(matches.confidence[row]) == pytest.approx(mean.max(), abs=1e-4)


def test_weights_beyond_the_smallest_number_leave_the_target_unmatched() -> None:
    source, _ = banks()
    far = Bank(rows=torch.arange(1), z=-source.z[:1], logits=source.logits[:1], labels=None)
    matcher = Propagation(temperature=1e-3).build(context())
    near = Bank(rows=source.rows[:1], z=source.z[:1], logits=source.logits[:1], labels=source_labels()[:1])
    matcher.refresh(near, far)
    matches = match(matcher, torch.arange(M))
    assert not matches.keep.any() and matches.confidence.eq(0).all()


def test_spread_labels_find_the_classes() -> None:
    matches = match(ready(Propagation()), torch.arange(M))
    assert (matches.label == target_labels()).float().mean() >= 0.95
