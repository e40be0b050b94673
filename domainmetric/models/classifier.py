"""The prototype classifier: one direction for each class, cosine as score."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from domainmetric.geometry import normalize


class CosineClassifier(nn.Module):
    """Logits are `scale` times the cosine between an embedding and each learned class prototype."""

    def __init__(self, num_classes: int, embedding_dim: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(normalize(torch.randn(num_classes, embedding_dim)))

    @property
    def prototypes(self) -> Float[Tensor, "k d"]:
        """The unit class directions."""
        return normalize(self.weight.float())

    def forward(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        return self.scale * z.float() @ self.prototypes.T
