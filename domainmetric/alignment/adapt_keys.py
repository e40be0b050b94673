"""Batches under pytorch-adapt's keys, by which it names what flows through its hooks.

Its *features* are here the embeddings z, on which its *logits* rest: so the domains are aligned where all other terms
align them, and a hook has no features left to compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from domainmetric.geometry import at_least_float32
from domainmetric.step import Step
from domainmetric.types import SourceBatch, TargetBatch

FEATURES = ("src_imgs_features", "target_imgs_features")
LOGITS = ("src_imgs_features_logits", "target_imgs_features_logits")


def to_adapt(step: Step) -> dict[str, Tensor]:
    """A step's images, rows, source labels, domains (0 and 1), embeddings and logits. It has no target labels.

    Where several processes share a step, no one has all of the images, and they are left out.
    """
    encoded = {"src": step.encoded_source, "target": step.aligned()}
    assert step.target is not None  # it was encoded
    found = {"src_labels": step.source.labels, "src_sample_idx": step.source.rows}
    found["target_sample_idx"] = step.target.rows
    if len(step.source.images) == len(step.source.rows):  # else other processes have the rest
        found |= {"src_imgs": step.source.images, "target_imgs": step.target.images}
    for number, (name, made) in enumerate(encoded.items()):
        found[f"{name}_domain"] = torch.full((len(made.z),), number, device=made.z.device)
        found[f"{name}_imgs_features"] = at_least_float32(made.z)
        found[f"{name}_imgs_features_logits"] = at_least_float32(made.logits)
    return found


def from_adapt(batch: Mapping[str, Any]) -> tuple[SourceBatch, TargetBatch]:
    """Both batches of what a loader of pytorch-adapt yields; target labels, where it has any, stay behind."""
    images = batch["target_imgs"]
    source = SourceBatch(rows=batch["src_sample_idx"], images=batch["src_imgs"], labels=batch["src_labels"])
    return source, TargetBatch(rows=batch["target_sample_idx"], images=images, clean=images)
