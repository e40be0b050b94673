"""Refusals that several losses share."""

from __future__ import annotations

from domainmetric.errors import ConfigError


def check_temperature(loss: object, temperature: float) -> None:
    """Raise ConfigError unless the temperature of `loss` is positive."""
    check_positive(loss, "temperature", temperature)


def check_positive(loss: object, name: str, value: float) -> None:
    """Raise ConfigError unless a field of `loss` is positive."""
    if not value > 0:
        raise ConfigError(f"{type(loss).__name__}.{name} must be positive, but is {value}.")
