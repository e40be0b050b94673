"""What is exported gives what the run's own network gives, in any number of images, or is not written."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from domainmetric.cli import main
from domainmetric.embedding import export
from domainmetric.embedding.embedder import Embedder
from domainmetric.embedding.export import Export
from domainmetric.errors import ConfigError
from tests import tiny
from tests.training.running import NAMES

FILE = str(Path(tiny.__file__))


@pytest.fixture(scope="module")
def images(embedder: Embedder) -> Tensor:
    return embedder.side("target").load("test", root=Path(), size=tiny.SIZE).images


def test_both_forms_are_written_checked_and_told(
    folder: Path, embedder: Embedder, images: Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "net.onnx", tmp_path / "net.pt2"]
    words = ["export", str(folder), "--onnx", str(paths[0]), "--torch-export", str(paths[1]), "--file", FILE]
    assert main(words) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-2:] == [str(path) for path in paths]
    assert [line.partition(":")[0] for line in told[:2]] == ["net.onnx", "net.pt2"]
    assert all(float(line.split(" to ")[1].split()[0]) <= 1e-5 for line in told[:2])

    expected = embedder.embed(images[:13])
    model = onnx.load(paths[0])
    facts = {fact.key: fact.value for fact in model.metadata_props}
    assert json.loads(facts["classes"]) == list(tiny.CLASSES) and facts["weights"] == embedder.weights
    assert (facts["domain"], facts["image_size"], facts["channels"], facts["calibrated"]) == (
        "target",
        "16",
        "1",
        "true",
    )
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"
    session = onnxruntime.InferenceSession(paths[0])
    beside = json.loads((tmp_path / "net.pt2.json").read_text())
    assert beside["thresholds"]["0.05"] == embedder.threshold("target", 0.05) and beside["classes"] == list(
        tiny.CLASSES
    )
    program = torch.export.load(paths[1]).module()
    for made in (session.run(None, {"images": images[:13].numpy()}), [x.numpy() for x in program(images[:13])]):
        z, probability, familiarity = made
        np.testing.assert_allclose(z, expected.z, atol=1e-5)
        assert (probability.argmax(1) == expected.label).all()
        np.testing.assert_allclose(probability.max(1), expected.probability, atol=1e-5)
        np.testing.assert_allclose(familiarity, expected.familiarity, atol=1e-5)


class Batchwise(nn.Module):
    """A backbone that depends on the whole batch, also in evaluation."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.inner(images)
        return features + torch.randn(features.shape)


class Deciding(nn.Module):
    """A backbone whose path depends on the values of the images."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.inner(images)
        return features if float(features.sum()) > 0 else -features


@pytest.mark.parametrize(
    ("backbone", "message"),
    [(Batchwise, "was not written: .* differ from the run's by"), (Deciding, "torch cannot write this network")],
)
def test_what_would_differ_is_not_written(
    folder: Path, images: Tensor, tmp_path: Path, backbone: type[nn.Module], message: str
) -> None:
    other = Embedder.load(folder, names=NAMES, device="cpu")
    branch = other.network.branches["target"]
    branch.backbone = backbone(branch.backbone)  # type: ignore[assignment]
    with torch.random.fork_rng(), pytest.raises(ConfigError, match=message):
        Export(embedder=other, domain="target", images=images).torch_export(tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())


def test_a_check_sees_every_batch_and_no_number(embedder: Embedder, images: Tensor) -> None:
    work = Export(embedder=embedder, domain="target", images=images)
    network = embedder.deployed("target")
    seen: list[int] = []

    def good(batch: Tensor) -> tuple[Tensor, ...]:
        seen.append(len(batch))
        return network.run(batch)

    assert work.checked(good, Path("x")) == 0 and seen == [1, 7, len(images) - 8]

    def broken(batch: Tensor) -> tuple[Tensor, ...]:
        z, probability, familiarity = network.run(batch)
        return z, probability, torch.full_like(familiarity, torch.nan) if len(batch) == 7 else familiarity

    with pytest.raises(ConfigError, match="by nan"):
        work.checked(broken, Path("x"))


def test_without_onnx_one_is_told_what_to_install(
    embedder: Embedder, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else find_spec(name))
    with pytest.raises(ConfigError, match=r'needs onnxscript, .* pip install "domainmetric\[onnx\]"'):
        Export(embedder=embedder, domain="target", images=images).onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "RUN"], "Say what to write: domainmetric export RUN"),
        (["export", "--onnx", "a.onnx"], "Usage: domainmetric export RUN"),
        (["export", "RUN", "--onnx", "a.pt"], "must be a .onnx file in a folder that is there, but is a.pt."),
        (["export", "RUN", "--torch-export", "none/a.pt2"], "must be a .pt2 file in a folder that is there"),
        (["export", "RUN", "--onnx", "a.onnx", "--domain", "both"], "--domain must be source or target"),
    ],
    ids=["nothing asked", "no run", "other suffix", "no folder", "other domain"],
)
def test_what_cannot_be_exported_is_told(
    folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder) if word == "RUN" else word for word in words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_network_of_an_unfinished_run_says_that_it_is_not_calibrated(embedder: Embedder, images: Tensor) -> None:
    plain = replace(embedder, confidence={})
    assert Export(embedder=plain, domain="target", images=images).facts["calibrated"] is False
