"""A trained network written down for other programs: one graph, from images as they are to what is made of them.

The input is uint8, channels last, any number of images at a time, as the domain frames them (`Domain.frame`) at the
run's image size; scaling, channels and standardization are in the graph. Framing is not: the facts that are written
with the graph name it. Outputs are those of `Deployed`. Whatever is written was run before, on images of the domain,
and gave what `Embedder` gives.

ONNX is data alone. A `.pt2` of torch.export is a zip of raw weights and a graph in JSON, but torch also pickles the
example input into it and calls on pickle when it loads one: load those that you trust, or take ONNX.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.export import Dim, ExportedProgram

from domainmetric import durable
from domainmetric.data.converted import Converted
from domainmetric.data.domain import Domain
from domainmetric.data.framing import Framing, Resize
from domainmetric.data.imbalanced import Imbalanced
from domainmetric.data.stored import Stored
from domainmetric.data.view_bank import Pipeline
from domainmetric.data.with_classes import WithClasses
from domainmetric.embedding.deployed import OUTPUTS
from domainmetric.embedding.embedder import BATCH, Embedder
from domainmetric.errors import ConfigError
from domainmetric.models.network import DomainName
from domainmetric.serialize import import_name, to_json

TOLERANCE = 1e-5
"""Largest difference from `Embedder` that an exported network may show, in any output."""
SIZES = (1, 7)
"""Of the first batches of a check: one that was never traced would show if the graph had learned its size by heart."""

Run = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Written:
    """An export that is on the disk."""

    path: Path
    difference: float
    """The largest from `Embedder` in any output."""
    expects: str
    """What images the network takes, for people."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Export:
    """One domain's network of a run, and the images that exports of it are checked on."""

    embedder: Embedder
    """On the CPU."""
    domain: DomainName
    images: UInt8[Tensor, "n s s c"]

    def onnx(self, path: Path) -> Written:
        """Write it for ONNX Runtime and others, with the facts as metadata. Raises ConfigError, as `checked` does.

        Needs the extra `onnx`: pip install "domainmetric[onnx]".
        """
        missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
        if missing:
            raise ConfigError(
                f'ONNX needs {" and ".join(missing)}, not installed here: pip install "domainmetric[onnx]". Or use '
                "--torch-export, which needs torch alone."
            )
        from onnx.helper import set_model_props
        from onnxruntime import InferenceSession

        try:
            made = torch.onnx.export(
                self.program,
                dynamo=True,
                input_names=["images"],
                output_names=list(OUTPUTS),
                dynamic_shapes={"images": {0: "n"}},
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            why: BaseException = error
            while why.__cause__ is not None:  # the innermost says what is missing, the others where
                why = why.__cause__
            raise ConfigError(
                f"This network cannot be written as ONNX: {str(why).rstrip('.')}. Take another layer in its place, or "
                "use --torch-export."
            ) from error
        assert made is not None
        model = made.model_proto
        set_model_props(model, {name: text(value) for name, value in self.facts.items()})
        payload = model.SerializeToString()
        session = InferenceSession(payload, providers=["CPUExecutionProvider"])

        def run(images: Tensor) -> list[Tensor]:
            return [torch.from_numpy(value) for value in session.run(list(OUTPUTS), {"images": images.numpy()})]

        return self.written(path, payload, self.checked(run, path))

    def torch_export(self, path: Path) -> Written:
        """Write it for torch.export.load, with the facts in a JSON file beside it. Raises ConfigError, as `checked`.

        Facts never stand beside another network than their own, whatever interrupts: rather, a network has none.
        """
        file = io.BytesIO()
        torch.export.save(self.program, file)
        payload = file.getvalue()
        difference = self.checked(torch.export.load(io.BytesIO(payload)).module(), path)
        beside = path.with_name(f"{path.name}.json")
        durable.remove(beside)
        written = self.written(path, payload, difference)
        durable.write(beside, (json.dumps(self.facts, indent=2) + "\n").encode())
        return written

    def written(self, path: Path, payload: bytes, difference: float) -> Written:
        """The file on the disk, whole."""
        durable.write(path, payload)
        return Written(path=path, difference=difference, expects=self.expects)

    def checked(self, run: Run, path: Path) -> float:
        """The largest difference between what an export and `Embedder` make of the images.

        Raises ConfigError where it is above the tolerance; then nothing is written.
        """
        first = [size for size in SIZES if size < len(self.images)]
        ours, network = [], self.embedder.deployed(self.domain)
        for batch in self.images.split(first + batches_of(len(self.images) - sum(first))):
            ours += [(a - b).abs().max() for a, b in zip(run(batch), network.run(batch), strict=True)]
        difference = float(torch.stack(ours).max())
        if not difference <= TOLERANCE:
            raise ConfigError(
                f"{path} was not written: the exported network's outputs differ from the run's by {difference:.1g}, of "
                f"which {TOLERANCE:.0g} is allowed. A backbone that acts on whole batches, or at random, in evaluation "
                "cannot be exported."
            )
        return difference

    @cached_property
    def program(self) -> ExportedProgram:
        """The traced graph, for any number of images. Raises ConfigError where torch cannot trace the network."""
        network = deepcopy(self.embedder.deployed(self.domain)).to(memory_format=torch.contiguous_format)
        try:
            return torch.export.export(network, (self.images[:2],), dynamic_shapes=({0: Dim("n")},))
        except Exception as error:  # a user's backbone may fail in any way
            first = str(error).strip().partition("\n")[0]
            raise ConfigError(
                f"torch cannot write this network as one graph ({type(error).__name__}: {first}). Its backbones must "
                "not branch on the values of tensors."
            ) from error

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What a program must know to use the graph."""
        embedder, confidence = self.embedder, self.embedder.confidence.get(self.domain)
        side = embedder.side(self.domain)
        way, pipeline = framing(side)
        return {
            "domainmetric": version("domainmetric"),
            "weights": embedder.weights,
            "domain": self.domain,
            "data": side.name,
            "classes": list(embedder.classes),
            "image_size": embedder.image_size,
            "channels": side.channels,
            "framing": to_json(way),
            "pipeline": to_json(pipeline),
            "calibrated": confidence is not None,
            "thresholds": {} if confidence is None else {str(rate): low for rate, low in confidence.thresholds.items()},
        }

    @property
    def expects(self) -> str:
        """What images the network takes, for people."""
        size, side = self.embedder.image_size, self.embedder.side(self.domain)
        way, pipeline = framing(side)
        before = "" if pipeline is None else f"put through {pipeline} and then "
        return (
            f"uint8 images (n, {size}, {size}, {side.channels}), framed before: those of {side.name} are {before}"
            f"brought to that size by {way}"
        )


def framing(domain: Domain) -> tuple[Framing | str, Pipeline | None]:
    """What `Domain.frame` does: a framing, or the name of a function of one's own, and a pipeline before it."""
    match domain:
        case Imbalanced() | WithClasses():
            return framing(domain.domain)
        case Stored(framing=way):
            return way, None
        case Converted(framing=way, pipeline=pipeline):
            return way, pipeline
    own = next(kind for kind in type(domain).__mro__ if "frame" in vars(kind))
    return Resize() if own is Domain else f"{import_name(own)}.frame", None


def text(value: Any) -> str:
    """A fact as ONNX keeps it: words as they are, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def batches_of(count: int) -> list[int]:
    """Sizes of the batches into which so many images go."""
    return [min(BATCH, count - start) for start in range(0, count, BATCH)]
