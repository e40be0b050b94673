"""Lightning Fabric's strategy for several processes: it starts and connects them, and leaves modules as they are."""

from __future__ import annotations

from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn


class Divided(DDPStrategy):
    """DDP without torch's wrapper around the module.

    That wrapper averages the gradients of one forward pass, in which every parameter takes part. Here a step passes
    through two branches of which a phase may train one, and gradients are summed or kept, by whether the rows of one
    process or of all made them (`Team.sum_gradients`): one message, after the backward pass.
    """

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]
        return module
