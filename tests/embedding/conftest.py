"""One tiny finished run for the tests of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from domainmetric.embedding.embedder import Embedder
from tests import tiny
from tests.training.running import NAMES, short, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(short(tiny.experiment(tmp_path_factory.mktemp("runs"), "mmd")))


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Embedder:
    return Embedder.load(folder, names=NAMES, device="cpu")
