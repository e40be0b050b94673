"""The vector field of a triplet: where one gradient step takes its two similarities (Xuan & Pless 2019, section 4).

S_ap and S_an are the cosine similarities of the anchor to the positive and to the negative. S_ap is drawn to the right
and S_an upwards, so a good step goes down and right. gamma is the cosine of the angle, at the anchor, between the
directions to the positive and to the negative: S_pn = S_ap S_an + gamma sqrt(1 - S_ap^2) sqrt(1 - S_an^2).

The step of the paper ("Extreme Triplet Learning") moves the three unit vectors freely along the raw gradient and
normalizes them again. Its formulas are used as corrected against explicit vectors: the first term of S_an' is in S_an
((18), last line, and (24)), no minus belongs in (30) and (31), and the vanilla beta is 2 lr and not 2.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from domainmetric.errors import ConfigError
from domainmetric.geometry import TINY


class Forces(NamedTuple):
    """What one step of learning rate 1 does to a triplet, in multiples of its three vectors.

    f_p' = (1 - own_p) f_p + pull f_a,   f_n' = (1 + own_n) f_n - push f_a,
    f_a' = (1 - own_p + own_n) f_a + pull f_p - push f_n,   each normalized afterwards.
    """

    pull: Float[Tensor, "*s"]
    """-dL/dS_ap: how strongly anchor and positive move towards each other."""
    push: Float[Tensor, "*s"]
    """dL/dS_an: how strongly anchor and negative move apart; below zero they are drawn together."""
    own_p: Float[Tensor, "*s"]
    """How much of itself the positive loses. It changes lengths only, and vanishes in the limit of small steps."""
    own_n: Float[Tensor, "*s"]
    """How much of itself the negative gains."""


class Move(NamedTuple):
    """How far a step moves the two similarities."""

    ap: Float[Tensor, "*s"]
    an: Float[Tensor, "*s"]


@dataclass(frozen=True, kw_only=True)
class StepRule(ABC):
    """The gradient step of one triplet loss, as far as two similarities determine it."""

    @abstractmethod
    def forces(self, s_ap: Float[Tensor, "*s"], s_an: Float[Tensor, "*s"]) -> Forces:
        """The forces on triplets with these similarities."""


@dataclass(frozen=True, kw_only=True)
class FirstOrderStep(StepRule):
    """L1 = log(1 + exp(S_an - S_ap)): pull and push are equal, e^S_an / (e^S_ap + e^S_an)."""

    def forces(self, s_ap: Float[Tensor, "*s"], s_an: Float[Tensor, "*s"]) -> Forces:
        strength, none = torch.sigmoid(s_an - s_ap), torch.zeros_like(s_ap)
        return Forces(strength, strength, none, none)


@dataclass(frozen=True, kw_only=True)
class SecondOrderStep(StepRule):
    """L2 = log(1 + exp(S_an^2/2 - S_ap + S_ap^2/2)): the pull is weighted by 1 - S_ap, the push by S_an."""

    def forces(self, s_ap: Float[Tensor, "*s"], s_an: Float[Tensor, "*s"]) -> Forces:
        strength, none = torch.sigmoid(s_an.square() / 2 - s_ap + s_ap.square() / 2), torch.zeros_like(s_ap)
        return Forces(strength * (1 - s_ap), strength * s_an, none, none)


@dataclass(frozen=True, kw_only=True)
class VanillaStep(StepRule):
    """max(0, |f_a - f_p|^2 - |f_a - f_n|^2 + margin), FaceNet's loss: forces of 2 wherever the hinge is open."""

    margin: float = math.inf
    """In squared chord. At 4 or more, as in the paper's simulation, every triplet moves."""

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise ConfigError(f"VanillaStep.margin must be positive, but is {self.margin}.")

    def forces(self, s_ap: Float[Tensor, "*s"], s_an: Float[Tensor, "*s"]) -> Forces:
        strength = 2 * (2 * (s_an - s_ap) + self.margin > 0).to(s_ap.dtype)
        return Forces(strength, strength, strength, strength)


