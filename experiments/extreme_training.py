"""One training of `experiments.extreme_triplet`: it stops and goes on at will, and ends with its recall.

A run's folder holds what was asked for (settings.json), the state to go on from (checkpoint.safetensors), recall and
loss over the epochs (log.csv), and at the end the encoder (encoder.safetensors) and result.json, with which the run
counts as done.
"""

from __future__ import annotations

import csv
import io
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from domainmetric import ConfigError, Interrupted, TorchvisionBackbone, durable
from domainmetric.data.augment import to_float
from domainmetric.data.sampling import GroupRows
from domainmetric.geometry import normalize
from domainmetric.losses.base import LossValue
from domainmetric.metrics.retrieval import retrieval
from domainmetric.models.network import Branch
from domainmetric.pairs import label_pairs
from domainmetric.randomness import generator, isolated
from domainmetric.serialize import content_hash
from domainmetric.training import runtime
from domainmetric.training.checkpoint import read_json, read_tensors, write_json, write_tensors
from domainmetric.training.folder import lock
from domainmetric.training.progress import Progress
from domainmetric.training.state import group, load_weights
from domainmetric.training.stop import StopFlag
from experiments.extreme_images import Decoded, FlipAndCrop, load
from experiments.extreme_layouts import Benchmark, Photographs, groupable
from experiments.extreme_settings import LOSSES, MINERS, RECALL_AT, Settings

SETTINGS, CHECKPOINT, LOG = "settings.json", "checkpoint.safetensors", "log.csv"
ENCODER, RESULT = "encoder.safetensors", "result.json"
SAVE_S = 600
"""Seconds after which a state is written down, also within an epoch."""


@dataclass
class Record:
    """What a run has done so far."""

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    """A row for each look at the recall."""
    loss: float = 0.0
    """Sum over the steps since the last look."""
    used: float = 0.0
    """The same of the number of triplets."""
    steps: int = 0
    """How many these are."""


class Encoder(nn.Module):
    """A network of torchvision, a linear layer in place of its classifier, and the sphere."""

    def __init__(self, backbone: TorchvisionBackbone, size: int, dim: int) -> None:
        super().__init__()
        self.branch = Branch(backbone, 3, size)
        self.project = nn.Linear(backbone.features(size), dim)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return normalize(self.project(self.branch(images)).float())


