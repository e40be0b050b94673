"""A domain: a named set of images with classes, in a training and a test split.

A domain is a spec, not a data set: it holds no arrays and costs nothing to create, so an experiment can name one, print
it and write it down. Whatever `load` returns is already framed to the size that the networks take.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from jaxtyping import UInt8
from torch import Tensor

from domainmetric.data.framing import Resize
from domainmetric.types import ImageSet

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True, kw_only=True)
class Domain(ABC):
    """Where the images of one side of a pair come from."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short lower-case name, such as `svhn`: it names the store and the runs."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...] | None:
        """Class names; label i means `classes[i]`. None for a domain without labels, which can only be a target."""

    @abstractmethod
    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        """One split, as uint8 images of size x size with their labels, or without where `classes` is None.

        `root` is the folder of the prepared stores; a generated domain does not read it. The images may be
        memory-mapped and must not be written to. Raises DataNotPrepared if the store is missing,
        DataError if it is damaged.
        """

    def array(self, split: Split, *, root: Path, size: int) -> Path | None:
        """The .npy file that holds the very images of `load`, row by row; None where they are made when loaded.

        Large sets are read from it step by step (`Runtime.data`), and need not lie in memory.
        """
        return None

    def frame(self, images: UInt8[Tensor, "n h w c"], size: int) -> UInt8[Tensor, "n {size} {size} c"]:
        """Images of this domain from elsewhere, brought to size x size as `load` brings its own; here resized whole."""
        return Resize().apply(images, size)

    @abstractmethod
    def hashes(self, root: Path, *, size: int) -> dict[str, str]:
        """Content hashes for the record of a run: of the stored arrays, or of the spec where images are generated.

        `size` is that of `load`, for domains that keep their images framed.
        """


def spec_hash(domain: Domain, *, version: int) -> str:
    """sha256 over a generated domain's class, fields and the `version` of its generator.

    Raise `version` whenever the same fields come to mean other images.
    """
    spec = {"class": type(domain).__name__, "version": version, "fields": asdict(domain)}
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
