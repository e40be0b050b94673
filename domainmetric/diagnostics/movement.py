"""Where one update of an encoder moves the triplets that it was computed on, measured.

S_ap is drawn to the right and S_an upwards, so the wish is down-right. A triplet need not go where its own gradient
points, since all triplets of a batch move through the same weights (Xuan & Pless 2019, "Extreme Triplet Learning").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.func import functional_call

from domainmetric.diagnostics.field import Move, Shares, shares, tangent_cosine
from domainmetric.diagnostics.scatter import Scatter
from domainmetric.geometry import Cosine, normalize
from domainmetric.losses.base import MetricLoss
from domainmetric.miners.base import Miner
from domainmetric.pairs import label_pairs
from domainmetric.types import Triplets


@dataclass(frozen=True, kw_only=True, eq=False)
class Movement:
    """The same triplets before and after an update."""

    before: Scatter
    after: Scatter
    gamma: Float[Tensor, " t"]
    """Before: the cosine of the angle, at the anchor, between the directions to the positive and to the negative."""

    def __len__(self) -> int:
        return len(self.before)

    @property
    def move(self) -> Move:
        """How much each similarity grew."""
        return Move(self.after.s_ap - self.before.s_ap, self.after.s_an - self.before.s_an)

    def shares(self) -> Shares:
        """The share of triplets that moved in each direction. Raises ConfigError where there is no triplet."""
        return shares(self.move)


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrows:
    """Mean moves of the triplets in the cells of a grid, for cells that hold any."""

    s_ap: Float[Tensor, " c"]
    """Centers of the cells."""
    s_an: Float[Tensor, " c"]
    move: Move
    """Mean move of the triplets in each."""
    count: Int64[Tensor, " c"]
    """How many there are."""


def mean_arrows(at: Scatter, move: Move, *, cell: float = 0.1, at_least: int = 1) -> Arrows:
    """The mean move in each square of side `cell` that holds at least `at_least` triplets; the grid begins at -1."""
    num = round(2 / cell)
    column, row = (((s + 1) / cell).long().clamp(0, num - 1) for s in (at.s_ap, at.s_an))
    index, size = row * num + column, num * num
    count = torch.bincount(index, minlength=size)
    kept = (count >= max(1, at_least)).nonzero().squeeze(1)
    mean = [torch.bincount(index, weights=part, minlength=size)[kept] / count[kept] for part in move]
    center = (torch.arange(num, device=kept.device, dtype=at.s_ap.dtype) + 0.5) * cell - 1
    return Arrows(s_ap=center[kept % num], s_an=center[kept // num], move=Move(*mean), count=count[kept])


def direction_agreement(one: Move, other: Move) -> float:
    """Mean cosine between the arrows of two moves, over the triplets that move in both. In [-1, 1]; 0 where none do."""
    a, b = torch.stack(one, 1).double(), torch.stack(other, 1).double()
    length = a.norm(dim=1) * b.norm(dim=1)
    moved = length > 0
    return float(((a * b).sum(1)[moved] / length[moved]).sum()) / max(1, int(moved.sum()))


def joined(movements: Sequence[Movement]) -> Movement:
    """The triplets of several batches as one."""

    def side(parts: list[Scatter]) -> Scatter:
        return Scatter(s_ap=torch.cat([p.s_ap for p in parts]), s_an=torch.cat([p.s_an for p in parts]))

    return Movement(
        before=side([m.before for m in movements]),
        after=side([m.after for m in movements]),
        gamma=torch.cat([m.gamma for m in movements]),
    )


def measure(
    encoder: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int64[Tensor, " n"],
    *,
    miner: Miner,
    losses: Mapping[str, MetricLoss],
    lr: float = 1e-5,
    generator: torch.Generator | None = None,
) -> dict[str, Movement]:
    """One step of plain gradient descent for each loss, all from the same weights and on the same mined triplets.

    `encoder` maps images to embeddings, normalized here; it does not change. Every pass is in evaluation mode on the
    same images, so that the update alone moves anything, and in float64: at `lr` 1e-5 moves are as small as the
    rounding of float32.
    """
    encoder = deepcopy(encoder).double().eval().requires_grad_(True)
    images, weights = images.double(), dict(encoder.named_parameters())
    with torch.enable_grad():
        z = encoder(images)
        pairs = label_pairs(z, labels)
        triplets = miner.select(pairs, generator)
        values = {name: loss.of(pairs, triplets).value for name, loss in losses.items()}
    found = {}
    for name, value in values.items():
        gradients = torch.autograd.grad(value, list(weights.values()), retain_graph=True, materialize_grads=True)
        with torch.no_grad():
            stepped = {key: w - lr * g for (key, w), g in zip(weights.items(), gradients, strict=True)}
            found[name] = between(z, functional_call(encoder, stepped, (images,)), triplets)
    return found


@torch.no_grad()
def between(before: Float[Tensor, "n d"], after: Float[Tensor, "n d"], triplets: Triplets) -> Movement:
    """How the given triplets of a set move from one embedding of it to another."""
    s_ap, s_an, s_pn = _similarities(before, triplets)
    new_ap, new_an, _ = _similarities(after, triplets)
    return Movement(
        before=Scatter(s_ap=s_ap, s_an=s_an),
        after=Scatter(s_ap=new_ap, s_an=new_an),
        gamma=tangent_cosine(s_ap, s_an, s_pn),
    )


def _similarities(z: Float[Tensor, "n d"], triplets: Triplets) -> tuple[Tensor, Tensor, Tensor]:
    """S_ap, S_an and S_pn, from differences, which keep their digits near 1."""
    z = normalize(z.double())
    a, p, n = z[triplets.anchor], z[triplets.positive], z[triplets.negative]
    distance = Cosine()
    return 1 - distance.pairwise(a, p), 1 - distance.pairwise(a, n), 1 - distance.pairwise(p, n)
