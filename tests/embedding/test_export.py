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

from domainmetric import durable
from domainmetric.cli import main
from domainmetric.data.digits import Mnist
from domainmetric.data.domain import Domain
from domainmetric.data.folder import UnlabelledFolder
from domainmetric.data.framing import CenterCrop, Pad, Resize
from domainmetric.data.imbalanced import Imbalanced
from domainmetric.data.pipelines import DigitViews
from domainmetric.data.with_classes import WithClasses
from domainmetric.embedding import export
from domainmetric.embedding.embedder import Embedder
from domainmetric.embedding.export import Export
from domainmetric.errors import ConfigError, NotWritten
from domainmetric.serialize import from_json, known_names
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
    assert told[2] == (
        "Takes uint8 images (n, 16, 16, 1), framed before: those of grey are brought to that size by Resize()."
    )

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
    assert json.loads(facts["framing"]) == {"class": "domainmetric.data.framing.Resize"}
    assert json.loads(facts["pipeline"]) is None
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


def test_what_the_graph_does_not_frame_is_told_beside_it(embedder: Embedder, images: Tensor) -> None:
    """A program that follows the facts alone gets what the run's own embedder gets of raw images."""
    side = Mnist(framing=CenterCrop(side=12))
    work = Export(embedder=replace(embedder, domains={"target": side}), domain="target", images=images)
    raw = torch.from_numpy(np.pad(images[:5].numpy(), ((0, 0), (6, 6), (6, 6), (0, 0))))
    way = from_json(json.loads(json.dumps(work.facts["framing"])), known_names())
    z = work.program.module()(way.apply(raw, work.facts["image_size"]))[0].numpy()
    np.testing.assert_allclose(z, work.embedder.embed(raw).z, atol=1e-5)
    assert np.abs(z - embedder.embed(raw).z).max() > 0.1
    assert work.expects.endswith("those of mnist are brought to that size by CenterCrop(side=12)")


class Framed(tiny.Grey):
    """A domain that frames in a way of its own."""

    def frame(self, images: Tensor, size: int) -> Tensor:
        return images[:, :size, :size]


class Around(tiny.Grey):
    """A domain around another, whose framing it does not take over."""

    domain = Mnist()


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        (Mnist(), (CenterCrop(side=24), None)),
        (Imbalanced(domain=WithClasses(domain=Mnist(), names={"1": "a", "2": "b"})), (CenterCrop(side=24), None)),
        (UnlabelledFolder(path=Path("x"), channels=1, framing=Pad(), pipeline=DigitViews()), (Pad(), DigitViews())),
        (tiny.Grey(), (Resize(), None)),
        (Around(), (Resize(), None)),
        (Framed(), ("user.Framed.frame", None)),
    ],
    ids=["stored", "inner", "converted", "plain", "around", "own"],
)
def test_the_framing_is_that_of_frame(domain: Domain, expected: object) -> None:
    assert export.framing(domain) == expected


def test_without_a_file_it_goes_into_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both words of the command together, in either order with the run."""
    written = [folder / "network.onnx", folder / "network.pt2"]
    for words in ([str(folder), "--onnx", "--torch-export"], ["--torch-export", "--onnx", str(folder)]):
        assert main(["export", *words, "--file", FILE]) == 0
        assert capsys.readouterr().out.splitlines()[-2:] == [str(path) for path in written]
        for path in [*written, folder / "network.pt2.json"]:
            path.unlink()


@pytest.mark.parametrize("failing", ["net.pt2", "net.pt2.json"])
def test_facts_never_stand_beside_another_network(
    embedder: Embedder, images: Tensor, tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, beside = tmp_path / "net.pt2", tmp_path / "net.pt2.json"
    network.write_text("another network")
    beside.write_text("its facts")
    write = durable.write

    def full(path: Path, payload: bytes) -> None:
        if path.name == failing:
            raise NotWritten(f"Could not write {path}: No space left on device.")
        write(path, payload)

    monkeypatch.setattr(durable, "write", full)
    work = Export(embedder=embedder, domain="target", images=images)
    with pytest.raises(NotWritten):
        work.torch_export(network)
    assert (network.read_bytes() == b"another network") == (failing == "net.pt2") and not beside.exists()
    monkeypatch.undo()
    work.torch_export(network)
    assert json.loads(beside.read_text())["weights"] == embedder.weights


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
