"""What holds for every schedule."""

from __future__ import annotations

import math

import pytest

from domainmetric.schedules import Schedule
from tests.contracts.family import members, named


@pytest.mark.parametrize("schedule", members(Schedule), ids=named)
def test_a_schedule_is_a_finite_factor_between_zero_and_one(schedule: Schedule) -> None:
    values = [schedule.at(step / 100) for step in range(101)]
    assert all(isinstance(value, float) and math.isfinite(value) and 0 <= value <= 1 for value in values)
    assert max(values) > 0.95
    assert values == [schedule.at(step / 100) for step in range(101)]
