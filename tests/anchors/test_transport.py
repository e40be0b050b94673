"""Transport with a prior that has its price: against POT, and its two ends."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch

from domainmetric.anchors.transport import Transport, relaxed_potential
from domainmetric.types import Bank
from tests.anchors.pair_of_sets import K, M, banks, context, match, ready

PRIOR = (0.55, 0.25, 0.15, 0.05)


def plan_of(spec: Transport) -> tuple[torch.Tensor, torch.Tensor]:
    """The plan that a matcher assigns by, and the cost."""
    matcher = ready(spec)
    cost = 1 - banks()[1].z @ matcher.memory["means"].T
    return (matcher.memory["potential"] - cost / spec.regularization).softmax(1), cost


@pytest.mark.parametrize("relaxation", [0.01, 0.1, 2.0])
def test_the_relaxed_plan_is_that_of_pot(relaxation: float) -> None:
    spec = Transport(prior=PRIOR, regularization=0.1, marginal_relaxation=relaxation)
    plan, cost = plan_of(spec)
    expected = ot.unbalanced.sinkhorn_unbalanced(
        np.full(M, 1 / M),
        np.array(PRIOR),
        cost.double().numpy(),
        spec.regularization,
        (float("inf"), relaxation),
        stopThr=1e-12,
        numItermax=10_000,
    )
    np.testing.assert_allclose(plan / M, expected, atol=1e-6)


@pytest.mark.parametrize("relaxation", [0.01, 0.1, 2.0])
def test_the_relaxed_potential_has_settled_for_every_class(relaxation: float) -> None:
    source, target = banks()
    cost = (1 - target.z @ source.z[:4].T).double()
    prior = torch.tensor(PRIOR, dtype=torch.float64)
    found = relaxed_potential(cost, prior, 0.1, relaxation)
    shares = (found - cost / 0.1).softmax(1).mean(0)
    again = prior.log() + relaxation / (relaxation + 0.1) * (found - shares.log())
    torch.testing.assert_close(again - again.mean(), found, atol=2e-9, rtol=0)


def test_a_dear_prior_is_kept_and_a_cheap_one_only_weighs() -> None:
    balanced, cost = plan_of(Transport(prior=PRIOR))
    dear, _ = plan_of(Transport(prior=PRIOR, marginal_relaxation=5000.0))
    torch.testing.assert_close(dear, balanced, atol=1e-3, rtol=0)
    cheap, _ = plan_of(Transport(prior=PRIOR, marginal_relaxation=1e-9))
    torch.testing.assert_close(cheap, (torch.tensor(PRIOR).log() - cost / 0.05).softmax(1))
    between, _ = plan_of(Transport(prior=PRIOR, marginal_relaxation=0.1))
    gap = [float((plan.mean(0) - torch.tensor(PRIOR)).abs().sum()) for plan in (balanced, between, cheap)]
    assert gap[0] < gap[1] < gap[2]


def test_a_class_that_nothing_is_near_to_has_a_number_all_the_same() -> None:
    cost = torch.tensor([[0.0, 2.0]] * 5, dtype=torch.float64)
    potential = relaxed_potential(cost, torch.tensor([0.5, 0.5], dtype=torch.float64), 1e-3, 1e-3)
    assert potential.isfinite().all()


@pytest.mark.parametrize("relaxation", [None, 0.1])
def test_a_class_without_a_source_item_takes_no_mass(relaxation: float | None) -> None:
    source, target = banks()
    assert source.labels is not None
    some = source.labels != 2
    fewer = Bank(rows=source.rows[some], z=source.z[some], logits=source.logits[some], labels=source.labels[some])
    matcher = Transport(marginal_relaxation=relaxation).build(context())
    matcher.refresh(fewer, target)
    matches = match(matcher, torch.arange(M))
    assert matches.keep.all() and set(matches.label.tolist()) == set(range(K)) - {2}
    if relaxation is None:
        cost = 1 - target.z @ matcher.memory["means"].T
        plan = (matcher.memory["potential"] - cost / 0.05).softmax(1)
        torch.testing.assert_close(plan.mean(0), torch.tensor([1, 1, 0, 1]) / 3, atol=1e-3, rtol=0)
