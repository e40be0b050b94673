"""What `experiments.negatives_per_update` measures of a loss: the negatives that it uses, and what a step costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric import MetricLoss, Miner, Pairs, Triplets
from domainmetric.losses.triplet import TripletLoss
from domainmetric.pairs import label_pairs
from domainmetric.randomness import generator, isolated
from experiments.lab import Encoder, Recipe, optimizer_of

Arm = tuple[MetricLoss, Miner | None]
DIMENSIONS, CLASSES = 64, 8


def active_share(pairs: Pairs, loss: MetricLoss, miner: Miner | None) -> float:
    """Share of a miner's triplets that have a gradient; without a miner of all triplets."""
    value = loss.of(pairs, None if miner is None else miner.select(pairs))
    return round(float(value.active / value.used.clamp_min(1)), 4)


def negatives_used(pairs: Pairs, arm: Arm, draw: torch.Generator) -> dict[str, float]:
    """Negatives of an anchor, as a mean over the anchors: offered, with a gradient, and effective.

    Effective is (sum w)^2 / (sum w^2) over the gradients w at their distances: k where k of them weigh the same.
    """
    loss, miner = arm
    triplets = None if miner is None else miner.select(pairs, draw)
    offered = pairs.negative
    if triplets is not None:
        offered = torch.zeros_like(pairs.negative)
        offered[triplets.anchor, triplets.negative] = True
    weight = gradient_at_distances(pairs, loss, triplets).abs() * pairs.negative
    weight = weight / weight.amax(1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
    total, squares = weight.sum(1), weight.square().sum(1)
    effective = torch.where(squares > 0, total.square() / squares.clamp_min(1), 0.0)
    counts = {"offered": offered.sum(1), "with_gradient": (weight > 0).sum(1), "effective": effective}
    return {name: round(float(value.double().mean()), 2) for name, value in counts.items()}


def gradient_at_distances(pairs: Pairs, loss: MetricLoss, triplets: Triplets | None) -> Float[Tensor, "a b"]:
    """The gradient of a loss at the squared chords, in float64, where small ones do not vanish."""
    leaf = pairs.sq_chord.detach().double().requires_grad_()
    at = replace(pairs, sq_chord=leaf)
    if triplets is None:
        value = loss.of(at).value
    else:
        assert isinstance(loss, TripletLoss)  # by the matrix, where `of` may go by the vectors
        d, a = loss.measure.matrix(at), triplets.anchor
        value = loss.of_distances(d[a, triplets.positive], d[a, triplets.negative]).sum()
    return torch.autograd.grad(value, leaf)[0]


def time_losses(arms: Mapping[str, Arm], size: int, rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds of pairs, mining, loss and backward to random embeddings."""
    z = torch.randn(size, DIMENSIONS, generator=generator("cpu", 0, "vectors", size)).requires_grad_()
    labels = torch.arange(size) % CLASSES
    return in_turn({name: partial(loss_step, z, labels, arm) for name, arm in arms.items()}, rounds)


def time_steps(arms: Mapping[str, Arm], size: int, rounds: int, widths: tuple[int, ...]) -> dict[str, list[float]]:
    """CPU milliseconds of whole updates of an encoder, without its augmentation."""
    images = torch.rand(size, 3, 32, 32, generator=generator("cpu", 0, "images"))
    labels = torch.arange(size) % CLASSES
    with isolated(0, "encoder"):
        encoder = Encoder(3, DIMENSIONS, widths)
    optimizer = optimizer_of(Recipe(), encoder)

    def step(arm: Arm) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_step(encoder(images), labels, arm)
        optimizer.step()

    return in_turn({name: partial(step, arm) for name, arm in arms.items()}, rounds)


def loss_step(z: Float[Tensor, "b d"], labels: Int64[Tensor, " b"], arm: Arm) -> None:
    """One pass forward and backward."""
    loss, miner = arm
    pairs = label_pairs(z, labels)
    triplets = None if miner is None else miner.select(pairs, generator("cpu", 0, "timing"))
    loss.of(pairs, triplets).value.backward()


def in_turn(works: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds of each, one after another, round by round, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, one in works.items():
            began = time.process_time()
            one()
            if number:
                times[name].append(round(1000 * (time.process_time() - began), 3))
    return times
