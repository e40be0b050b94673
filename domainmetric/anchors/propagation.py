"""Anchors by label spreading over a graph of both domains (Zhou et al. 2004)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.linalg import cg
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, Picker, required
from domainmetric.anchors.by_class import ClassMatcher, Decision
from domainmetric.anchors.search import nearest
from domainmetric.errors import ConfigError
from domainmetric.types import Bank

PRECISION = 1e-8
"""Residual of the linear systems, relative to their right-hand side."""


@dataclass(frozen=True, kw_only=True)
class Propagation(Picker):
    """The source's labels spread over the target bank, along edges between neighbors.

    Each target item is joined to its k nearest source items and to its k nearest other target items, each domain for
    itself as in BBKNN (Polanski et al. 2020), since a gap between the domains would leave hardly an edge across. An
    edge weighs exp((cosine - 1) / temperature). A batch item takes the mean of what its k nearest items of the target
    bank received, weighted by softmax(cosine / temperature). Confidence is its class's share of that.
    """

    k: int = 10
    """Neighbors of each target item, in each domain."""
    spread: float = 0.9
    """Share of what an item is that comes from its neighbors (alpha in the paper); the rest is its own label."""
    temperature: float = 0.1
    """Temperature of the edges."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ConfigError(f"Propagation.k must be at least 1, but is {self.k}.")
        if not 0 < self.spread < 1:
            raise ConfigError(f"Propagation.spread must lie strictly between 0 and 1, but is {self.spread}.")
        if not self.temperature > 0:
            raise ConfigError(f"Propagation.temperature must be positive, but is {self.temperature}.")

    @property
    def needs_target_bank(self) -> bool:
        return True

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _Propagation(self)


class _Propagation(ClassMatcher):
    by_row = True

    def __init__(self, spec: Propagation) -> None:
        super().__init__(spec.num_anchors)
        self.spec = spec

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        target_bank = required(target_bank, "Propagation")
        self.keep_source(source_bank)
        spec = self.spec
        labels = torch.nn.functional.one_hot(self.source.labels, source_bank.logits.shape[1])
        weights = graph(source_bank.z, target_bank.z, spec.k, spec.temperature)
        received = spread_labels(weights, labels.cpu().double().numpy(), spec.spread)[len(source_bank.z) :]
        shares = torch.from_numpy(received / np.maximum(received.sum(1, keepdims=True), np.finfo(np.float64).tiny))
        self.memory |= {"target_z": target_bank.z, "shares": shares.to(target_bank.z)}

    def decide(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Decision:
        similarity, neighbors = nearest(z_t, self.memory["target_z"], self.spec.k)
        weight = (similarity / self.spec.temperature).softmax(1)
        confidence, label = (weight[:, :, None] * self.memory["shares"][neighbors]).sum(1).max(1)
        return Decision(label, confidence, confidence > 0)  # nothing arrives where all edges are too weak for a number


def graph(source: Float[Tensor, "n d"], target: Float[Tensor, "m d"], k: int, temperature: float) -> csr_array:
    """Symmetric weights between all items, the source first: from each target item to its nearest in each domain."""
    across, in_source = nearest(target, source, k)
    within, in_target = nearest(target, target, k + 1)
    itself = in_target == torch.arange(len(target), device=target.device)[:, None]
    within, order = within.masked_fill(itself, -torch.inf).topk(min(k, len(target) - 1), 1)
    columns = torch.cat([in_source, in_target.gather(1, order) + len(source)], 1).cpu().numpy()
    weight = ((torch.cat([across, within], 1).double() - 1) / temperature).exp().cpu().numpy()
    rows = np.repeat(np.arange(len(target)) + len(source), columns.shape[1])
    size = len(source) + len(target)
    listed = csr_array((weight.ravel(), (rows, columns.ravel())), shape=(size, size))
    return listed.maximum(listed.T).tocsr()


def spread_labels(weights: csr_array, labels: np.ndarray, spread: float) -> np.ndarray:
    """The limit of F <- spread S F + (1 - spread) Y, S = D^-1/2 W D^-1/2, for one-hot labels Y (zero where unknown)."""
    degree = np.asarray(weights.sum(1)).ravel()
    scale = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, np.finfo(np.float64).tiny)), 0)
    system = eye_array(len(degree)) - spread * (diags_array(scale) @ weights @ diags_array(scale))
    known = np.zeros((len(degree), labels.shape[1]))
    known[: len(labels)] = (1 - spread) * labels
    columns = [cg(system.tocsr(), column, rtol=PRECISION)[0] for column in known.T]
    return np.stack(columns, 1).clip(min=0)
