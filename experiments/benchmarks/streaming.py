"""Two domains of a million images: trained from disk, in how much memory, and at what cost beside images on the device?

Command: `python -m experiments.benchmarks.streaming` (minutes; two stores share 3 GB of a temporary folder, which is
removed at the end). The images are uint8, 32x32x3, and random; the experiment is `quick_full`, whose adaptation makes
some steps and a bank refresh. Each way has a process of its own, and told is its largest resident memory, which
counts what it maps of files, too. The CPU time of a step tells more than its wall time where the machine is busy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from domainmetric.data.framing import Framing, Pad
from domainmetric.data.pair import Pair
from domainmetric.data.store import Stream, write_streams
from domainmetric.data.stored import Stored
from domainmetric.training import runtime
from domainmetric.training.batches import load
from domainmetric.training.phases import build, new_network
from domainmetric.training.profile import run
from experiments.benchmarks.machine import facts, high_water_mb
from experiments.benchmarks.matching import HERE, publish
from experiments.benchmarks.step_limit import PHASE, Turns
from experiments.svhn_to_mnist import quick_full
from experiments.tables import markdown

SIDE, CHANNELS, CLASSES, TEST, CHUNK = 32, 3, 10, 1000, 10_000
BAR_MB = 4096


@dataclass(frozen=True, kw_only=True)
class Noise(Stored):
    """A store of random images."""

    framing: Framing = field(default_factory=Pad)
    which: str = "source"

    @property
    def name(self) -> str:
        return f"noise_{self.which}"

    @property
    def channels(self) -> int:
        return CHANNELS

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(str, range(CLASSES)))


def write(root: Path, count: int) -> None:
    """Both stores, which share their arrays."""

    def stream(size: int) -> Stream:
        def batches() -> Iterator[Tensor]:
            draw = np.random.default_rng(0)
            for start in range(0, size, CHUNK):
                shape = (min(CHUNK, size - start), SIDE, SIDE, CHANNELS)
                yield torch.from_numpy(np.frombuffer(draw.bytes(int(np.prod(shape))), np.uint8).reshape(shape).copy())

        labels = np.arange(size, dtype=np.int64) % CLASSES
        return Stream(shape=(size, SIDE, SIDE, CHANNELS), labels=labels, batches=batches())

    one, other = Noise(), Noise(which="target")
    write_streams(root, one.name, {"train": stream(count), "test": stream(TEST)}, classes=one.classes)
    (root / other.name).mkdir()
    for file in (root / one.name).iterdir():
        if file.suffix == ".npy":
            os.link(file, root / other.name / file.name)
    told = json.loads((root / one.name / "manifest.json").read_text())
    (root / other.name / "manifest.json").write_text(json.dumps({**told, "name": other.name}))


def train(root: Path, data: str, steps: int) -> None:
    """In a process of its own: some steps of the adaptation; peak memory and time are printed as JSON."""
    experiment = quick_full()
    settings = replace(experiment.runtime, device="cpu", data=data)  # type: ignore[arg-type]
    experiment = replace(experiment, data=Pair(source=Noise(), target=Noise(which="target")), runtime=settings)
    fabric = runtime.fabric(settings)
    sets = load(experiment, root, fabric.device)
    phase = experiment.phases[PHASE]
    state, batches = build(experiment, new_network(experiment, fabric.device), sets, PHASE, phase)
    turns = Turns(lambda: None, steps, fabric.device)
    with closing(batches):
        run(fabric, experiment, phase, batches, state, turns)
    wall, cpu = (1e3 * median(column) for column in zip(*turns.ours, strict=True))
    print(json.dumps({"data": data, "peak_mb": high_water_mb(fabric.device), "wall_ms": wall, "cpu_ms": cpu}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.streaming", description="Large domains.")
    parser.add_argument("--images", type=int, default=1_000_000, help="of each domain (default: 1,000,000)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--ways", nargs="*", default=["stored", "device"], help="of Runtime.data")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the results")
    parser.add_argument("--train", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.train:
        train(Path(chosen.train[0]), chosen.train[1], chosen.steps)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), chosen.images)
        rows = []
        for way in chosen.ways:
            words = [sys.executable, "-m", "experiments.benchmarks.streaming", "--train", folder, way]
            done = subprocess.run([*words, "--steps", str(chosen.steps)], stdout=subprocess.PIPE, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
    head = ("training images", "peak memory, MB", "bar", "step, ms", "step, CPU ms")
    names = {"stored": "on disk", "device": "on the device"}
    cells = [
        (
            names[row["data"]],
            f"{row['peak_mb']:,.0f}",
            f"{BAR_MB:,}" if row["data"] == "stored" else "",
            f"{row['wall_ms']:.0f}",
            f"{row['cpu_ms']:.0f}",
        )
        for row in rows
    ]
    told = {"images of each domain": chosen.images, **facts(torch.device("cpu"))}
    text = f"{markdown(head, cells)}\n\n{', '.join(f'{name} {value}' for name, value in told.items())}; float32.\n"
    publish(chosen.results, "streaming", text, {**told, "rows": rows})
    return int(any(row["data"] == "stored" and row["peak_mb"] > BAR_MB for row in rows))


if __name__ == "__main__":
    sys.exit(main())
