"""Who is told about a run, beside its own folder.

Apart from `experiment`, so that the W&B child need not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where a run is shown, besides its own folder. The run folder always has everything."""

    wandb: Literal["auto", "online", "offline", "off"] = "auto"
    """Weights & Biases: "auto" is online when someone is logged in and offline otherwise; WANDB_MODE may lower it."""
    project: str = "domainmetric"
    """The W&B project that the run belongs to."""
    tags: tuple[str, ...] = ()
    """W&B tags of the run."""
    group: str | None = None
    """W&B group of the run, such as an ablation's name; None makes a group of the run's own."""
