"""Whether memory and disk suffice for a run, estimated before it trains."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from domainmetric.data.room import check_disk, check_memory
from domainmetric.experiment import AdaptationPhase, Experiment
from domainmetric.models.network import Network, evaluating

FLOAT, COPIES = 4, 5
"""Bytes of a number; copies of the weights: themselves, gradients, two moments of AdamW, the teacher."""
CHECKPOINTS = 2
"""The last one, and the one before."""
FIGURES = 32 * 2**20
"""Bytes of pictures, log and report: some ten times what a run of the digits leaves."""
SMALLER = "Use smaller batches, banks, images or networks."


def check_head(experiment: Experiment) -> None:
    """Raise ConfigError where not even the head, which is known before the network is built, finds memory."""
    features = experiment.model.branches.backbone("source").features(experiment.image_size)
    check_memory(COPIES * FLOAT * features * experiment.model.embedding_dim, "This run", SMALLER)


def check_room(experiment: Experiment, folder: Path, network: Network) -> None:
    """Raise ConfigError where the host's memory or the folder's disk is too small for what is left to come.

    At least: gradients, moments and teacher beside the weights, the activations of the largest batch, pairs and banks.
    """
    weights = FLOAT * sum(value.numel() for value in network.state_dict().values())
    rows = max(
        phase.source_batch + (2 * phase.target_batch if isinstance(phase, AdaptationPhase) else 0)
        for phase in experiment.phases.values()
    )
    banks = experiment.banks.source_size + experiment.banks.target_size if experiment.anchors is not None else 0
    memory = (COPIES - 1) * weights + rows * activations(experiment, network) + FLOAT * rows**2
    memory += FLOAT * banks * (experiment.model.embedding_dim + len(experiment.data.classes))
    check_memory(memory, "This run", SMALLER)
    disk = CHECKPOINTS * COPIES * weights + FIGURES
    check_disk(disk, folder, "This run", "Free some space, or choose another place with --runs-root.")


@torch.no_grad()
def activations(experiment: Experiment, network: Network) -> int:
    """Bytes of all that the layers give for one source image."""
    total = 0

    def count(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal total
        if isinstance(output, Tensor) and not list(module.children()):
            total += FLOAT * output.numel()

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    side, device = experiment.image_size, next(network.parameters()).device
    try:
        with evaluating(network):
            network("source", torch.zeros(1, experiment.data.source.channels, side, side, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return total
