"""Schedules at the moments that their papers name, and the settings they refuse."""

from __future__ import annotations

import math

import pytest

from domainmetric.errors import ConfigError
from domainmetric.schedules import Constant, OneCycle, SigmoidRamp


def test_constant_is_one() -> None:
    assert [Constant().at(p) for p in (0, 0.3, 1)] == [1, 1, 1]


@pytest.mark.parametrize("progress", [0, 0.1, 0.5, 1])
def test_the_ramp_is_that_of_dann(progress: float) -> None:
    expected = 2 / (1 + math.exp(-10 * progress)) - 1
    assert SigmoidRamp().at(progress) == pytest.approx(expected)
    assert SigmoidRamp().at(progress) == pytest.approx(math.tanh(5 * progress))


def test_one_cycle_rises_to_its_peak_and_falls_to_nearly_nothing() -> None:
    cycle = OneCycle(warmup=0.25)
    assert cycle.at(0) == pytest.approx(1 / 25)
    assert cycle.at(0.25) == pytest.approx(1)
    assert cycle.at(1) == pytest.approx(1e-4)
    rising, falling = [cycle.at(p / 100) for p in range(26)], [cycle.at(p / 100) for p in range(25, 101)]
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SigmoidRamp(sharpness=0), "SigmoidRamp.sharpness must be positive, but is 0."),
        (lambda: OneCycle(warmup=0), "OneCycle.warmup must lie strictly between 0 and 1, but is 0."),
        (lambda: OneCycle(warmup=1), "OneCycle.warmup must lie strictly between 0 and 1, but is 1."),
    ],
)
def test_refused_settings(make: type, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
