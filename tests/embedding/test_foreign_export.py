"""Networks that others have written, exported from the command line: the same embeddings, in either form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from domainmetric.cli import main
from domainmetric.embedding.embedder import Embedder
from domainmetric.models.backbone import Backbone
from domainmetric.models.network import Model, Separate
from domainmetric.models.own import OwnBackbone
from domainmetric.models.timm_backbone import TimmBackbone
from domainmetric.models.torchvision_backbone import SmallResNet18, TorchvisionBackbone
from domainmetric.serialize import user_names
from tests import tiny
from tests.training.running import short, train


def own_network(channels: int, image_size: int) -> nn.Module:
    """A network of a user's."""
    return nn.Sequential(nn.Conv2d(channels, 8, 5, 2, 2), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def no_onnx(channels: int, image_size: int) -> nn.Module:
    """One with a layer that ONNX does not know."""
    return nn.Sequential(nn.Conv2d(channels, 8, 5, 2, 2), nn.AdaptiveMaxPool2d(3), nn.Flatten())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "backbone",
    [
        SmallResNet18(),
        TorchvisionBackbone(name="resnet18"),
        TimmBackbone(name="resnet10t"),
        OwnBackbone(function=own_network, num_features=8),
    ],
    ids=lambda backbone: type(backbone).__name__,
)
def test_a_network_of_others_is_exported_from_the_command_line(backbone: Backbone, tmp_path: Path) -> None:
    model = Model(branches=Separate(source=backbone, target=backbone), embedding_dim=16)
    folder = train(short(replace(tiny.experiment(tmp_path, "mmd"), model=model), source=2, adapt=2))
    file = tmp_path / "mine.py"
    file.write_text(f"from {tiny.__name__} import *\nfrom {own_network.__module__} import own_network\n")
    paths = [tmp_path / "net.onnx", tmp_path / "net.pt2"]
    words = ["export", str(folder), "--onnx", str(paths[0]), "--torch-export", str(paths[1]), "--file", str(file)]
    assert main(words) == 0
    embedder = Embedder.load(folder, names=user_names({**vars(tiny), "own_network": own_network}), device="cpu")
    images = embedder.side("target").load("test", root=Path(), size=tiny.SIZE).images[:9]
    expected = embedder.embed(images).z
    session = onnxruntime.InferenceSession(paths[0])
    for z in (session.run(None, {"images": images.numpy()})[0], torch.export.load(paths[1]).module()(images)[0]):
        np.testing.assert_allclose(z, expected, atol=1e-5)


@pytest.mark.slow
def test_a_layer_that_onnx_does_not_know_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backbone = OwnBackbone(function=no_onnx, num_features=72)
    model = Model(branches=Separate(source=backbone, target=backbone), embedding_dim=16)
    folder = train(short(replace(tiny.experiment(tmp_path, "mmd"), model=model), source=2, adapt=2))
    file = tmp_path / "mine.py"
    file.write_text(f"from {tiny.__name__} import *\nfrom {no_onnx.__module__} import no_onnx\n")
    assert main(["export", str(folder), "--onnx", str(tmp_path / "net.onnx"), "--file", str(file)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "cannot be written as ONNX: No ONNX function found for" in said and "use --torch-export" in said
    assert not (tmp_path / "net.onnx").exists()
