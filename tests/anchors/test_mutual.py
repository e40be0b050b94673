"""Mutual neighbors against loops over both banks."""

from __future__ import annotations

import pytest
import torch

from domainmetric.anchors.mutual import Mutual
from tests.anchors.pair_of_sets import K, M, N, banks, context, embeddings, logits_of, match, ready, target_labels

ALL_ROWS = torch.arange(M)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_a_source_item_votes_where_the_target_is_among_its_own_nearest(k: int) -> None:
    source, target = banks()
    spec = Mutual(k=k, temperature=0.3)
    matches = match(ready(spec), ALL_ROWS)
    cosine = (source.z @ target.z.T).tolist()
    for t in range(M):
        nearest_sources = sorted(range(N), key=lambda s: -cosine[s][t])[:k]
        weight = torch.tensor([cosine[s][t] / spec.temperature for s in nearest_sources]).softmax(0)
        votes, voted = [0.0] * K, False
        for w, s in zip(weight, nearest_sources, strict=True):
            nearest_targets = sorted(range(M), key=lambda other: -cosine[s][other])[:k]
            if t in nearest_targets:
                votes[s % K] += float(w)
                voted = True
        assert bool(matches.keep[t]) == voted
        if voted:
            assert int(matches.label[t]) == max(range(K), key=lambda c: votes[c])
            assert float(matches.confidence[t]) == pytest.approx(max(votes), abs=1e-5)
    assert matches.keep.any() and (k > 3 or not matches.keep.all())


def test_a_target_outside_of_the_bank_is_weighed_against_it() -> None:
    source, target = banks()
    matcher = Mutual(k=2).build(context())
    matcher.refresh(source, target)
    z = embeddings(target_labels(), 99)
    matches = matcher(ALL_ROWS, z, logits_of(z))
    stored, asked = (source.z @ target.z.T).tolist(), (source.z @ z.T).tolist()
    for t in range(M):
        nearest = sorted(range(N), key=lambda s: -asked[s][t])[:2]
        assert bool(matches.keep[t]) == any(sum(x > asked[s][t] for x in stored[s]) < 2 for s in nearest)
    assert 0 < int(matches.keep.sum()) < M


def test_banks_smaller_than_k_make_everyone_a_neighbor() -> None:
    mutual = match(ready(Mutual(k=10 * N)), ALL_ROWS)
    assert mutual.keep.all()
