"""Looks during a run and the figures at its end: the mode restored, the parts as asked, the reported head named."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch

from domainmetric.experiment import Experiment
from domainmetric.metrics.selection import Evidence
from domainmetric.models.network import Network
from domainmetric.training import evaluation
from domainmetric.training.batches import RunData
from domainmetric.training.evaluation import Look, encode
from domainmetric.training.final import Final
from tests import tiny
from tests.training.running import wired


@pytest.fixture(scope="module")
def parts() -> tuple[Experiment, Network, RunData]:
    experiment = tiny.experiment(Path("runs"), "mmd")
    state, batches = wired(experiment, "adapt")
    batches.close()
    return experiment, state.network, batches.data


def test_encoding_is_the_network_in_evaluation_mode_and_restores_its_modes(
    parts: tuple[Experiment, Network, RunData], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, network, data = parts
    modes = [module.training for module in network.modules()]
    assert True in modes and False in modes
    before = {name: value.clone() for name, value in network.state_dict().items()}
    whole = encode(network, "target", data.target_test.images)
    monkeypatch.setattr(evaluation, "BATCH", 33)
    torch.testing.assert_close(encode(network, "target", data.target_test.images).z, whole.z, atol=1e-5, rtol=1e-4)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not whole.z.requires_grad


def test_held_out_source_images_are_never_trained_on(parts: tuple[Experiment, Network, RunData]) -> None:
    experiment, _, data = parts
    whole = experiment.data.source.load("train", root=Path(), size=tiny.SIZE)
    train, held = len(data.source_train), len(data.source_validation)
    assert (train, held) == (288, 32)
    every = torch.cat([data.source_train.images, data.source_validation.images]).flatten(1)
    assert torch.equal(every.unique(dim=0), whole.images.flatten(1).unique(dim=0))
    assert data.target_train.labels is None


def test_evidence_has_no_room_for_target_labels(parts: tuple[Experiment, Network, RunData]) -> None:
    experiment, network, data = parts
    evidence = Look.choose(experiment, data).evidence(network)
    assert {field.name for field in fields(Evidence) if "label" in field.name} == {"source_labels"}
    assert len(evidence.target_z) == experiment.evaluation.num_images
    assert len(evidence.source_z) == len(data.source_validation)


def test_what_is_computed_with_target_labels_is_called_oracle(parts: tuple[Experiment, Network, RunData]) -> None:
    experiment, network, data = parts
    look = Look.choose(experiment, data)
    scores = look.scores(look.evidence(network))
    blind = Look(**{**vars(look), "target_labels_oracle": None})
    without = blind.scores(blind.evidence(network))
    assert {name for name in scores if name not in without} == {"eval/target/accuracy_oracle"}
    assert {name: value for name, value in scores.items() if "oracle" not in name} == without


def test_the_reported_accuracy_is_that_of_the_cosine_classifier(parts: tuple[Experiment, Network, RunData]) -> None:
    experiment, network, data = parts
    final = Final(experiment, network, data)
    table = torch.tensor(final.confusion())
    assert data.target_test.labels is not None
    right = encode(network, "target", data.target_test.images).logits.argmax(1) == data.target_test.labels
    accuracy = final.classification()["target_accuracy"]
    assert accuracy == pytest.approx(right.float().mean().item())
    assert table.diagonal().sum() / table.sum() == pytest.approx(accuracy)
    assert table.sum(1).tolist() == torch.bincount(data.target_test.labels).tolist()


def test_the_report_covers_retrieval_both_ways_and_the_gap(parts: tuple[Experiment, Network, RunData]) -> None:
    final = Final(*parts)
    found = final.retrieval()
    assert set(found) == {"target_to_source", "source_to_target", "within_source", "within_target"}
    assert all(0 <= value <= 1 for values in found.values() for value in values.values())
    gap = final.gap()
    assert gap["gap/mmd"] > 0 and 0 <= gap["gap/proxy_a_distance"] <= 2
    assert len(final.embeddings()["z"]) == len(final.embeddings()["domain"]) == 400
