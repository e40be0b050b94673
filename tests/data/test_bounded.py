"""However many images are converted, and however large, the memory stays the same: few are there at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SIDE, FEW, MANY = 16, 20_000, 200_000
CONVERT = f"""
import sys
from pathlib import Path
import numpy as np
import torch
from domainmetric import FromDataset
from experiments.benchmarks.machine import high_water_mb

class Squares:
    def __init__(self, count):
        self.targets = np.arange(count) % 2
    def __len__(self):
        return len(self.targets)
    def __getitem__(self, index):
        return np.full(({SIDE}, {SIDE}), index % 251, np.uint8), int(self.targets[index])

def few(split):
    return Squares({FEW} if split == "train" else 10)

def many(split):
    return Squares({MANY} if split == "train" else 10)

FromDataset.fingerprint = lambda self: "made"  # there is no file of these functions
for get, count in ((few, {FEW}), (many, {MANY})):
    domain = FromDataset(get=get, classes=("even", "odd"), channels=1)
    made = domain.load("train", root=Path(sys.argv[1]), size={SIDE})
    assert len(made) == count and int(made.images[-1, 0, 0, 0]) == (count - 1) % 251
    print(high_water_mb(torch.device("cpu")))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_times_as_many_images_take_no_more_memory(tmp_path: Path) -> None:
    """In one process, since what the libraries take of it differs from one to the next."""
    command = [sys.executable, "-c", CONVERT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    whole = (MANY - FEW) * SIDE * SIDE / 2**20
    assert after - before < whole / 2, f"{after - before:.0f} MB more, while all images are {whole:.0f} MB"


LARGE = """
import sys
import numpy as np
import torch
from domainmetric.data.framing import Resize
from domainmetric.data.pictures import batches
from experiments.benchmarks.machine import high_water_mb

class Photographs:
    def __init__(self, sides):
        self.sides = sides
    def __len__(self):
        return len(self.sides)
    def __getitem__(self, row):
        return np.full((self.sides[row], self.sides[row], 3), row, np.uint8)

def made(sides):
    parts = list(batches(Photographs(sides), channels=3, frame=lambda images: Resize().apply(images, 16)))
    return torch.cat(parts)[:, 0, 0, 0].tolist()

assert made([1600] * 2) == [0, 1]
before = high_water_mb(torch.device("cpu"))
sides = [1600] * 100 + [1601, 1600] * 10 + [700] * 20
assert made(sides) == list(range(140))
print(high_water_mb(torch.device("cpu")) - before)
"""


@pytest.mark.slow
def test_large_images_are_not_all_there_at_once() -> None:
    command = [sys.executable, "-c", LARGE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 150, f"{float(done.stdout):.0f} MB more, while all images are some 900 MB"
