"""pytorch-metric-learning's losses in place of ours."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from domainmetric.errors import ConfigError
from domainmetric.geometry import normalize
from domainmetric.losses.margin import MarginTriplet
from domainmetric.losses.pml import PmlLoss
from domainmetric.miners.hard import EasyPositiveHardNegative
from domainmetric.pairs import label_pairs
from domainmetric.serialize import from_json, to_json, user_names
from domainmetric.step import PartContext
from domainmetric.terms import Metric
from domainmetric.types import Pairs, Triplets
from tests.contracts.steps import D, K, aligned_step
from tests.reference import cases, labels, unit

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_metric_learning import distances, losses, reducers


@dataclass(frozen=True, kw_only=True)
class Triplet(PmlLoss):
    """Their triplet loss, with our mean over all triplets."""

    margin: float = 0.3

    def make(self) -> nn.Module:
        distance = distances.LpDistance(p=2, power=2)
        return losses.TripletMarginLoss(margin=self.margin, distance=distance, reducer=reducers.MeanReducer())


@dataclass(frozen=True, kw_only=True)
class Made(PmlLoss):
    """What a function makes."""

    make_loss: Callable[[], nn.Module]

    def make(self) -> nn.Module:
        return self.make_loss()


@pytest.mark.parametrize(
    "case", ["within", "across", "roles", "roles of three groups", "one class", "no class twice", "dropped rows"]
)
@pytest.mark.parametrize("mined", [True, False])
def test_their_triplet_loss_is_ours(case: str, mined: bool) -> None:
    pairs = {**cases(), "dropped rows": dropped_rows()}[case]
    triplets = EasyPositiveHardNegative().select(pairs) if mined else None
    theirs, ours = Triplet().of(pairs, triplets), MarginTriplet(margin=0.3).of(pairs, triplets)
    torch.testing.assert_close(theirs.value, ours.value)
    expected = len(triplets) if triplets is not None else int(pairs.positive.sum() + pairs.negative.sum())
    assert int(theirs.used) == expected


def dropped_rows() -> Pairs:
    """A set against itself, some of whose rows take no part."""
    pairs, keep = cases()["within"], torch.arange(14) % 3 != 1
    group, both = replace(pairs.rows, keep=keep), keep[:, None] & keep
    return replace(pairs, rows=group, columns=group, positive=pairs.positive & both, negative=pairs.negative & both)


def call(loss: nn.Module, z: Tensor, y: Tensor, *reference: Tensor) -> Tensor:
    return loss(z, y, None, *reference)


@pytest.mark.parametrize(
    "make",
    [
        losses.NTXentLoss, losses.SupConLoss, losses.ContrastiveLoss, losses.MultiSimilarityLoss, losses.CircleLoss,
        losses.TripletMarginLoss, losses.MarginLoss, losses.LiftedStructureLoss, losses.FastAPLoss, losses.NCALoss,
        losses.InstanceLoss, losses.CentroidTripletLoss,
    ],
)  # fmt: skip
def test_the_plain_call_is_theirs_with_the_same_gradient(make: type[nn.Module]) -> None:
    z, y, other, other_y = unit(0, 30), labels(1, 30), unit(2, 20), labels(3, 20)
    within_only = make in (losses.FastAPLoss, losses.NCALoss, losses.InstanceLoss, losses.CentroidTripletLoss)
    for reference in [(), *([] if within_only else [(other, other_y)])]:
        leaf = z.clone().requires_grad_()
        keywords = dict(zip(("ref_emb", "ref_labels"), reference, strict=False))
        ours, theirs = Made(make_loss=make)(leaf, y, **keywords), call(make(), normalize(leaf), y, *reference)
        torch.testing.assert_close(ours, theirs)
        gradients = [torch.autograd.grad(value, leaf)[0] for value in (ours, theirs)]
        torch.testing.assert_close(*gradients)
        assert gradients[0].abs().max() > 0


@pytest.mark.parametrize("make", [losses.NTXentLoss, losses.FastAPLoss, losses.CircleLoss])
def test_nothing_to_learn_from_is_a_differentiable_zero(make: type[nn.Module]) -> None:
    z, none = unit(0, 10).requires_grad_(), torch.empty(0, dtype=torch.int64)
    nothing = Triplets(anchor=none, positive=none, negative=none)
    result = Made(make_loss=make).of(label_pairs(z, labels(1, 10)), nothing)
    (gradient,) = torch.autograd.grad(result.value, z)
    assert result.value == result.used == result.active == 0 and (gradient == 0).all()


def test_triplets_with_a_hinge_that_is_satisfied_are_not_active() -> None:
    z, y = torch.tensor([[1.0, 0], [1, 0], [-1, 0]]), torch.tensor([0, 0, 1])
    result = Triplet().of(label_pairs(z, y))
    assert (float(result.value), int(result.used), int(result.active)) == (0, 6, 0)


def learned_margin() -> nn.Module:
    return losses.MarginLoss(learn_beta=True)


def proxies() -> nn.Module:
    return losses.ProxyAnchorLoss(num_classes=3, embedding_size=6)


def memory() -> nn.Module:
    return losses.CrossBatchMemory(losses.NTXentLoss(), embedding_size=6)


@pytest.mark.parametrize("make", [learned_margin, proxies])
def test_a_loss_with_weights_is_refused_and_told_where_it_belongs(make: Callable[[], nn.Module]) -> None:
    with torch.random.fork_rng(), pytest.raises(ConfigError, match=r"Loss has weights of its own.*Write a Part"):
        Made(make_loss=make)(unit(0, 12), labels(1, 12))


@pytest.mark.parametrize("make", [memory, losses.VICRegLoss])
def test_a_loss_that_is_called_otherwise_is_refused(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(ConfigError, match=r"Made.make must return a loss .* does not take .*"):
        Made(make_loss=make)(unit(0, 12), labels(1, 12))


def test_a_loss_that_cannot_take_what_it_is_given_says_so() -> None:
    z, y = unit(0, 12), labels(1, 12)
    with pytest.raises(ConfigError, match=r"FastAPLoss of Made refuses this: .*ref_emb is not supported"):
        Made(make_loss=losses.FastAPLoss)(z, y, ref_emb=z, ref_labels=y)
    with pytest.raises(ConfigError, match=r"InstanceLoss of Made refuses this: .*indices_tuple"):
        Made(make_loss=losses.InstanceLoss)(z, y, EasyPositiveHardNegative()(z, y))


def test_theirs_compute_in_float32_under_autocast() -> None:
    z, y = unit(0, 20, dtype=torch.float32), labels(1, 20)
    plain = Triplet()(z, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(Triplet()(z, y), plain, rtol=0, atol=0)
        assert Triplet()(z.bfloat16(), y).dtype == torch.float32


def test_it_is_a_spec_that_a_metric_term_takes() -> None:
    part = Metric(miner=None, loss=Triplet(margin=0.4))
    written = json.loads(json.dumps(to_json(part.loss)))
    assert written == {"class": "user.Triplet", "margin": 0.4}
    assert from_json(written, user_names(globals())) == part.loss
    ours, context = replace(part, loss=MarginTriplet(margin=0.4)), PartContext(num_classes=K, embedding_dim=D)
    torch.testing.assert_close(part.build(context)(aligned_step()), ours.build(context)(aligned_step()))
