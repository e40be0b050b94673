"""Distance-weighted negatives (Wu, Manmatha, Smola & Kraehenbuehl 2017, "Sampling matters in deep embedding learning").

Of points spread evenly over the sphere in n dimensions nearly all lie at the distance sqrt(2) from any given one: their
distances d have the density q(d) ~ d^(n-2) (1 - d^2/4)^((n-3)/2). Uniform sampling so finds negatives at sqrt(2) alone,
where a loss is zero, and hardest negatives are noisy. Weights 1/q(d) spread the negatives over all distances instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from domainmetric.errors import ConfigError
from domainmetric.miners.base import Miner
from domainmetric.miners.drawing import draw_columns, uniform
from domainmetric.miners.listing import listed
from domainmetric.types import Pairs, Triplets


@dataclass(frozen=True, kw_only=True)
class DistanceWeighted(Miner):
    """Every positive of each anchor, with a negative that is drawn with weight 1/q(d) of its distance, the chord.

    An anchor whose negatives all lie beyond `nonzero_loss_cutoff` is dropped.
    """

    cutoff: float = 0.5
    """Chord below which all negatives have the weight of this one, so that the nearest (often mislabelled) do not
    take it all."""
    nonzero_loss_cutoff: float = 1.4
    """Chord beyond which a negative is not drawn, since the loss that is meant has no gradient there."""
    seed: int = 0
    """Seed of the plain call without a generator. In a run the step's generator draws, from the experiment's seed."""

    def __post_init__(self) -> None:
        if not 0 < self.cutoff < self.nonzero_loss_cutoff < 2:
            raise ConfigError(
                "DistanceWeighted needs 0 < cutoff < nonzero_loss_cutoff < 2 (chords of the unit sphere), but they are "
                f"{self.cutoff} and {self.nonzero_loss_cutoff}."
            )

    @torch.no_grad()
    def select(self, pairs: Pairs, generator: torch.Generator | None = None) -> Triplets:
        positives = listed(pairs.positive)
        u = uniform((len(pairs.positive), positives.most), pairs.positive.device, generator, self.seed)
        dim = pairs.rows.z.shape[1]
        drawn = draw_columns(
            pairs.positive.shape, lambda rows: self.weights(pairs.sq_chord[rows], pairs.negative[rows], dim), u
        )
        keep = drawn.possible[positives.row]
        anchor, place = positives.row[keep], positives.place[keep]
        return Triplets(anchor=anchor, positive=positives.column[keep], negative=drawn.column[anchor, place])

    def weights(self, sq_chord: Float[Tensor, "r b"], negative: Bool[Tensor, "r b"], dim: int) -> Float[Tensor, "r b"]:
        """1/q(d) up to a factor for each row, such that the largest is 1; zero where nothing may be drawn."""
        square = sq_chord.clamp_min(self.cutoff**2)
        log_weight = (2 - dim) / 2 * square.log() - (dim - 3) / 2 * torch.log1p(-square / 4)
        log_weight = torch.where(negative & (sq_chord < self.nonzero_loss_cutoff**2), log_weight, -torch.inf)
        largest = log_weight.amax(1, keepdim=True).clamp_min(torch.finfo(log_weight.dtype).min)  # rows of -inf stay so
        return (log_weight - largest).exp()
