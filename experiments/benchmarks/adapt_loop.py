"""pytorch-adapt's DANN as its documentation writes a loop: its hook, its data sets and DataLoaders, albumentations.

Its own trainers do not work with today's PyTorch Ignite, so that the loop around the hook is written out, as in its
documentation ("Hooks"): models and batch go into the hook, which computes the losses and moves the weights. One
generator serves both domains, as everywhere in pytorch-adapt, and so grey images are repeated to three channels.
"""

from __future__ import annotations

import resource
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from domainmetric import Dann, DigitViews, Experiment, ImageSet
from domainmetric.data.view_bank import Pipeline
from domainmetric.models.classifier import CosineClassifier
from domainmetric.models.network import Branch, Head
from domainmetric.training.batches import RunData

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_adapt.datasets import (
        CombinedSourceAndTargetDataset,
        DataloaderCreator,
        SourceDataset,
        TargetDataset,
    )
    from pytorch_adapt.hooks import DANNHook

WORKERS, AHEAD = 2, 4
"""Processes that make batches, and the batches that they make ahead: those are not timed."""
CHANNELS = 3


class Images(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images one by one, each through an albumentations pipeline, in [0, 1]."""

    def __init__(self, images: ImageSet, pipeline: Pipeline) -> None:
        self.images = images.images.cpu().numpy()
        self.labels = np.zeros(len(images), int) if images.labels is None else images.labels.cpu().numpy()
        self.pipeline = pipeline.build()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.pipeline(image=self.images[index])["image"]
        image = np.repeat(image, CHANNELS // image.shape[2], axis=2)
        return torch.from_numpy(image).permute(2, 0, 1).float().div_(255), int(self.labels[index])


class Generator(nn.Module):
    """A branch and the head: images of either domain to unit embeddings."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        size, backbone = experiment.image_size, experiment.model.branches.backbone("source")
        self.branch = Branch(backbone, CHANNELS, size)
        widths = dict.fromkeys(("source", "target"), backbone.features(size))
        self.head = Head(widths, experiment.model.embedding_dim)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        z: Tensor = self.head("source", self.branch(images))
        return z


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A block of steps, in seconds for one."""

    wall: float
    cpu: float
    """Of this process and its workers."""


class AdaptLoop:
    """Their training, in blocks of steps."""

    def __init__(self, experiment: Experiment, data: RunData, batch: int, device: torch.device) -> None:
        dim, hidden = experiment.model.embedding_dim, Dann().hidden
        self.device = device
        self.models = {
            "G": Generator(experiment),
            "C": CosineClassifier(len(experiment.data.classes), dim, experiment.model.scale),
            "D": nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, 1), nn.Flatten(0)),
        }
        for model in self.models.values():
            model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizers = [torch.optim.AdamW(model.parameters(), lr=2e-3) for model in self.models.values()]
        self.hook = DANNHook(optimizers)
        source = SourceDataset(Images(data.source_train, DigitViews(invert=0.5, grey=0.5)))
        target = TargetDataset(Images(data.target_train, DigitViews()))
        creator = DataloaderCreator(batch_size=batch, num_workers=WORKERS)
        self.loader = creator(train=CombinedSourceAndTargetDataset(source, target))["train"]

    def block(self, steps: int) -> Timed:
        """Time some steps, after as many as the workers are ahead. The workers end with the block."""
        children, batches = of_children(), iter(self.loader)
        for _ in range(AHEAD + 1):
            self.step(next(batches))
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.step(next(batches))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        del batches
        made = steps + 2 * AHEAD + 1
        return Timed(wall=wall / steps, cpu=cpu / steps + (of_children() - children) / made)

    def step(self, batch: dict[str, Any]) -> None:
        """As in its documentation: models and batch go into the hook, which also moves the weights."""
        moved = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        for name in ("src_imgs", "target_imgs"):
            moved[name] = moved[name].contiguous(memory_format=torch.channels_last)
        self.hook({**self.models, **moved})


def of_children() -> float:
    """CPU seconds of the processes that this one has seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
