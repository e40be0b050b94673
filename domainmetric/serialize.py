"""Experiments as plain JSON and back.

Every spec is written as its class's import name and its fields. Reading rebuilds only classes that are handed in, so
a run folder never decides what is imported.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from domainmetric.errors import RunFolderError, nearest

CLASS, PATH = "class", "path"


def to_json(value: Any) -> Any:
    """A value of dataclasses, mappings, sequences, paths and scalars as plain JSON data."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {CLASS: class_name(type(value)), **fields}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return {PATH: str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"An experiment may hold dataclasses, mappings, tuples, paths and scalars, but not {type(value)}.")


def class_name(cls: type) -> str:
    """Module and name; of a user's file only `user` and the name, since its path is no business of a run folder."""
    inside = cls.__module__.partition(".")[0] == "domainmetric"
    return f"{cls.__module__ if inside else 'user'}.{cls.__qualname__}"


def known_classes() -> dict[str, type]:
    """Every spec class of the installed package, by name."""
    import domainmetric

    found: dict[str, type] = {}
    for module in pkgutil.walk_packages(domainmetric.__path__, "domainmetric."):
        if module.name.startswith(("domainmetric.cli", "domainmetric.training")) or module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.name:
                found[class_name(value)] = value
    return found


def user_classes(namespace: Mapping[str, Any]) -> dict[str, type]:
    """The spec classes that a user's file defines or imports from other files than domainmetric's."""
    classes = [v for v in namespace.values() if isinstance(v, type) and dataclasses.is_dataclass(v)]
    return {class_name(cls): cls for cls in classes if class_name(cls).startswith("user.")}


def from_json(data: Any, classes: Mapping[str, type]) -> Any:
    """Rebuild what `to_json` wrote, using only `classes`. Raises RunFolderError for any other class or wrong field."""
    if isinstance(data, list):
        return tuple(from_json(item, classes) for item in data)
    if not isinstance(data, dict):
        return data
    if set(data) == {PATH}:
        return Path(data[PATH])
    if CLASS not in data:
        return {key: from_json(item, classes) for key, item in data.items()}
    name = data[CLASS]
    if name not in classes:
        if str(name).startswith("user."):
            raise RunFolderError(
                f"This run used the class '{str(name).removeprefix('user.')}' of a user's file. Name that file again "
                "with --file FILE."
            )
        raise RunFolderError(f"This run used the class '{name}', which this version lacks.{nearest(name, classes)}")
    fields = {key: from_json(item, classes) for key, item in data.items() if key != CLASS}
    try:
        return classes[name](**fields)
    except TypeError as error:
        raise RunFolderError(f"This run's record of '{name}' does not fit this version: {error}.") from error


def content_hash(data: Any) -> str:
    """A short hash of JSON data, the same for equal content."""
    return hashlib.blake2b(json.dumps(data, sort_keys=True).encode(), digest_size=10).hexdigest()
