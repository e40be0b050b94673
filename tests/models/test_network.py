"""Two branches and a head: unit embeddings, cosine logits, statistics of each domain's own, and the warm start."""

from __future__ import annotations

import pytest
import torch

from domainmetric.errors import ConfigError
from domainmetric.models.classifier import CosineClassifier
from domainmetric.models.cnn import Dtn, SmallCnn
from domainmetric.models.network import (
    Branches,
    DomainName,
    Model,
    Network,
    Separate,
    Tied,
    convert_input,
    to_channels,
)
from domainmetric.models.standardize import standardize
from domainmetric.randomness import isolated
from domainmetric.training.ema import follow, teacher_of

SMALL = SmallCnn(widths=(4, 8))
CHANNELS: dict[DomainName, int] = {"source": 3, "target": 1}


def network(branches: Branches | None = None) -> Network:
    with isolated(0, "network"):
        return Model(branches=branches or Separate(source=SMALL, target=SMALL), embedding_dim=6).build(CHANNELS, 12, 4)


def images(channels: int, n: int = 9) -> torch.Tensor:
    return torch.rand(n, channels, 12, 12, generator=torch.Generator().manual_seed(channels))


@pytest.mark.parametrize("branches", [Separate(source=SMALL, target=SMALL), Tied(shared=SMALL)])
@pytest.mark.parametrize("domain", ["source", "target"])
def test_embeddings_are_unit_and_logits_are_scaled_cosines(branches: Branches, domain: DomainName) -> None:
    model = network(branches)
    encoded = model(domain, images(CHANNELS[domain]))
    torch.testing.assert_close(encoded.z.norm(dim=1), torch.ones(9))
    assert encoded.z.shape == (9, 6) and encoded.logits.shape == (9, 4)
    prototypes = model.classifier.weight / model.classifier.weight.norm(dim=1, keepdim=True)
    torch.testing.assert_close(encoded.logits, 10 * encoded.z @ prototypes.T)


def test_logits_do_not_depend_on_the_length_of_prototypes() -> None:
    with isolated(0, "classifier"):
        classifier = CosineClassifier(4, 6, 10.0)
    z = torch.eye(6)[:3]
    before = classifier(z)
    with torch.no_grad():
        classifier.weight.mul_(7)
    torch.testing.assert_close(classifier(z), before)


def test_each_domain_has_statistics_of_its_own() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model("target", images(1))
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith(("branches.target.", "head.norms.target.")) for name in moved)


def test_tied_branches_are_one() -> None:
    model = network(Tied(shared=SMALL))
    assert model.branches["source"] is model.branches["target"]
    grey = images(1)
    model.eval()
    torch.testing.assert_close(
        model.branches["target"](grey), model.branches["source"](grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5
    )


def test_a_copied_branch_answers_a_grey_image_alike() -> None:
    model = network()
    model("source", images(3))  # so that the statistics are not those of the start
    model.copy_source_to_target()
    model.eval()
    grey = images(1)
    target, source = model("target", grey), model("source", grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(target.z, source.z, rtol=1e-4, atol=1e-5)


def test_copying_leaves_no_shared_memory() -> None:
    model = network()
    model.copy_source_to_target()
    with torch.no_grad():
        for parameter in model.branches["target"].parameters():
            parameter.add_(1)
        model.head.norms["target"].weight.add_(1)  # type: ignore[operator]
    fresh = network()
    for name, value in fresh.branches["source"].state_dict().items():
        assert torch.equal(model.branches["source"].state_dict()[name], value)


def test_input_layers_convert_both_ways() -> None:
    weight = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    grey = images(1)[:, :, :5, :5]
    color = grey.expand(-1, 3, -1, -1)
    one = convert_input(weight, 1)
    torch.testing.assert_close(torch.conv2d(grey, one), torch.conv2d(color, weight))
    torch.testing.assert_close(torch.conv2d(color, convert_input(one, 3)), torch.conv2d(grey, one))


def test_channels_are_repeated_or_averaged() -> None:
    color = images(3)
    assert to_channels(color, 3) is color
    torch.testing.assert_close(to_channels(color, 1), color.mean(1, keepdim=True))
    assert to_channels(images(1), 3).shape == (9, 3, 12, 12)


def test_each_image_is_standardized_by_itself() -> None:
    x = standardize(torch.cat([images(3), torch.full((1, 3, 12, 12), 0.7)]))
    torch.testing.assert_close(x.mean((1, 2, 3)), torch.zeros(10), atol=1e-4, rtol=0)
    torch.testing.assert_close(x[:9].std((1, 2, 3), correction=0), torch.ones(9), atol=1e-2, rtol=0)
    assert x[9].abs().max() < 1e-4
    torch.testing.assert_close(standardize(images(3) * 0.5 + 0.2), standardize(images(3)), atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(
    ("branches", "start"),
    [
        (Separate(source=SMALL, target=SMALL), "copied"),
        (Separate(source=SMALL, target=SMALL, start="cold"), "random"),
        (Separate(source=SMALL, target=Dtn(features_out=SMALL.features(12))), "trained beside"),
        (Tied(shared=SMALL), "shared"),
    ],
)
def test_how_the_target_branch_starts(branches: Branches, start: str) -> None:
    assert branches.target_start == start
    with isolated(0, "dropout"):
        assert network(branches)("target", images(1)).z.shape == (9, 6)


@pytest.mark.parametrize("branches", [Separate(source=SMALL, target=SMALL), Tied(shared=SMALL)])
def test_the_teacher_follows_by_its_decay_and_each_weight_once(branches: Branches) -> None:
    model = network(branches)
    teacher = teacher_of(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    follow(teacher, model, 0.9)
    for name, value in teacher.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.9 * before[name] + 0.1 * model.state_dict()[name])
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not any(module.training for module in teacher.modules())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SmallCnn(widths=()), "SmallCnn.widths must name at least one positive width, but is ()."),
        (lambda: SmallCnn(widths=(8, 0)), "SmallCnn.widths must name at least one positive width, but is (8, 0)."),
        (lambda: Model(embedding_dim=1), "Model.embedding_dim must be at least 2, but is 1."),
        (lambda: Model(scale=0), "Model.scale must be positive, but is 0."),
        (
            lambda: network(Separate(source=SMALL, target=SmallCnn(widths=(4, 4)))),
            "Both branches feed one head, so their features must agree, but they are {'source': 72, 'target': 36}.",
        ),
    ],
)
def test_refused_settings(make: type, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
