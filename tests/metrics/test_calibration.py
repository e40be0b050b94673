"""Calibration: the error against torchmetrics, a temperature against its neighbors, mixtures by what is in them."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional import calibration_error

from domainmetric.errors import ConfigError, DataError
from domainmetric.metrics.calibration import (
    SHARE,
    expected_calibration_error,
    familiarity,
    fit_temperature,
    mixtures,
    thresholds,
)


def drawn(count: int, *, sharpness: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels drawn from their softmax; then the logits are made sharper than that."""
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, 4, generator=draw)
    labels = torch.multinomial(logits.softmax(1), 1, generator=draw).squeeze(1)
    return sharpness * logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_error_is_that_of_torchmetrics(temperature: float) -> None:
    logits, labels = drawn(500, sharpness=2.0)
    theirs = float(calibration_error((logits / temperature).softmax(1), labels, n_bins=15, norm="l1"))
    assert expected_calibration_error(logits, labels, temperature=temperature) == pytest.approx(theirs, abs=1e-6)


def test_logits_are_taken_as_they_are_unless_a_temperature_is_given() -> None:
    logits, labels = drawn(200, sharpness=2.0)
    assert expected_calibration_error(logits, labels) == expected_calibration_error(logits, labels, temperature=1.0)


def test_the_error_of_one_certain_answer_is_whether_it_is_right() -> None:
    logits = torch.tensor([[100.0, 0.0]])
    assert expected_calibration_error(logits, torch.tensor([0])) == pytest.approx(0)
    assert expected_calibration_error(logits, torch.tensor([1])) == pytest.approx(1)


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 2.5])
def test_the_temperature_undoes_what_was_done_to_the_logits(sharpness: float) -> None:
    logits, labels = drawn(20_000, sharpness=sharpness)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(sharpness, rel=0.05)
    assert expected_calibration_error(logits, labels, temperature=temperature) < 0.02

    def surprise(t: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits.double() / t, labels))

    assert all(surprise(temperature) <= surprise(factor * temperature) for factor in (0.95, 0.99, 1.01, 1.05))


def test_labels_that_are_never_missed_have_a_temperature_too() -> None:
    logits = torch.eye(3)
    assert fit_temperature(logits, torch.arange(3)) == pytest.approx(0.05, rel=0.01)
    assert fit_temperature(logits, torch.arange(3).roll(1)) == pytest.approx(20, rel=0.01)


def test_mixtures_are_of_two_classes_and_named_by_the_larger_share() -> None:
    predicted = torch.tensor([0, 0, 1, 2, 1, 0])
    images = (40 * predicted[:, None, None, None]).to(torch.uint8).expand(-1, 2, 2, 1)
    mixed, labels = mixtures(images, predicted, generator=torch.Generator().manual_seed(3))
    assert len(mixed) > 1 and mixed.dtype == torch.uint8 and mixed.shape[1:] == (2, 2, 1)
    others = (mixed[:, 0, 0, 0].float() - SHARE * 40 * labels) / ((1 - SHARE) * 40)
    assert (others - others.round()).abs().max() < 0.05, "what is left is the other class's color"
    assert (others.round() != labels).all() and set(others.round().tolist()) <= {0.0, 1.0, 2.0}


def test_one_class_has_no_mixtures() -> None:
    images = torch.zeros(3, 2, 2, 1, dtype=torch.uint8)
    mixed, labels = mixtures(images, torch.ones(3).long(), generator=torch.Generator())
    assert mixed.shape == (0, 2, 2, 1) and labels.shape == (0,)


def test_familiarity_is_the_cosine_to_the_nearest_class_that_there_is() -> None:
    means = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.6, 0.8]])
    z = torch.tensor([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0]])
    assert familiarity(z, means).tolist() == pytest.approx([0.8, 0.0, 1.0])
    assert float(familiarity(torch.tensor([[-1.0, 0.0]]), means)) == pytest.approx(-0.6), "no class at a mean of zeros"


def test_a_threshold_leaves_its_share_below() -> None:
    familiar = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    for rate, low in thresholds(familiar).items():
        assert float((familiar < low).double().mean()) == pytest.approx(rate, abs=2e-4)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        thresholds(familiar, (5.0,))
    with pytest.raises(DataError, match="came none"):
        thresholds(familiar[:0])
