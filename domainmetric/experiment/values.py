"""Whether every field of an experiment holds a value of its type: Python does not look, and a wrong one may do nothing.

What the command line gives is of its field's type already; a recipe, or the record of another version, may hold
anything. A device that does not exist, for example, must not be taken for another one.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from reprlib import repr
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from domainmetric.errors import ConfigError, nearest

WORDS = {int: "a whole number", float: "a finite number", bool: "True or False", str: "a text", Path: "a Path"}


def check_values(spec: Any, name: str) -> None:
    """Raise ConfigError, naming the field, for the first value below `spec` that is not of its field's type."""
    cls: Any = type(spec)
    hints = hints_of(cls)
    for field in fields(spec):
        value, place = getattr(spec, field.name), f"{name}.{field.name}"
        if field.name in hints and not fits(value, hints[field.name]):
            expected = hints[field.name]
            raise ConfigError(f"{place} must be {described(expected)}, but is {repr(value)}.{alike(value, expected)}")
        for inner, part in specs(value, place):
            check_values(part, inner)


@cache
def hints_of(cls: type) -> dict[str, Any]:
    """The types of a class's fields; none where its file does not import all of them at run time."""
    try:
        return get_type_hints(cls)
    except (NameError, TypeError):
        return {}


def specs(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The specs in a value, with their places."""
    if is_dataclass(value) and not isinstance(value, type):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from specs(item, f"{name}.{key}")
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from specs(item, f"{name}.{index}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, as far as that can be told."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in args)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in args)
    if origin is tuple and len(args) == 2 and args[1] is ...:
        return isinstance(value, tuple) and all(fits(item, args[0]) for item in value)
    if origin is dict:
        return isinstance(value, Mapping) and all(fits(k, args[0]) and fits(v, args[1]) for k, v in value.items())
    if hint is float:
        return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    if hint is int:
        return not isinstance(value, bool) and isinstance(value, Integral)
    return not isinstance(hint, type) or isinstance(value, hint)


def described(hint: Any) -> str:
    """A type in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(described(one) for one in args)
    if origin is Literal:
        return "one of " + ", ".join(repr(one) for one in args)
    if origin in (tuple, dict):
        return f"a {origin.__name__} whose items are each {described(args[0] if origin is tuple else args[1])}"
    if hint is type(None):
        return "None"
    return WORDS.get(hint) or str(getattr(hint, "__name__", hint))


def alike(value: Any, expected: Any) -> str:
    """A closing sentence, where a word is like one that is known."""
    known = [one for one in get_args(expected) if isinstance(one, str)]
    return nearest(value, known) if known and isinstance(value, str) else ""
