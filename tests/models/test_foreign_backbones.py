"""Networks that others have written: fed as they were trained, grey images too, and clear where they cannot be had."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from domainmetric.errors import ConfigError
from domainmetric.models import torchvision_backbone
from domainmetric.models.backbone import Backbone
from domainmetric.models.frozen import Frozen
from domainmetric.models.hub import official_weights
from domainmetric.models.layers import with_channels
from domainmetric.models.network import Model, Network, Separate, Tied
from domainmetric.models.own import OwnBackbone
from domainmetric.models.timm_backbone import TimmBackbone
from domainmetric.models.torchvision_backbone import SmallResNet18, TorchvisionBackbone
from domainmetric.randomness import isolated
from tests.reference import one_layer

PRETRAINED = TorchvisionBackbone(weights="IMAGENET1K_V1")


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Weights are drawn from torch's own generator, which is put back."""
    with isolated(0, "foreign backbones"):
        yield


def network(backbone: Backbone) -> Network:
    with isolated(0, "network"):
        separate = Separate(source=backbone, target=backbone)
        return Model(branches=separate, embedding_dim=6).build({"source": 3, "target": 1}, 32, 4)


def images(channels: int) -> torch.Tensor:
    return torch.rand(4, channels, 32, 32, generator=torch.Generator().manual_seed(channels))


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """torchvision's ResNet-18 as it would come pretrained, whose weights are found at its address."""
    with isolated(1, "official"):
        trained = resnet18()
    by_url = {"https://download.pytorch.org/models/resnet18-f37072fd.pth": trained.state_dict()}
    monkeypatch.setattr(torchvision_backbone, "official_weights", by_url.__getitem__)
    return trained


def test_a_pretrained_network_is_fed_as_it_was_trained_and_grey_as_color(official: nn.Module) -> None:
    model = network(PRETRAINED)
    before = model.branches["source"].backbone.conv1.weight.clone()
    model.load_pretrained()
    assert not torch.equal(model.branches["source"].backbone.conv1.weight, before)
    model.eval()
    official.fc = nn.Identity()
    official.eval()
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for domain, seen in (("source", images(3)), ("target", images(1).expand(-1, 3, -1, -1))):
        fed = torch.stack([(image - mean[:, None, None]) / deviation[:, None, None] for image in seen])
        shown = seen[:, :1] if domain == "target" else seen
        torch.testing.assert_close(model.branches[domain](shown), official(fed))


def test_tied_and_frozen_pretrained_branches_are_loaded_too(official: nn.Module) -> None:
    with isolated(0, "network"):
        tied = Model(branches=Tied(shared=Frozen(backbone=PRETRAINED))).build({"source": 3, "target": 1}, 32, 4)
    tied.load_pretrained()
    assert torch.equal(tied.branches["target"].backbone.layer4[1].conv2.weight, official.layer4[1].conv2.weight)
    assert tied.branches["source"] is tied.branches["target"] and tied.branches["source"].channels == 3


def test_official_weights_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_backbone, "official_weights", lambda url: {"conv1.weight": torch.zeros(1)})
    with pytest.raises(ConfigError, match="'IMAGENET1K_V1' does not fit its resnet18 as it is") as caught:
        network(PRETRAINED).load_pretrained()
    assert str(caught.value).endswith("Take it from timm, with TimmBackbone(pretrained=True), or take another model.")


