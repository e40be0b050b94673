"""The page of a large ablation stays one that a browser opens at once, and is made within a minute."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from domainmetric.data.domain import Domain, Split, spec_hash
from domainmetric.data.pair import Pair
from domainmetric.figures.embedding import choose_rows
from domainmetric.randomness import derive
from domainmetric.report.build import make
from domainmetric.report.study import read
from domainmetric.serialize import to_json, user_names
from domainmetric.types import ImageSet
from tests import tiny
from tests.report.made import report, run_folder, write

NUM, SIZE, NUM_MATCHED, NUM_ANCHORS = 4000, 32, 2000, 8
MEGABYTES, SECONDS = 15, 60


@dataclass(frozen=True, kw_only=True)
class Textured(Domain):
    """Colored pictures as detailed as photographs of street numbers: smooth areas, edges and noise of the sensor."""

    of: str

    @property
    def name(self) -> str:
        return self.of

    @property
    def channels(self) -> int:
        return 3

    @property
    def classes(self) -> tuple[str, ...]:
        return tiny.CLASSES

    def load(self, split: Split, *, root: Path, size: int) -> ImageSet:
        rng = torch.Generator().manual_seed(derive(0, self.of, split))
        x = torch.zeros(NUM, 3, size, size)
        for side in (2, 4, 8, 16):  # each finer structure fainter than the one before
            coarse = torch.randn(NUM, 3, side, side, generator=rng) / side
            x += torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
        x = 128 + 120 * x + 3 * torch.randn(x.shape, generator=rng)
        pixels = x.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        return ImageSet(images=pixels, labels=torch.arange(NUM) % len(self.classes), classes=self.classes)

    def hashes(self, root: Path, *, size: int) -> dict[str, str]:
        return {"spec": spec_hash(self, version=1)}


NAMES = user_names({**vars(tiny), "Textured": Textured})


def large_run(folder: Path) -> Path:
    """A run of usual size: thousands of test images, of which the map shows a thousand of each domain."""
    run_folder(folder)
    file = folder / "experiment.json"
    written = json.loads(file.read_text())
    pair = Pair(source=Textured(of="one"), target=Textured(of="other"))
    hashes = {side: getattr(pair, side).hashes(folder, size=SIZE) for side in ("source", "target")}
    experiment = written["experiment"] | {"data": to_json(pair), "image_size": SIZE}
    write(file, written | {"experiment": experiment, "data": hashes})
    return folder


def fill(folder: Path, seed: int) -> None:
    """Arrays of this run: its own embeddings, map and matches."""
    rng = np.random.default_rng(seed)
    label = np.tile(np.arange(NUM) % 4, 2)
    z = rng.normal(size=(2 * NUM, 64)).astype(np.float32)
    domain = np.repeat([0, 1], NUM)
    np.savez(folder / "embeddings.npz", z=z, label=label, prediction=rng.permutation(label), domain=domain)
    source, target = choose_rows(NUM, NUM, seed=seed)
    points = rng.normal(size=(len(source) + len(target), 2))
    rows = {"source_rows": source, "target_rows": target, "pca": points, "share": np.array([0.5, 0.2])}
    np.savez(folder / "projection.npz", **rows, tsne=3 * points)  # type: ignore[arg-type]
    np.savez(
        folder / "matches.npz",
        rows=np.arange(NUM_MATCHED),
        source_index=rng.integers(0, NUM, (NUM_MATCHED, NUM_ANCHORS)),
        label=rng.integers(0, 4, NUM_MATCHED),
        confidence=rng.random(NUM_MATCHED),
        keep=rng.random(NUM_MATCHED) < 0.9,
        similarity=rng.random((NUM_MATCHED, NUM_ANCHORS)),
    )


def write_curves(folder: Path, seed: int) -> None:
    """A log of thirty metrics over two hundred steps, as runs with several terms have it."""
    rng = np.random.default_rng(seed)
    names = [f"loss/term-{at}" for at in range(30)]
    values = rng.random((200, len(names)))
    lines = [
        {"kind": "metrics", "step": 10 * at, "values": dict(zip(names, row, strict=True))}
        for at, row in enumerate(values.tolist())
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("num_variants", "num_seeds"), [(24, 1), (8, 3)])
def test_a_page_of_24_runs_is_small_and_soon_made(num_variants: int, num_seeds: int, tmp_path: Path) -> None:
    folder, entries = tmp_path / "ablation", []
    first = large_run(tmp_path / "first")
    for at in range(num_variants):
        for seed in range(num_seeds):
            run = folder / f"runs/v{at}-s{seed}"
            shutil.copytree(first, run)
            written = json.loads((run / "experiment.json").read_text())
            write(run / "experiment.json", written | {"experiment": written["experiment"] | {"seed": seed}})
            write(run / "report.json", report(f"v{at}", seed, 0.5 + at / 100))
            fill(run, seed=100 * at + seed)
            write_curves(run, seed=100 * at + seed)
            entries.append(
                {"variant": f"v{at}", "seed": seed, "folder": f"runs/{run.name}", "status": "finished", "error": None}
            )
    variants = {f"v{at}": {} for at in range(num_variants)}
    write(folder / "ablation.json", {"name": "large", "variants": variants, "baseline": "v0", "runs": entries})
    assert len(read(folder).runs) == 24
    began = time.perf_counter()
    made = make(folder, names=NAMES)
    seconds = time.perf_counter() - began
    megabytes = made.page.stat().st_size / 1e6
    print(f"{num_variants} variants x {num_seeds} seeds: {megabytes:.1f} MB in {seconds:.0f} s")
    assert made.notes == ()
    assert made.page.read_text().count('id="sheet-') == 2  # with all pictures: of the map, and of the anchors
    assert megabytes < MEGABYTES
    assert seconds < SECONDS
