"""What the network sees: random views of both domains, as the run's own streams make them, and the figures of these."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from domainmetric.audit.measure import SetFacts, measure
from domainmetric.data.view_bank import AlbumentationsViews
from domainmetric.data.views import Views
from domainmetric.experiment import Experiment
from domainmetric.models.network import DomainName, to_channels
from domainmetric.training.batches import RunData

NUM_VIEWS = 256
"""Views of each domain: enough to tell a share to within some three percent."""
_DEVIATIONS = 2.5


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenViews:
    """Views of one domain."""

    rows: Int64[Tensor, " v"]
    """Their rows in the training set."""
    views: UInt8[np.ndarray, "v h w c"]
    """The views, rounded to whole values."""
    standardized: UInt8[np.ndarray, "v h w c"]
    """What enters the first layer: mean zero is 128, and black and white are 2.5 deviations below and above."""
    facts: SetFacts


def see(experiment: Experiment, data: RunData, side: DomainName) -> SeenViews:
    """Views of images at even distances through a domain's training set. They follow from the experiment alone."""
    images = data.source_train.images if side == "source" else data.target_train.images
    spec = experiment.augmentation.source if side == "source" else experiment.augmentation.target
    rows = torch.linspace(0, len(images) - 1, min(NUM_VIEWS, len(images))).long()
    stream = here(spec).open(images, lambda _: rows, seed=experiment.seed, name=f"audit/{side}", num_steps=1)
    try:
        _, views = stream.at(0)
    finally:
        stream.close()
    pixels = to_pixels(views)
    facts, _ = measure([pixels])
    backbone = experiment.model.branches.backbone(side)
    fed = backbone.standardize(to_channels(views, backbone.sees(views.shape[1])))
    entering = to_pixels(fed / (2 * _DEVIATIONS) + 0.5)
    return SeenViews(rows=rows, views=pixels.numpy(), standardized=entering.numpy(), facts=facts)


def here(spec: Views) -> Views:
    """The same views, pixel by pixel, made in this process: it would not pay to start others for so few."""
    return replace(spec, num_workers=0, block_steps=1) if isinstance(spec, AlbumentationsViews) else spec


def to_pixels(images: Float[Tensor, "n c h w"]) -> UInt8[Tensor, "n h w c"]:
    """Images in [0, 1] as bytes, channels last, on the CPU; what lies outside is cut off."""
    return images.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()
