"""Alignment terms: the sign of the reversal, what the discriminator learns, and the values of MMD and information."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from domainmetric.alignment.class_share import FLOOR, MOMENTUM, ClassShare
from domainmetric.alignment.consistency import Consistency
from domainmetric.alignment.dann import Dann
from domainmetric.alignment.information import InformationMaximization
from domainmetric.alignment.mmd import Mmd
from domainmetric.errors import ConfigError
from domainmetric.randomness import isolated
from domainmetric.schedules import Constant, SigmoidRamp
from domainmetric.statistics import mmd2
from domainmetric.step import PartContext, PartModule, Step
from tests.contracts.steps import D, K, aligned_step


def built(part: Dann) -> PartModule:
    with isolated(0, "discriminator"):
        return part.build(PartContext(num_classes=K, embedding_dim=D))


def gradients(module: PartModule, step: Step) -> tuple[torch.Tensor, list[torch.Tensor]]:
    z = [step.encoded_source.z, step.z_t]
    found = torch.autograd.grad(module(step), [*z, *module.parameters()])
    return torch.cat(found[:2]), list(found[2:])


@pytest.mark.parametrize("progress", [0.0, 0.05, 0.5, 1.0])
def test_the_reversal_multiplies_the_gradient_by_minus_its_strength(progress: float) -> None:
    step = replace(aligned_step(), progress=progress)
    module = built(Dann(strength=SigmoidRamp()))
    discriminator = module.discriminator
    z = torch.cat([step.encoded_source.z, step.z_t])
    logits = discriminator(z).squeeze(1)
    domain = torch.cat([torch.zeros(len(step.encoded_source.z)), torch.ones(len(step.z_t))])
    n, m = len(step.encoded_source.z), len(step.z_t)
    weight = torch.cat([torch.full((n,), 0.5 / n), torch.full((m,), 0.5 / m)])
    plain = F.binary_cross_entropy_with_logits(logits, domain, weight=weight, reduction="sum")
    expected = torch.autograd.grad(plain, [step.encoded_source.z, step.z_t, *module.parameters()])
    at_z, at_weights = gradients(module, step)
    torch.testing.assert_close(at_z, -SigmoidRamp().at(progress) * torch.cat(expected[:2]))
    torch.testing.assert_close(module(step), plain)
    for ours, theirs in zip(at_weights, expected[2:], strict=True):
        torch.testing.assert_close(ours, theirs)  # the discriminator itself learns at full strength


def test_the_discriminator_learns_and_says_how_well() -> None:
    step, module = aligned_step(shift=3.0), built(Dann(strength=Constant()))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    first = module(step).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = module(step)
        loss.backward()
        optimizer.step()
    assert loss.detach().item() < 0.5 * first
    assert step.notes["dann/accuracy"] > 0.9


def test_each_domain_counts_for_half() -> None:
    module = built(Dann())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.discriminator[-1].bias.fill_(1.0)
    value = module(aligned_step(n=5, m=50)).item()
    assert value == pytest.approx((math.log1p(math.e) + math.log1p(1 / math.e)) / 2, abs=1e-6)


def test_mmd_compares_source_and_target_embeddings() -> None:
    step = aligned_step()
    module = Mmd(bandwidths=(0.5, 2.0)).build(PartContext(num_classes=K, embedding_dim=D))
    assert torch.equal(module(step), mmd2(step.encoded_source.z, step.z_t, bandwidths=(0.5, 2.0)))


def predicting(step: Step, classes: torch.Tensor) -> Step:
    """The same step where the target's predictions are these."""
    assert step.encoded_target is not None
    return replace(step, encoded_target=step.encoded_target._replace(logits=F.one_hot(classes, K).float()))


def test_source_rows_weigh_what_their_class_does_in_the_target() -> None:
    step = predicting(aligned_step(n=13, m=40), torch.tensor([0] * 30 + [1] * 10))
    share = ClassShare(K)
    for _ in range(200):
        weights = share(step)
    by_class = torch.zeros(K).index_add_(0, step.source.labels, weights)
    expected = torch.tensor([0.75, 0.25, FLOOR / K, FLOOR / K])
    torch.testing.assert_close(by_class, expected / expected.sum())
    assert len(weights[step.source.labels == 0].unique()) == 1


