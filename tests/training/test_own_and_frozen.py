"""Runs with a user's network, with frozen ones, and with pretrained weights, which are needed at the start alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from domainmetric.embedding.embedder import Embedder
from domainmetric.errors import ConfigError, RunFolderError
from domainmetric.experiment import Experiment, Optimizer
from domainmetric.models.backbone import Backbone
from domainmetric.models.cnn import SmallCnn
from domainmetric.models.frozen import Frozen
from domainmetric.models.network import Separate
from domainmetric.models.own import OwnBackbone
from domainmetric.serialize import user_names
from domainmetric.training.checkpoint import read_json
from domainmetric.training.phases import new_network
from domainmetric.training.tracking import read_log
from tests import reference, tiny
from tests.training.running import NAMES, after, go_on, same, short, train, weights

SMALL = SmallCnn(widths=(8, 16, 32))
WITH_OWN = NAMES | user_names(vars(reference))


def with_backbones(root: Path, source: Backbone, target: Backbone) -> Experiment:
    """A short run of the whole method."""
    whole = short(tiny.full(root))
    return replace(whole, model=replace(whole.model, branches=Separate(source=source, target=target)))


def of(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(part): value for name, value in tensors.items() if name.startswith(part)}


def alarms(folder: Path) -> list[str]:
    return [str(line) for line in read_log(folder) if "miswired" in str(line).lower()]


@pytest.mark.parametrize(
    "target",
    [pytest.param(SMALL, id="trains", marks=pytest.mark.slow), pytest.param(Frozen(backbone=SMALL), id="frozen")],
)
def test_frozen_backbones_stay_as_they_begin_and_the_head_learns(target: Backbone, tmp_path: Path) -> None:
    experiment = with_backbones(tmp_path, Frozen(backbone=SMALL), target)
    folder = train(experiment)
    began, ended = new_network(experiment, torch.device("cpu")).state_dict(), weights(folder)
    assert same(of(ended, "branches.source."), of(began, "branches.source."))
    if target == SMALL:
        assert not same(of(ended, "branches.target."), of(began, "branches.target."))
    else:  # a copy of the source branch, but for the input layer's channels
        own, copied = of(ended, "branches.target.backbone."), of(began, "branches.source.backbone.")
        assert own.pop("0.weight").shape[1] == 1
        assert same(own, {name: value for name, value in copied.items() if name != "0.weight"})
    assert not torch.equal(ended["head.project.weight"], began["head.project.weight"])
    assert not torch.equal(ended["head.norms.target.running_mean"], began["head.norms.target.running_mean"])
    assert alarms(folder) == []


def test_what_would_train_nothing_is_refused(tmp_path: Path) -> None:
    frozen = Frozen(backbone=SMALL)
    whole = with_backbones(tmp_path, frozen, frozen)
    adapt = whole.phases["adapt"]
    with pytest.raises(ConfigError, match="Nothing moves in phase 'adapt': what it trains is Frozen"):
        replace(whole, phases={**whole.phases, "adapt": replace(adapt, trains=("target_branch",))})
    with pytest.raises(
        ConfigError, match="gives the target branch an optimizer of its own, but its backbone is Frozen"
    ):
        replace(whole, phases={**whole.phases, "adapt": replace(adapt, target_optimizer=Optimizer(lr=1e-4))})


def test_a_users_network_is_known_by_its_functions_name(tmp_path: Path) -> None:
    own = OwnBackbone(function=reference.one_layer, num_features=6)
    folder = train(with_backbones(tmp_path, own, own))
    record = read_json(folder / "experiment.json")["experiment"]["model"]["branches"]["source"]
    assert record == {
        "class": "domainmetric.models.own.OwnBackbone",
        "function": {"function": "user.one_layer"},
        "num_features": 6,
    }
    with pytest.raises(
        RunFolderError, match=r"the function 'one_layer' of a user's file\. Name that file again with --file"
    ):
        Embedder.load(folder, names=NAMES)
    images = torch.randint(256, (3, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    embedder = Embedder.load(folder, names=WITH_OWN)
    assert same(dict(embedder.network.state_dict()), weights(folder))
    assert embedder.embed(images, domain="source").z.shape == (3, 16)


class Unreachable(Exception):
    """Stands for a network that is not there."""


def test_pretrained_weights_are_needed_at_the_beginning_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(spec: SmallCnn, network: nn.Module) -> None:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(0.01)

    def unreachable(spec: SmallCnn, network: nn.Module) -> None:
        raise Unreachable

    monkeypatch.setattr(SmallCnn, "load_pretrained", fill)
    experiment = with_backbones(tmp_path, Frozen(backbone=SMALL), SMALL)
    folder = train(experiment, after(15))
    monkeypatch.setattr(SmallCnn, "load_pretrained", unreachable)
    assert go_on(folder) == folder
    assert (weights(folder)["branches.source.backbone.0.weight"] == 0.01).all()
    Embedder.load(folder, names=NAMES)
    with pytest.raises(Unreachable):
        train(replace(experiment, seed=1))
