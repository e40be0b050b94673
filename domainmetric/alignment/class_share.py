"""How common each class seems to be in the target, and source rows weighed by it ("class weight bias").

Marginal alignment of domains whose classes are not equally common gives some target items to the wrong class: there is
no other way to make the two distributions equal. Weights undo that as far as the shares are known (Yan et al. 2017).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from domainmetric.step import Step

MOMENTUM = 0.9
"""Of the running mean over batches."""
FLOOR = 0.1
"""Of an equal share: the least that a class is taken to have, so that none is lost by a batch without it."""


class ClassShare(nn.Module):
    """The running share of each predicted class in the target, and by it the weight of each source row."""

    share: Float[Tensor, " k"]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("share", torch.full((num_classes,), 1 / num_classes))

    @torch.no_grad()
    def forward(self, step: Step) -> Float[Tensor, " n"]:
        """Weights of the source rows, which sum to 1: together, those of a class weigh as much as its share.

        Of the classes that the source batch has. Counts predictions (the largest logit) of the target batch.
        """
        k = len(self.share)
        seen = F.one_hot(step.aligned().logits.argmax(1), k).float().mean(0)
        self.share.lerp_(seen, 1 - MOMENTUM)
        floored = self.share.clamp_min(FLOOR / k)
        labels = step.source.labels
        counts = torch.zeros_like(floored).index_add_(0, labels, torch.ones_like(floored[labels]))
        weights = (floored / counts.clamp_min(1))[labels]
        return weights / weights.sum()