def test_the_share_begins_equal_and_follows_slowly() -> None:
    step = predicting(aligned_step(n=12, m=40), torch.zeros(40, dtype=torch.int64))
    share = ClassShare(K)
    weights = share(step)
    assert share.share[0].item() == pytest.approx(MOMENTUM / K + 1 - MOMENTUM)
    assert weights.sum().item() == pytest.approx(1)


def test_a_class_that_the_source_batch_lacks_weighs_nothing() -> None:
    step = predicting(aligned_step(n=12, m=17, one_class=True), torch.arange(17) % K)
    torch.testing.assert_close(ClassShare(K)(step), torch.full((12,), 1 / 12))


def test_equal_shares_leave_the_terms_as_they_are() -> None:
    step = predicting(aligned_step(n=12, m=40), torch.arange(40) % K)
    context = PartContext(num_classes=K, embedding_dim=D)
    torch.testing.assert_close(Mmd(class_weighted=True).build(context)(step), Mmd().build(context)(step))
    torch.testing.assert_close(built(Dann(class_weighted=True))(step), built(Dann())(step))


def test_weighted_mmd_is_weighted_by_the_shares() -> None:
    step = predicting(aligned_step(n=8, m=40), torch.tensor([0] * 14 + [1] * 13 + [2] * 7 + [3] * 6))
    module = Mmd(class_weighted=True).build(PartContext(num_classes=K, embedding_dim=D))
    value = module(step)
    share = module.class_share.share[step.source.labels]
    torch.testing.assert_close(value, mmd2(step.encoded_source.z, step.z_t, weights=share / share.sum()))


def test_consistency_is_the_squared_distance_where_the_teacher_is_sure() -> None:
    step = aligned_step(m=3)
    assert step.encoded_target is not None and step.taught is not None
    ours = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25], [0.1, 0.7, 0.1, 0.1]])
    theirs = torch.tensor([[0.97, 0.01, 0.01, 0.01], [0.6, 0.2, 0.1, 0.1], [0.01, 0.97, 0.01, 0.01]])
    step = replace(
        step,
        encoded_target=step.encoded_target._replace(logits=ours.log()),
        taught=step.taught._replace(logits=theirs.log()),
    )
    sure = 0.27**2 + 3 * 0.09**2
    unsure = 0.35**2 + 0.05**2 + 2 * 0.15**2
    context = PartContext(num_classes=K, embedding_dim=D)
    assert Consistency().build(context)(step).item() == pytest.approx(2 * sure / 3, rel=1e-4)
    assert step.notes["consistency/believed"].item() == pytest.approx(2 / 3)
    assert Consistency(confidence=0).build(context)(step).item() == pytest.approx((2 * sure + unsure) / 3, rel=1e-4)


def test_information_is_low_where_targets_are_decided_and_diverse() -> None:
    module = InformationMaximization().build(PartContext(num_classes=K, embedding_dim=D))
    step = aligned_step()

    def loss(logits: torch.Tensor) -> float:
        assert step.encoded_target is not None
        return module(replace(step, encoded_target=step.encoded_target._replace(logits=logits))).item()

    every = torch.eye(K).repeat(4, 1)
    assert loss(50 * every) == pytest.approx(-math.log(K), abs=1e-4)
    assert loss(50 * every[[0] * 16]) == pytest.approx(0, abs=1e-4)
    assert loss(0 * every) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Consistency(confidence=1), "Consistency.confidence must lie in [0, 1), but is 1."),
        (lambda: Dann(hidden=0), "Dann.hidden must be positive, but is 0."),
        (lambda: Mmd(bandwidths=()), "Mmd.bandwidths must name at least one positive factor, but is ()."),
        (
            lambda: Mmd(bandwidths=(1.0, 0.0)),
            "Mmd.bandwidths must name at least one positive factor, but is (1.0, 0.0).",
        ),
    ],
)
def test_refused_settings(make: type, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