@dataclass(eq=False)
class Training:
    """The moving parts of a run."""

    settings: Settings
    benchmark: Benchmark
    folder: Path
    device: torch.device
    workers: int
    record: Record = field(default_factory=Record)

    def __post_init__(self) -> None:
        s = self.settings
        self.train, self.left_out = groupable(self.benchmark.train, s.per_class)
        self.sampler = GroupRows(self.train.labels, s.batch // s.per_class, s.per_class, s.seed, s.benchmark)
        self.steps = s.steps_of_epoch(self.train.labels)
        with isolated(s.seed, "encoder"):
            self.encoder = Encoder(TorchvisionBackbone(name=s.network, weights=s.weights), s.size, s.dim)
        self.encoder.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(self.encoder.parameters(), lr=s.lr, momentum=s.momentum)
        self.saved = time.monotonic()

    def begin(self) -> None:
        """Take up what was written down, or the pretrained weights."""
        if not (self.folder / CHECKPOINT).is_file():
            self.encoder.branch.load_pretrained()
            return
        tensors, facts = read_tensors(self.folder / CHECKPOINT)
        parts = group(tensors)
        load_weights(self.encoder, parts["encoder"])
        self.record = Record(**facts)
        for index, parameter in enumerate(self.encoder.parameters()):
            if str(index) in parts.get("momentum", {}):
                buffer = torch.empty_like(parameter, requires_grad=False).copy_(parts["momentum"][str(index)])
                self.optimizer.state[parameter]["momentum_buffer"] = buffer

    def save(self) -> None:
        """Write down all that moves."""
        tensors = {f"encoder/{name}": value for name, value in self.encoder.state_dict().items()}
        for index, parameter in enumerate(self.encoder.parameters()):
            buffer = self.optimizer.state[parameter].get("momentum_buffer")
            if buffer is not None:
                tensors[f"momentum/{index}"] = buffer
        write_tensors(self.folder / CHECKPOINT, tensors, asdict(self.record))
        self.saved = time.monotonic()

    @property
    def looks(self) -> list[int]:
        """The epochs after which the recall is looked at: before the first, and after the last, too."""
        return sorted({*range(0, self.settings.epochs, self.settings.every), self.settings.epochs})

    @property
    def batches_of_look(self) -> int:
        """Batches that are embedded for it."""
        sides = (self.benchmark.query, self.benchmark.gallery)
        return sum(len(chunks(side, self.settings.batch)) for side in sides if side is not None)

    def go_on(self, stopping: StopFlag, progress: Progress) -> None:
        """Train and look until the end. Raises Interrupted, with all written down, where it is asked to stop."""
        looked = len(self.record.history)
        total = self.settings.epochs * self.steps + len(self.looks) * self.batches_of_look
        progress.phase(self.settings.name, total, self.record.step + looked * self.batches_of_look)
        for epoch in range(self.record.step // self.steps, self.settings.epochs + 1):
            if epoch in self.looks and epoch not in {row["epoch"] for row in self.record.history}:
                self.look(epoch, progress)
                self.save()
            if epoch < self.settings.epochs:
                self.train_epoch(epoch, stopping, progress)

    def train_epoch(self, epoch: int, stopping: StopFlag, progress: Progress) -> None:
        """What is left of an epoch."""
        s = self.settings
        for held in self.optimizer.param_groups:
            held["lr"] = s.lr_at(epoch)
        rows = [self.sampler.rows(step) for step in range(self.record.step, (epoch + 1) * self.steps)]
        self.encoder.train()
        decoded = load(Decoded(self.train.files, s.size), [r.tolist() for r in rows], self.device, self.workers)
        for batch, images in zip(rows, decoded, strict=True):
            views = FlipAndCrop()(images, generator(self.device, s.seed, "views", self.record.step))
            result = self.update(views, self.train.labels[batch].to(self.device))
            self.record.step, self.record.steps = self.record.step + 1, self.record.steps + 1
            self.record.loss += float(result.value.detach())
            self.record.used += float(result.used)
            progress.advance(float(result.value.detach()))
            if stopping():
                self.save()
                raise Interrupted("The run was asked to stop. Its state is saved: the same command goes on with it.")
            if time.monotonic() - self.saved > SAVE_S:
                self.save()

    def update(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, " b"]) -> LossValue:
        """One step."""
        pairs = label_pairs(self.encoder(images), labels)
        draw = generator(self.device, self.settings.seed, "mining", self.record.step)
        result = LOSSES[self.settings.loss].of(pairs, MINERS[self.settings.miner].select(pairs, draw))
        self.optimizer.zero_grad(set_to_none=True)
        result.value.backward()
        self.optimizer.step()
        return result

    def look(self, epoch: int, progress: Progress) -> None:
        """The recall after so many epochs, as a row of the history and of the log."""
        query, gallery = self.benchmark.query, self.benchmark.gallery
        z = self.embed(query, progress)
        searched = z if gallery is None else self.embed(gallery, progress)
        labels = query.labels if gallery is None else gallery.labels
        found = retrieval(
            z,
            query.labels.to(self.device),
            searched,
            labels.to(self.device),
            exclude_self=gallery is None,
            recall_at=RECALL_AT[self.settings.benchmark],
        )
        record = self.record
        means = (
            {"mean_loss": record.loss / record.steps, "triplets": record.used / record.steps} if record.steps else {}
        )
        record.history.append({"epoch": epoch, **means, **found})
        record.loss, record.used, record.steps = 0.0, 0.0, 0
        durable.write(self.folder / LOG, table(record.history))

    @torch.no_grad()
    def embed(self, photographs: Photographs, progress: Progress) -> Float[Tensor, "n d"]:
        """Embeddings of photographs as they are."""
        self.encoder.eval()
        decoded = Decoded(photographs.files, self.settings.size)
        parts = []
        for images in load(decoded, chunks(photographs, self.settings.batch), self.device, self.workers):
            parts.append(self.encoder(to_float(images)))
            progress.advance()
        return torch.cat(parts)

    def result(self) -> dict[str, Any]:
        """What a finished run says: the recall after the last epoch, never the best."""
        sides = {"train": self.train, "query": self.benchmark.query, "gallery": self.benchmark.gallery}
        return {
            **{f"num_{name}": len(side) for name, side in sides.items() if side is not None},
            "left_out": self.left_out,
            **self.record.history[-1],
            "machine": runtime.description(self.device),
        }


def carry_out(
    settings: Settings, benchmark: Benchmark, folder: Path, *, device: torch.device, workers: int
) -> dict[str, Any]:
    """Do what is left to do of a run, alone in its folder. Returns its result."""
    durable.make_folder(folder)
    with lock(folder):
        check_settings(folder, settings, benchmark)
        if not (folder / RESULT).is_file():
            training = Training(settings, benchmark, folder, device, workers)
            training.begin()
            with StopFlag() as stopping, Progress() as progress:
                training.go_on(stopping, progress)
            write_tensors(folder / ENCODER, dict(training.encoder.state_dict()), {})
            write_json(folder / RESULT, training.result())
            durable.remove(folder / CHECKPOINT)
        result: dict[str, Any] = read_json(folder / RESULT)
        return result


def check_settings(folder: Path, settings: Settings, benchmark: Benchmark) -> None:
    """Write down what is asked for. Raises ConfigError where something else was, or the photographs are others."""
    sides = (benchmark.train, benchmark.query, benchmark.gallery)
    listed = [[[file.name for file in s.files], s.labels.tolist()] for s in sides if s is not None]
    now = {**asdict(settings), "photographs": content_hash(listed)}
    if not (folder / SETTINGS).is_file():
        write_json(folder / SETTINGS, now)
    before = read_json(folder / SETTINGS)
    changed = [name for name, value in now.items() if before.get(name) != value]
    if changed:
        told = "; ".join(f"{name} was {before.get(name)} and is {now[name]}" for name in changed)
        raise ConfigError(f"{folder} was begun with other settings: {told}. Name another folder with --results.")


def chunks(photographs: Photographs, size: int) -> list[list[int]]:
    """All rows in their order, `size` at a time."""
    return [part.tolist() for part in torch.arange(len(photographs)).split(size)]


def table(history: list[dict[str, float]]) -> bytes:
    """Rows as CSV; a cell that a row lacks is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[-1]), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue().encode()