def predicted_move(
    s_ap: Float[Tensor, "*s"],
    s_an: Float[Tensor, "*s"],
    rule: StepRule,
    *,
    gamma: float | Float[Tensor, "*s"],
    lr: float,
    entanglement: float = 0.0,
) -> Move:
    """Where one step of `rule` moves triplets with similarities in [-1, 1]: closed form, float64, element by element.

    `gamma` in [-1, 1] is one number or one per triplet. `entanglement` is the paper's p in [0, 1], see `entangled`.
    Raises ConfigError for a gamma, lr or entanglement out of range.
    """
    _check(gamma, lr)
    s_ap, s_an = s_ap.double(), s_an.double()
    pull, push, own_p, own_n = (lr * force for force in rule.forces(s_ap, s_an))
    s_pn = third_similarity(s_ap, s_an, gamma)
    a, p, n = 1 - own_p + own_n, 1 - own_p, 1 + own_n
    new_ap = (a * p + pull**2) * s_ap + (a + p) * pull - p * push * s_pn - pull * push * s_an
    new_an = (a * n + push**2) * s_an - (a + n) * push + n * pull * s_pn - pull * push * s_ap
    square_a = a**2 + pull**2 + push**2 + 2 * a * (pull * s_ap - push * s_an) - 2 * pull * push * s_pn
    square_p = p**2 + pull**2 + 2 * p * pull * s_ap
    square_n = n**2 + push**2 - 2 * n * push * s_an
    move_ap = new_ap / (square_a * square_p).clamp_min(TINY).sqrt() - s_ap
    move_an = new_an / (square_a * square_n).clamp_min(TINY).sqrt() - s_an
    return entangled(Move(move_ap, move_an), s_ap, s_an, entanglement)


def small_step(
    s_ap: Float[Tensor, "*s"],
    s_an: Float[Tensor, "*s"],
    rule: StepRule,
    *,
    gamma: float | Float[Tensor, "*s"],
    entanglement: float = 0.0,
) -> Move:
    """The limit of `predicted_move` / lr for small lr.

    dS_ap = 2 pull (1 - S_ap^2) - push gamma sqrt(1 - S_ap^2) sqrt(1 - S_an^2), and S_an's mirror image. For equal
    forces S_ap falls exactly where 2 sin th_ap < gamma sin th_an, and S_an rises exactly where 2 sin th_an < gamma
    sin th_ap: never both. It is also the limit for vectors that are normalized within the graph.
    """
    _check(gamma)
    s_ap, s_an = s_ap.double(), s_an.double()
    pull, push, _, _ = rule.forces(s_ap, s_an)
    sin_ap, sin_an = _sine(s_ap), _sine(s_an)
    crossing = gamma * sin_ap * sin_an
    move = Move(2 * pull * sin_ap**2 - push * crossing, pull * crossing - 2 * push * sin_an**2)
    return entangled(move, s_ap, s_an, entanglement)


def entangled(move: Move, s_ap: Float[Tensor, "*s"], s_an: Float[Tensor, "*s"], entanglement: float) -> Move:
    """Each similarity moved by the other's move too, as a network does to images that look alike.

    The share is p q with q = sqrt(max(S_ap, 0) max(S_an, 0)), so nothing is shared by what is already apart.
    """
    if not 0 <= entanglement <= 1:
        raise ConfigError(f"The entanglement p must lie in [0, 1], but is {entanglement}.")
    share = entanglement * (s_ap.clamp_min(0) * s_an.clamp_min(0)).sqrt()
    return Move(move.ap + share * move.an, move.an + share * move.ap)


def third_similarity(
    s_ap: Float[Tensor, "*s"], s_an: Float[Tensor, "*s"], gamma: float | Float[Tensor, "*s"]
) -> Float[Tensor, "*s"]:
    """S_pn, of the positive to the negative."""
    return s_ap * s_an + gamma * _sine(s_ap) * _sine(s_an)


