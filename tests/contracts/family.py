"""Finding every member of a family by walking the package, so that a new file needs no list to be edited."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import domainmetric

T = TypeVar("T")

SKIPPED = ("domainmetric.cli", "domainmetric.__main__")
"""Modules that act when they are imported, or need a terminal."""


@cache
def modules() -> tuple[Any, ...]:
    """Every module of the package."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what dependencies say when they are imported is not this test's business
        for info in pkgutil.walk_packages(domainmetric.__path__, "domainmetric."):
            if not info.name.startswith(SKIPPED) and not info.name.endswith("__main__"):
                found.append(importlib.import_module(info.name))
    return tuple(found)


@cache
def classes(family: type[T]) -> tuple[type[T], ...]:
    """The concrete classes of a family, by name. A family without members fails here."""
    found = {
        value
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, family) and value.__module__ == module.__name__
    }
    concrete = sorted((c for c in found if not inspect.isabstract(c) and c is not family), key=lambda c: c.__name__)
    concrete = [c for c in concrete if not c.__name__.startswith("_")]
    assert concrete, f"the package has no member of {family.__name__}"
    return tuple(concrete)


def members(family: type[T], factories: Mapping[str, Callable[[], T]] | None = None) -> list[T]:
    """One instance of each class: from its factory, or with its defaults where that is possible."""
    made = []
    unknown = set(factories or {}) - {c.__name__ for c in classes(family)}
    assert not unknown, f"factories for classes that are not there: {sorted(unknown)}"
    for cls in classes(family):
        if factories and cls.__name__ in factories:
            made.append(factories[cls.__name__]())
            continue
        try:
            made.append(cls())
        except TypeError as error:
            raise AssertionError(
                f"{cls.__name__} has arguments without defaults ({error}): give its family's test a factory for it."
            ) from error
    return made


def named(member: Any) -> str:
    """The class's name: an id for parametrized tests."""
    return type(member).__name__