@pytest.mark.parametrize(
    "backbone", [TorchvisionBackbone(), pytest.param(SmallResNet18(), marks=pytest.mark.slow), PRETRAINED], ids=repr
)
def test_a_copied_branch_answers_a_grey_image_alike(backbone: Backbone) -> None:
    model = network(backbone)
    model("source", images(3))  # so that the statistics are not those of the start
    model.copy_source_to_target()
    model.eval()
    grey = images(1)
    target, source = model("target", grey), model("source", grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(target.z, source.z, rtol=1e-3, atol=1e-4)


def test_the_input_layer_of_another_number_of_channels_keeps_its_shape_and_bias() -> None:
    grey = images(1)
    for layer in (nn.Conv2d(3, 4, 5, stride=2, padding=1), nn.Conv2d(3, 4, (3, 1), stride=(1, 2), bias=False)):
        color = nn.Sequential(layer)
        expected = color(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(with_channels(color, 1)(grey), expected)


def bytes_of(path: Path) -> str:
    """The beginning of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of weights, named by its hash, at an address that needs no network; the cache is empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    path = tmp_path / "net.pth"
    torch.save({"weight": torch.arange(3.0)}, path)
    return path.rename(tmp_path / f"net-{bytes_of(path)}.pth")


def test_official_weights_are_fetched_once_and_then_found(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.testing.assert_close(official_weights(published.as_uri())["weight"], torch.arange(3.0))
    assert capsys.readouterr().out == ""
    address = published.as_uri()
    published.unlink()
    torch.testing.assert_close(official_weights(address)["weight"], torch.arange(3.0))


def test_a_damaged_file_is_refused_wherever_it_lies(published: Path, tmp_path: Path) -> None:
    official_weights(published.as_uri())
    (cached,) = (tmp_path / "cache").rglob("*.pth")
    cached.write_bytes(cached.read_bytes() + b"x")
    with pytest.raises(ConfigError, match="is damaged or not the official file: its SHA-256 begins with") as caught:
        official_weights(published.as_uri())
    assert bytes_of(cached) in str(caught.value)
    cached.unlink()
    published.write_bytes(b"another file")
    with pytest.raises(ConfigError, match="invalid hash value"):
        official_weights(published.as_uri())
    assert not list((tmp_path / "cache").rglob("*.pth"))


def test_no_pickle_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    class Evil:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return (Path.touch, (tmp_path / "executed",))  # type: ignore[return-value]

    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    evil = (tmp_path / "evil.pth").rename(tmp_path / f"evil-{bytes_of(tmp_path / 'evil.pth')}.pth")
    with pytest.raises(ConfigError, match="UnpicklingError"):
        official_weights(evil.as_uri())
    assert not (tmp_path / "executed").exists()


def test_without_network_the_error_says_where_the_file_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", unreachable)
    with pytest.raises(ConfigError) as caught:
        PRETRAINED.load_pretrained(PRETRAINED.build(3, 32))
    assert str(caught.value) == (
        f"The pretrained weights resnet18-f37072fd.pth are not in {tmp_path}/hub/checkpoints, and fetching them from "
        "https://download.pytorch.org/models/resnet18-f37072fd.pth failed (URLError: <urlopen error no route to host>)"
        ". Fetch the file where there is a network and put it there, under this name; or begin at random, with "
        "weights=None."
    )


def with_more_layers_for_color(channels: int, image_size: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 2 * channels, 3), nn.Conv2d(2 * channels, 6, 3), *one_layer(6, 0)[1:])


def linear(channels: int, image_size: int) -> Any:
    return 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TorchvisionBackbone(name="resnet81"),
            "must be a classification model of torchvision, but is 'resnet81'. Did you mean 'resnet18'?",
        ),
        (
            lambda: TorchvisionBackbone(weights="V1"),
            "torchvision has no weights 'V1' of resnet18. Known: IMAGENET1K_V1.",
        ),
        (
            lambda: TorchvisionBackbone(name="squeezenet1_1").features(8),
            "torchvision's squeezenet1_1 does not take images of 3 x 8 x 8: RuntimeError: ",
        ),
        (
            lambda: OwnBackbone(function=one_layer, num_features=5).build(1, 16),
            "The network of one_layer gives 6 features of an image, but OwnBackbone.num_features says 5. Set it to 6.",
        ),
        (
            lambda: OwnBackbone(function=one_layer, num_features=6).build(1, 2),
            "The network of one_layer(1, 2) does not take images of 1 x 2 x 2: RuntimeError: ",
        ),
        (
            lambda: OwnBackbone(function=linear, num_features=6).build(1, 16),
            "The function linear(1, 16) must return an nn.Module, but returned a int.",
        ),
        (lambda: OwnBackbone(function=one_layer, num_features=0), "num_features must be at least 1, but is 0."),
        (
            lambda: network(OwnBackbone(function=with_more_layers_for_color, num_features=6)).copy_source_to_target(),
            "but 'backbone.0.weight' has the shape (6, 3, 3, 3) in the source branch, and has the shape (2, 1, 3, 3)",
        ),
        (lambda: TimmBackbone(name="resnet18.a1_in1k"), "set it to True, or name the model alone, 'resnet18'."),
    ],
)
def test_refused_backbones(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)


def test_a_network_that_is_only_looked_at_keeps_its_mode_and_statistics() -> None:
    def with_statistics(channels: int, image_size: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm2d(channels), nn.Dropout(), *one_layer(channels, image_size))

    built = OwnBackbone(function=with_statistics, num_features=6).build(3, 16)
    assert built.training and all(module.training for module in built.modules())
    assert int(built[0].num_batches_tracked) == 0


def test_timm_is_asked_for_in_words_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domainmetric.models.timm_backbone.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'which is not installed: pip install "domainmetric\[timm\]"'):
        TimmBackbone()


@pytest.mark.slow  # importing timm takes longer than all others together
@pytest.mark.timeout(600)
@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm, an extra, is not installed")
def test_timms_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    spec, made = TimmBackbone(name="resnet18.a1_in1k", pretrained=True), timm.create_model
    with isolated(2, "timm"):
        trained = made("resnet18", num_classes=0)

    def create(name: str, *, pretrained: bool = False, **options: Any) -> nn.Module:
        return trained if pretrained else made(name, **options)

    monkeypatch.setattr(timm, "create_model", create)
    model = network(spec)
    model.load_pretrained()
    model.eval()
    trained.eval()
    grey = images(1).expand(-1, 3, -1, -1)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    fed = (grey - mean[:, None, None]) / deviation[:, None, None]
    torch.testing.assert_close(model.branches["target"](grey[:, :1]), trained(fed))

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(
        ConfigError, match=r"fetching them \(timm/resnet18.a1_in1k\) failed \(OSError: no route to host\)"
    ):
        spec.load_pretrained(nn.Identity())
    for name, said in (
        ("resnet81", "timm has no model 'resnet81'"),
        ("resnet18.x", "no pretrained weights 'resnet18.x'"),
    ):
        with pytest.raises(ConfigError, match=said):
            TimmBackbone(name=name, pretrained=True).build(3, 32)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["googlenet", "mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf", "squeezenet1_1"]
)
def test_models_of_many_kinds_give_features_when_they_train(name: str) -> None:
    spec = TorchvisionBackbone(name=name)
    with isolated(0, "backbone"):
        built = spec.build(1, 64)
        assert built(images(1).repeat(1, 1, 2, 2)).shape == (4, spec.features(64))
