"""What a trained network costs in use, beside the bare network: arrays, and a folder of small PNG files.

Command: `python -m experiments.benchmarks.embedding` (`--images 100000` for the whole folder; minutes). Weights are
random, since they cost what trained ones do; the network is that of `quick_full`, and images are grey and have the size
of a run, 32x32, so that nothing is to be framed. With arrays, `Embedder` and the bare network take turns, so that both
see the same machine. The folder is embedded in a process of its own, whose largest resident memory is told. The results
go to `experiments/benchmarks/embedding.json` and `embedding.md`.

Finding (`--images 100000`, one thread, machine loaded, CPU time): arrays reach 89% of the bare network's throughput,
and 85 and 91% in two other measurements, of images that were framed, too. A folder of small files reaches 47%: reading
one takes 88 us, most of it in Pillow, and embedding it 160; the rest goes into listing, keeping and compressing.
100,000 files need 1.3 GB, of which the imported libraries take 1.0 before the first image.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from domainmetric import Mnist, Resize
from domainmetric.data.augment import to_float
from domainmetric.embedding.embedder import BATCH, Embedder
from domainmetric.embedding.files import Embedding
from experiments.benchmarks.matching import HERE, Clock, load, publish
from experiments.svhn_to_mnist import quick_full
from experiments.tables import markdown

SIDE, ARRAYS = 32, 8192
PER_FOLDER = 1000


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to embed, beside the bare network on as many images."""

    what: str
    images: int
    wall_s: float
    cpu_s: float
    """Of all threads."""
    bare_wall_s: float
    bare_cpu_s: float
    peak_mb: float | None = None

    @property
    def share(self) -> float:
        """Throughput over that of the bare network, by CPU time: a busy machine does not change it."""
        return self.bare_cpu_s / self.cpu_s


def embedder() -> Embedder:
    """An embedder of random weights, as that of a run of `quick_full` would be."""
    experiment = quick_full()
    pair = replace(experiment.data, target=Mnist(framing=Resize()))
    torch.manual_seed(0)
    channels = {"source": pair.source.channels, "target": pair.target.channels}
    network = experiment.model.build(channels, SIDE, 10)  # type: ignore[arg-type]
    return Embedder(
        network=network.to(memory_format=torch.channels_last).eval().requires_grad_(False),  # type: ignore[call-overload]
        domains={"source": pair.source, "target": pair.target},
        confidence={},
        image_size=SIDE,
        classes=tuple("0123456789"),
        device=torch.device("cpu"),
        weights="random",
    )


def pictures(count: int) -> torch.Tensor:
    """Grey squares of blurred noise, which compress about as digits do."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 1, 5, 5, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")
    return (smooth.permute(0, 2, 3, 1) - 0.5).clamp(0, 1).mul(510).to(torch.uint8).contiguous()


def arrays() -> Row:
    """Arrays of the run's own size against ready batches of floats."""
    used, images = embedder(), pictures(ARRAYS)
    ours, bare = Clock(), Clock()
    with torch.inference_mode():
        for turn, some in enumerate(images.split(4 * BATCH)):
            ready = [to_float(part) for part in some.split(BATCH)]
            for clock in (ours, bare) if turn % 2 else (bare, ours):
                if clock is ours:
                    clock(lambda: used.embed(some, domain="target"))  # noqa: B023 (called at once)
                else:
                    clock(lambda: [used.network("target", part) for part in ready])  # noqa: B023
    return Row(
        what="arrays",
        images=ARRAYS,
        wall_s=ours.wall,
        cpu_s=ours.cpu,
        bare_wall_s=bare.wall,
        bare_cpu_s=bare.cpu,
    )


def folder(count: int, bare: Row) -> Row:
    """A folder of PNG files to one .npz, in a process of its own."""
    with tempfile.TemporaryDirectory() as root:
        place = Path(root) / "images"
        for start in range(0, count, PER_FOLDER):
            (place / f"{start:07d}").mkdir(parents=True)
        for row, image in enumerate(
            pictures(min(count, ARRAYS)).numpy()[:, :, :, 0].take(np.arange(count), 0, mode="wrap")
        ):
            Image.fromarray(image).save(place / f"{row // PER_FOLDER * PER_FOLDER:07d}" / f"{row}.png")
        words = [sys.executable, "-m", "experiments.benchmarks.embedding", "--embed", str(place)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    scale = count / bare.images
    return Row(
        what="folder of PNG files",
        images=count,
        bare_wall_s=scale * bare.bare_wall_s,
        bare_cpu_s=scale * bare.bare_cpu_s,
        **found,
    )


def embed(place: Path) -> None:
    """The child's work: embed the folder, and tell time and memory as JSON."""
    clock = Clock()
    work = Embedding(embedder=embedder(), folder=place, domain="target", output=place.with_name("out.npz"))
    clock(lambda: work.carry_out(lambda total, done: None, lambda more: None))
    scale = 1024 if sys.platform == "linux" else 1024 * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    print(json.dumps({"wall_s": clock.wall, "cpu_s": clock.cpu, "peak_mb": peak}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.embedding", description="Embedding.")
    parser.add_argument("--images", type=int, default=10_000, help="files of the folder (default: 10,000)")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the results")
    parser.add_argument("--embed", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.embed is not None:
        embed(chosen.embed)
        return 0
    first = arrays()
    rows = [first, folder(chosen.images, first)]
    facts = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "load": load(),
    }
    head = ("", "images", "wall, s", "CPU, s", "images/s of CPU", "bare, CPU s", "of the bare throughput", "peak, MB")
    cells = (
        (
            row.what,
            f"{row.images:,}",
            f"{row.wall_s:.1f}",
            f"{row.cpu_s:.1f}",
            f"{row.images / row.cpu_s:,.0f}",
            f"{row.bare_cpu_s:.1f}",
            f"{row.share:.0%}",
            "" if row.peak_mb is None else f"{row.peak_mb:,.0f}",
        )
        for row in rows
    )
    text = f"{markdown(head, cells)}\n\n{', '.join(f'{name} {value}' for name, value in facts.items())}; float32.\n"
    publish(chosen.results, "embedding", text, {**facts, "rows": [{**asdict(row), "share": row.share} for row in rows]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
