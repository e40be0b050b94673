"""Shared by the tests of the metrics."""

from __future__ import annotations

import pytest


@pytest.fixture
def unchecked_shapes(pytestconfig: pytest.Config) -> None:
    """For tests of our own refusals of wrong shapes: jaxtyping's hook, where it is on, would refuse them first."""
    if pytestconfig.getoption("--jaxtyping-packages", default=None):
        pytest.skip("jaxtyping's hook checks the shapes in this run")
