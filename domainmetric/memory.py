"""A cross-batch memory: embeddings of earlier batches as further positives and negatives (XBM; Wang et al. 2020).

A batch is small, but what the network made of the batches before is nearly what it would make of them now, once it
moves slowly. So these embeddings are kept, without gradient, and the anchors of a batch are compared with them too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from domainmetric.errors import ConfigError, DataError
from domainmetric.types import Group


@dataclass(frozen=True, kw_only=True)
class Memory:
    """How much is remembered of each domain, and from when on it is used."""

    size: int = 4096
    """Embeddings of each domain that are kept, the latest ones. Keep it well below the domain's training set, or an
    image meets its own earlier embedding."""
    warmup: int = 100
    """Batches that are remembered before the first embedding is offered, since the network moves fast at first (1,000
    in the paper, where it starts from scratch)."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"Memory.size must be at least 1, but is {self.size}. To do without, set memory=None.")
        if self.warmup < 0:
            raise ConfigError(f"Memory.warmup must not be negative, but is {self.warmup}.")

    def build(self, dim: int) -> CrossBatchMemory:
        """An empty memory of embeddings with `dim` numbers."""
        return CrossBatchMemory(self.size, dim, warmup=self.warmup)


class CrossBatchMemory(nn.Module):
    """A ring of the last `size` embeddings with their labels. All of it lies in buffers, so a state dict holds it.

    In a training step use `enqueue` and `group`, which never wait for the device. Outside of one, `z` and `labels`
    serve as `ref_emb` and `ref_labels` in the plain calls of miners and losses; they wait for it.
    """

    embeddings: Float[Tensor, "b d"]
    held: Int64[Tensor, " b"]
    keep: Bool[Tensor, " b"]
    pointer: Int64[Tensor, ""]
    fill: Int64[Tensor, ""]
    batches: Int64[Tensor, ""]

    def __init__(self, size: int, dim: int, *, warmup: int = 0) -> None:
        super().__init__()
        self.size, self.warmup = size, warmup
        self.register_buffer("embeddings", torch.zeros(size, dim))
        self.register_buffer("held", torch.zeros(size, dtype=torch.int64))  # labels
        self.register_buffer("keep", torch.zeros(size, dtype=torch.bool))  # false where nothing was written yet, too
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))  # the place to be written next
        self.register_buffer("fill", torch.zeros((), dtype=torch.int64))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(
        self, z: Float[Tensor, "r d"], labels: Int64[Tensor, " r"], keep: Bool[Tensor, " r"] | None = None
    ) -> None:
        """Remember a batch in place of what is oldest. Rows that are not to be kept take their place all the same."""
        if z.shape[1] != self.embeddings.shape[1] or len(labels) != len(z):
            raise DataError(
                f"This memory takes embeddings of shape (n, {self.embeddings.shape[1]}) and n labels, but they came as "
                f"{tuple(z.shape)} and {tuple(labels.shape)}."
            )
        skipped = max(0, len(z) - self.size)  # what a large batch would overwrite itself, on a GPU in no known order
        place = (self.pointer + torch.arange(skipped, len(z), device=self.pointer.device)) % self.size
        kept = torch.ones_like(labels, dtype=torch.bool) if keep is None else keep
        self.embeddings.index_copy_(0, place, z[skipped:].to(self.embeddings.dtype))
        self.held.index_copy_(0, place, labels[skipped:])
        self.keep.index_copy_(0, place, kept[skipped:])
        self.pointer.add_(len(z)).remainder_(self.size)
        self.fill.add_(len(z)).clamp_(max=self.size)
        self.batches.add_(1)

    def group(self) -> Group:
        """All places, whether written or not; only what is offered takes part. The next `enqueue` changes it."""
        return Group(z=self.embeddings, labels=self.held, keep=self.keep & (self.batches >= self.warmup))

    @property
    def z(self) -> Float[Tensor, "r d"]:
        """The embeddings that are offered, oldest first."""
        return self.embeddings[self._offered()]

    @property
    def labels(self) -> Int64[Tensor, " r"]:
        """Their labels."""
        return self.held[self._offered()]

    def _offered(self) -> Int64[Tensor, " r"]:
        place = (self.pointer + torch.arange(self.size, device=self.pointer.device)) % self.size  # oldest first
        return place[self.group().kept()[place]]