def tangent_cosine(
    s_ap: Float[Tensor, "*s"], s_an: Float[Tensor, "*s"], s_pn: Float[Tensor, "*s"]
) -> Float[Tensor, "*s"]:
    """Gamma of triplets whose three similarities are known, in [-1, 1]; 0 where the anchor coincides with either."""
    sines = _sine(s_ap) * _sine(s_an)
    return torch.where(sines > TINY, (s_pn - s_ap * s_an) / sines.clamp_min(TINY), 0.0).clamp(-1, 1)


class Vectors(NamedTuple):
    """Triplets as explicit unit vectors."""

    anchor: Float[Tensor, "*s d"]
    positive: Float[Tensor, "*s d"]
    negative: Float[Tensor, "*s d"]


def place(s_ap: Float[Tensor, "*s"], s_an: Float[Tensor, "*s"], gamma: float | Float[Tensor, "*s"]) -> Vectors:
    """Triplets in three dimensions (d = 3, float64) that have these similarities and this gamma."""
    _check(gamma)
    s_ap, s_an = s_ap.double(), s_an.double()
    sin_ap, sin_an, zero = _sine(s_ap), _sine(s_an), torch.zeros_like(s_ap)
    along = zero + gamma
    anchor = torch.stack([zero + 1, zero, zero], -1)
    positive = torch.stack([s_ap, sin_ap, zero], -1)
    return Vectors(anchor, positive, torch.stack([s_an, sin_an * along, sin_an * _sine(along)], -1))


def moved(vectors: Vectors, rule: StepRule, *, lr: float) -> Vectors:
    """The triplets after one step of `rule` on their vectors, of any dimension, normalized again."""
    _check(0.0, lr)
    a, p, n = vectors
    forces = rule.forces((a * p).sum(-1), (a * n).sum(-1))
    pull, push, own_p, own_n = (lr * force.unsqueeze(-1) for force in forces)
    after = ((1 - own_p + own_n) * a + pull * p - push * n, (1 - own_p) * p + pull * a, (1 + own_n) * n - push * a)
    return Vectors(*(vector / vector.norm(dim=-1, keepdim=True).clamp_min(TINY) for vector in after))


class Shares(NamedTuple):
    """How large a part of some moves goes where: S_ap to the right, S_an upwards. They sum to 1."""

    up_right: float
    """Both similarities grow: the negative comes nearer, too."""
    down_right: float
    """What a triplet loss is for."""
    up_left: float
    """The worst: positive away, negative nearer."""
    down_left: float
    """Both fall: the positive is lost with the negative."""
    still: float
    """At least one does not move at all."""


def shares(move: Move) -> Shares:
    """The shares of the four directions. Raises ConfigError without a move."""
    if not move.ap.numel():
        raise ConfigError("The shares of directions need at least one move, but none came.")
    right, left, up, down = move.ap > 0, move.ap < 0, move.an > 0, move.an < 0
    parts = (up & right, down & right, up & left, down & left, ~(right | left) | ~(up | down))
    return Shares(*(float(part.double().mean()) for part in parts))


def square(low: float, high: float, cells: int) -> tuple[Float[Tensor, "c c"], Float[Tensor, "c c"]]:
    """S_ap and S_an at the midpoints of a square's cells, S_ap along the columns and S_an along the rows, float64.

    Midpoints, since nothing moves on the border, where a similarity is 1 or -1.
    """
    if not (-1 <= low < high <= 1 and cells > 0):
        raise ConfigError(f"Expected -1 <= low < high <= 1 and cells > 0, but came {low}, {high} and {cells}.")
    middle = low + (high - low) * (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    return middle.expand(cells, cells), middle.unsqueeze(1).expand(cells, cells)


def _sine(cosine: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    return (1 - cosine.square()).clamp_min(0).sqrt()


def _check(gamma: float | Tensor, lr: float = 1.0) -> None:
    largest = float(torch.as_tensor(gamma).abs().max()) if not isinstance(gamma, Tensor) or gamma.numel() else 0.0
    if not largest <= 1:
        raise ConfigError(f"gamma is a cosine and must lie in [-1, 1], but |gamma| reaches {largest}.")
    if not 0 < lr < math.inf:
        raise ConfigError(f"The learning rate must be positive and finite, but is {lr}.")
