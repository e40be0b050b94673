"""What a trained network costs in use, beside the bare network: arrays, and a folder of small PNG files.

Command: `python -m experiments.benchmarks.embedding` (`--images 100000` for the whole folder; minutes). Weights are
random, since they cost what trained ones do; the network is that of `quick_full`, and images are grey and have the size
of a run, 32x32, so that nothing is to be framed. `Embedder` and the bare network, which gets ready batches of floats,
take turns, so that both see the same machine; the share is the middle one of all turns, beside the lowest and the
highest. A folder is embedded in a process of its own, as often as `--repeats` says; its largest resident memory is
told, and the bare network runs behind it. The results go to `experiments/benchmarks/embedding.json` and `embedding.md`.

Finding (`--images 20000`, two threads, quiet machine): arrays reach 109% of the bare network's throughput by CPU time
(86 to 145 over the turns; four more measurements in one process 128, 98, 99 and 99), since in use batch normalizations
lie within the convolutions; a folder of small files 51%: reading a PNG with Pillow takes about as long as embedding it.
100,000 files need 1.3 GB, of which the imported libraries take 1.0 before the first image.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from domainmetric import Mnist, Resize
from domainmetric.data.augment import to_float
from domainmetric.embedding.embedder import BATCH, Embedder
from domainmetric.embedding.files import Embedding
from experiments.benchmarks.machine import high_water_mb, in_a_process
from experiments.benchmarks.matching import HERE, Clock, load, publish
from experiments.svhn_to_mnist import quick_full
from experiments.tables import markdown

SIDE, ARRAYS = 32, 16_384
TURN = 4 * BATCH
PER_FOLDER = 1000


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to embed, beside the bare network on the same images."""

    what: str
    images: int
    wall_s: float
    cpu_s: float
    """Of all threads."""
    shares: list[float]
    """Throughput over that of the bare network, of each turn, by CPU time: a busy machine changes that less."""
    peak_mb: float | None = None


def embedder() -> Embedder:
    """An embedder of random weights, as that of a run of `quick_full` would be."""
    experiment = quick_full()
    pair = replace(experiment.data, target=Mnist(framing=Resize()))
    channels = {"source": pair.source.channels, "target": pair.target.channels}
    with torch.random.fork_rng():
        torch.manual_seed(0)
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


def bare(used: Embedder, images: torch.Tensor) -> float:
    """CPU seconds that the network alone takes for images that are ready batches of floats."""
    clock, ready = Clock(), [to_float(part) for part in images.split(BATCH)]
    with torch.inference_mode():
        clock(lambda: [used.network("target", part) for part in ready])
    return clock.cpu


def arrays() -> Row:
    """Arrays of the run's own size."""
    used, clock, shares = embedder(), Clock(), []
    used.embed(pictures(BATCH), domain="target")  # the first time takes longer
    for images in pictures(ARRAYS).split(TURN):
        before, first = clock.cpu, bare(used, images)
        clock(lambda: used.embed(images, domain="target"))  # noqa: B023 (called at once)
        shares.append((first + bare(used, images)) / 2 / (clock.cpu - before))
    return Row(what="arrays", images=ARRAYS, wall_s=clock.wall, cpu_s=clock.cpu, shares=shares)


def folder(count: int, repeats: int) -> Row:
    """A folder of PNG files to one .npz, in a process of its own each time."""
    with tempfile.TemporaryDirectory() as root:
        place = Path(root) / "images"
        for start in range(0, count, PER_FOLDER):
            (place / f"{start:07d}").mkdir(parents=True)
        for row, image in enumerate(
            pictures(min(count, ARRAYS)).numpy()[:, :, :, 0].take(np.arange(count), 0, mode="wrap")
        ):
            Image.fromarray(image).save(place / f"{row // PER_FOLDER * PER_FOLDER:07d}" / f"{row}.png")
        found = [in_a_process("experiments.benchmarks.embedding", "--embed", str(place)) for _ in range(repeats)]
    return Row(
        what="folder of PNG files",
        images=count,
        wall_s=median(one["wall_s"] for one in found),
        cpu_s=median(one["cpu_s"] for one in found),
        shares=[one["bare_cpu_s_per_image"] * count / one["cpu_s"] for one in found],
        peak_mb=max(one["peak_mb"] for one in found),
    )


def embed(place: Path) -> None:
    """The child's work: embed the folder, and tell time, memory, and the time of the bare network, as JSON."""
    clock, used = Clock(), embedder()
    work = Embedding(embedder=used, folder=place, domain="target", output=place.with_name("out.npz"))
    clock(lambda: work.carry_out(lambda total, done: None, lambda more: None))
    peak = high_water_mb(torch.device("cpu"))
    per_image = bare(used, pictures(ARRAYS)) / ARRAYS
    print(json.dumps({"wall_s": clock.wall, "cpu_s": clock.cpu, "peak_mb": peak, "bare_cpu_s_per_image": per_image}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.embedding", description="Embedding.")
    parser.add_argument("--images", type=int, default=10_000, help="files of the folder (default: 10,000)")
    parser.add_argument("--repeats", type=int, default=3, help="how often (default: 3)")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the results")
    parser.add_argument("--embed", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.embed is not None:
        embed(chosen.embed)
        return 0
    rows = [arrays(), folder(chosen.images, chosen.repeats)]
    facts = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "load": load(),
    }
    head = ("", "images", "wall, s", "CPU, s", "images/s of CPU", "of the bare throughput", "each turn", "peak, MB")
    cells = (
        (
            row.what,
            f"{row.images:,}",
            f"{row.wall_s:.1f}",
            f"{row.cpu_s:.1f}",
            f"{row.images / row.cpu_s:,.0f}",
            f"{median(row.shares):.0%}",
            f"{min(row.shares):.0%} to {max(row.shares):.0%}",
            "" if row.peak_mb is None else f"{row.peak_mb:,.0f}",
        )
        for row in rows
    )
    text = f"{markdown(head, cells)}\n\n{', '.join(f'{name} {value}' for name, value in facts.items())}; float32.\n"
    publish(chosen.results, "embedding", text, {**facts, "rows": [asdict(row) for row in rows]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
