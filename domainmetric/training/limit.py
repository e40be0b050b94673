"""The limit of a training step: its networks and nothing else, on random images that lie ready on the device.

What the framework adds to it is data, augmentation, the teacher with its matching and banks, pairs and terms, alarms,
optimizer and host. The limit has none of them: it encodes as many images of each domain as a step does, the matched
anchors that a step encodes again among them, and sends a gradient back from embeddings and logits. Parts that the phase
freezes are frozen here, too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric
from torch import Tensor

from domainmetric.data.augment import to_float
from domainmetric.models.network import DomainName, Network
from domainmetric.training.batches import RunData

Call = tuple[DomainName, torch.Size]
"""A pass through the network: of which domain, and the shape of the images."""
NUM_BATCHES = 2
"""Batches that are encoded in turns, so that no step finds its images in a cache."""


@contextmanager
def calls(network: Network) -> Iterator[list[Call]]:
    """Within it, what a network is asked to encode."""
    seen: list[Call] = []
    handle = network.register_forward_pre_hook(lambda _, given: seen.append((given[0], given[1].shape)))
    try:
        yield seen
    finally:
        handle.remove()


class Limit:
    """Called, it makes one step of the bare networks. They are copies; nothing that trains is touched."""

    def __init__(self, network: Network, passes: Sequence[Call], data: RunData, fabric: Fabric) -> None:
        self.network = copy.deepcopy(network)
        self._fabric, self._turn = fabric, 0
        draw = torch.Generator().manual_seed(0)
        self._batches = [
            [(domain, _images(data, domain, shape, draw)) for domain, shape in passes] for _ in range(NUM_BATCHES)
        ]

    def __call__(self) -> None:
        batch = self._batches[self._turn % NUM_BATCHES]
        self._turn += 1
        with self._fabric.autocast():
            encoded = [self.network(domain, images) for domain, images in batch]
        outputs = [value for one in encoded for value in (one.z, one.logits) if value.requires_grad]
        if outputs:  # a teacher has none
            self.network.zero_grad(set_to_none=True)
            torch.autograd.backward(outputs, [torch.full_like(value, 1 / len(value)) for value in outputs])


def _images(data: RunData, domain: DomainName, shape: torch.Size, draw: torch.Generator) -> Tensor:
    """Random images of a domain in [0, 1]; of the source where a branch is shown the other domain's."""
    count, channels = shape[:2]
    images = data.target_train.images if domain == "target" else data.source_train.images
    if images.shape[-1] != channels:
        images = data.source_train.images
    return to_float(images[torch.randint(len(images), (count,), generator=draw).to(images.device)])
