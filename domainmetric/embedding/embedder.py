"""A trained metric in use: images of either domain to embeddings, classes, and matches across the domains."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from domainmetric.anchors.search import ExactSearch, Search
from domainmetric.data.domain import Domain
from domainmetric.data.pictures import Pictures, batches
from domainmetric.embedding.deployed import Deployed
from domainmetric.errors import ConfigError, DataError
from domainmetric.experiment import Runtime
from domainmetric.models.network import DomainName, Network
from domainmetric.runner import read_experiment
from domainmetric.training import confidence, runtime
from domainmetric.training.checkpoint import read_tensors
from domainmetric.training.confidence import CONFIDENCE, Confidence
from domainmetric.training.phases import MODEL, new_network
from domainmetric.training.state import load_weights

BATCH = 256
"""Images that go through the network together: on a CPU, larger batches no longer fit into its cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """What a network makes of images, row by row as they came."""

    z: Float[NDArray[np.float32], "n d"]
    """Embeddings of length 1: their products are cosine similarities."""
    label: Int64[NDArray[np.int64], " n"]
    """Index of the likeliest class."""
    probability: Float[NDArray[np.float32], " n"]
    """Its probability, calibrated without target labels where the run is finished."""
    familiarity: Float[NDArray[np.float32], " n"]
    """Cosine to the nearest class mean of the domain, in [-1, 1]: low for what is of no class."""


def joined(parts: Sequence[Embedded]) -> Embedded:
    """Several one after another."""
    return Embedded(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Embedded)})


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
    confidence: Mapping[DomainName, Confidence]
    """How the answers for either side are to be read; empty where the run has not finished yet."""
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
        fitted = Path(run) / CONFIDENCE
        return Embedder(
            network=network.eval().requires_grad_(False),
            domains={"source": experiment.data.source, "target": experiment.data.target},
            confidence=confidence.read(fitted) if fitted.is_file() else {},
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
        framed: bool = False,
        advance: Callable[[int], None] = lambda done: None,
    ) -> Embedded:
        """Embeddings and classes of images of one domain: arrays, tensors, PIL images, paths, a folder, a `DataLoader`.

        uint8, of any size and of 1 or 3 channels; they are framed as the domain's own. What `Domain.load` returns has
        been framed: say `framed=True`, or MNIST's, for one, would be cropped again. `advance` is told how many more are
        done. Raises DataError for what is no image, or is framed to another size.
        """
        parts = []
        for made in self.stream(pictures, domain=domain, framed=framed):
            parts.append(made)
            advance(len(made.z))
        return joined(parts)

    def stream(
        self, pictures: Pictures, *, domain: DomainName = "target", framed: bool = False, size: int = BATCH
    ) -> Iterator[Embedded]:
        """The same batch by batch, `size` images at a time: for more than fit into memory."""
        side, network = self.side(domain), self.deployed(domain)

        def frame(images: UInt8[Tensor, "n h w c"]) -> UInt8[Tensor, "n s s c"]:
            return self.as_framed(images) if framed else side.frame(images, self.image_size)

        for images in batches(pictures, channels=side.channels, frame=frame, size=size):
            z, probability, familiarity = network.run(images)
            best = probability.max(1)
            yield Embedded(
                z=z.numpy(),
                label=best.indices.numpy(),
                probability=best.values.numpy(),
                familiarity=familiarity.numpy(),
            )

    def as_framed(self, images: UInt8[Tensor, "n h w c"]) -> UInt8[Tensor, "n s s c"]:
        """Images that need no framing. Raises DataError where their size shows that they do."""
        height, width = images.shape[1:3]
        if (height, width) != (self.image_size, self.image_size):
            raise DataError(
                f"framed=True is for images of {self.image_size}x{self.image_size}, as `Domain.load` returns them, but "
                f"one of {height}x{width} came. Leave it out, and they are framed."
            )
        return images

    def classify(
        self,
        pictures: Pictures,
        *,
        domain: DomainName = "target",
        framed: bool = False,
        reject: float | None = None,
    ) -> list[str | None]:
        """The name of each image's likeliest class; with `reject`, None for what is like no class, as `known` says."""
        made = self.embed(pictures, domain=domain, framed=framed)
        known = np.ones(len(made.label), bool) if reject is None else self.known(made, domain=domain, reject=reject)
        return [self.classes[label] if sure else None for label, sure in zip(made.label, known, strict=True)]

    def known(
        self, made: Embedded, *, domain: DomainName = "target", reject: float = 0.05
    ) -> Bool[NDArray[np.bool_], " n"]:
        """Whether each image that was embedded as one of `domain` is of a class that the network knows.

        `reject` is the share of the domain's own images that one is ready to lose; of images unlike the domain's, far
        more are turned away. The run's report tells the share of test images under `confidence`. Raises ConfigError
        for another share than those that a run keeps, or where the run has not finished.
        """
        return made.familiarity >= self.threshold(domain, reject)

    def threshold(self, domain: DomainName, reject: float) -> float:
        """The familiarity below which that share of a domain's own images lies. Raises ConfigError, as `known` does."""
        self.side(domain)
        if domain not in self.confidence:
            raise ConfigError(
                "What this run does not know cannot be told: it has no confidence.safetensors, which a run writes when "
                "it ends. Finish it with: domainmetric resume RUN"
            )
        thresholds = self.confidence[domain].thresholds
        if reject not in thresholds:
            raise ConfigError(f"reject must be one of {', '.join(map(str, thresholds))}, but is {reject}.")
        return thresholds[reject]

    def side(self, domain: DomainName) -> Domain:
        """The domain of that name. Raises ConfigError for another word."""
        if domain not in self.domains:
            raise ConfigError(f"The domain must be 'source' or 'target', but is '{domain}'.")
        return self.domains[domain]

    def deployed(self, domain: DomainName) -> Deployed:
        """The network for framed images of one domain."""
        return Deployed(self.network, domain, self.confidence.get(domain)).eval()


def match(
    queries: Float[NDArray[Any], "m d"],
    gallery: Float[NDArray[Any], "n d"],
    k: int = 5,
    *,
    search: Search | None = None,
) -> Found:
    """The `k` gallery embeddings most like each query, exactly, by chunks of rows; all where there are fewer.

    Embeddings of both domains live in one space, so the two may come from either. For galleries of a million and more,
    `search=CellSearch()` looks into the nearest cells alone. Raises DataError where they are not embeddings of the same
    network.
    """
    if k < 1:
        raise ConfigError(f"k must be at least 1, but is {k}.")
    both = [torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32)) for z in (queries, gallery)]
    if any(z.ndim != 2 or not len(z) for z in both) or both[0].shape[1] != both[1].shape[1]:
        raise DataError(
            "Queries and gallery must be embeddings of one network, (m d) and (n d), "
            f"but have the shapes {tuple(queries.shape)} and {tuple(gallery.shape)}."
        )
    similarity, index = (search or ExactSearch()).among(both[1])(both[0], k)
    return Found(index=index.numpy(), similarity=similarity.numpy())
