"""A trained metric in use: images of either domain to embeddings, classes, and matches across the domains."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from domainmetric.anchors.search import nearest
from domainmetric.data.augment import to_float
from domainmetric.data.domain import Domain
from domainmetric.data.pictures import Pictures, batches
from domainmetric.errors import ConfigError, DataError
from domainmetric.experiment import Runtime
from domainmetric.models.network import DomainName, Network
from domainmetric.runner import read_experiment
from domainmetric.training import runtime
from domainmetric.training.checkpoint import read_tensors
from domainmetric.training.phases import MODEL, new_network
from domainmetric.training.state import load_weights

BATCH = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """What a network makes of images, row by row as they came."""

    z: Float[NDArray[np.float32], "n d"]
    """Embeddings of length 1: their products are cosine similarities."""
    label: Int64[NDArray[np.int64], " n"]
    """Index of the likeliest class."""
    probability: Float[NDArray[np.float32], " n"]
    """Its softmax probability, not calibrated."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """For each query the gallery items most like it, the best first."""

    index: Int64[NDArray[np.int64], "m k"]
    """Rows of the gallery."""
    similarity: Float[NDArray[np.float32], "m k"]
    """Cosine, in [-1, 1]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedder:
    """The reported network of a finished run."""

    network: Network
    domains: Mapping[DomainName, Domain]
    """How images of either side are framed."""
    image_size: int
    classes: tuple[str, ...]
    device: torch.device
    weights: str
    """A hash of the file of the weights."""

    @staticmethod
    def load(
        run: str | Path, *, device: Literal["auto", "cpu", "cuda"] = "auto", names: Mapping[str, Any] | None = None
    ) -> Embedder:
        """The network that a run reported. `names` are the classes of a user's file, where the run used one.

        Raises RunFolderError where the folder is no run, or has selected no checkpoint yet.
        """
        experiment = read_experiment(Path(run), names)
        place = runtime.fabric(Runtime(device=device)).device
        network = new_network(experiment, place)
        load_weights(network, read_tensors(Path(run) / MODEL)[0])
        return Embedder(
            network=network.eval().requires_grad_(False),
            domains={"source": experiment.data.source, "target": experiment.data.target},
            image_size=experiment.image_size,
            classes=experiment.data.classes,
            device=place,
            weights=hashlib.blake2b((Path(run) / MODEL).read_bytes(), digest_size=10).hexdigest(),
        )

    def embed(
        self,
        pictures: Pictures,
        *,
        domain: DomainName = "target",
        advance: Callable[[int], None] = lambda done: None,
    ) -> Embedded:
        """Embeddings and classes of images of one domain: arrays, tensors, PIL images, paths, or a folder.

        uint8, of any size and of 1 or 3 channels; they are framed as the domain's own. `advance` is told how many more
        are done. Raises DataError for what is no image.
        """
        side = self.side(domain)
        parts = []
        for images in batches(
            pictures, channels=side.channels, frame=lambda i: side.frame(i, self.image_size), size=BATCH
        ):
            parts.append(self.encode(images, domain))
            advance(len(images))
        z, label, probability = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
        return Embedded(z=z, label=label, probability=probability)

    def classify(self, pictures: Pictures, *, domain: DomainName = "target") -> list[str]:
        """The name of each image's likeliest class."""
        return [self.classes[label] for label in self.embed(pictures, domain=domain).label]

    def side(self, domain: DomainName) -> Domain:
        """The domain of that name. Raises ConfigError for another word."""
        if domain not in self.domains:
            raise ConfigError(f"The domain must be 'source' or 'target', but is '{domain}'.")
        return self.domains[domain]

    @torch.inference_mode()
    def encode(self, images: Tensor, domain: DomainName) -> tuple[Tensor, Tensor, Tensor]:
        """Framed uint8 images (n s s c) to embeddings (n d), classes (n) and their probabilities (n), on the CPU."""
        encoded = self.network(domain, to_float(images.to(self.device)))
        best = encoded.logits.float().softmax(1).max(1)
        return encoded.z.float().cpu(), best.indices.cpu(), best.values.cpu()


def match(queries: Float[NDArray[Any], "m d"], gallery: Float[NDArray[Any], "n d"], k: int = 5) -> Found:
    """The `k` gallery embeddings most like each query, exactly, by chunks of rows; all where there are fewer.

    Embeddings of both domains live in one space, so the two may come from either. Raises DataError where they are not
    embeddings of the same network.
    """
    if k < 1:
        raise ConfigError(f"k must be at least 1, but is {k}.")
    both = [torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32)) for z in (queries, gallery)]
    if any(z.ndim != 2 or not len(z) for z in both) or both[0].shape[1] != both[1].shape[1]:
        raise DataError(
            "Queries and gallery must be embeddings of one network, (m d) and (n d), "
            f"but have the shapes {tuple(queries.shape)} and {tuple(gallery.shape)}."
        )
    similarity, index = nearest(both[0], both[1], k)
    return Found(index=index.numpy(), similarity=similarity.numpy())
