"""Experiments as plain JSON and back.

Every spec is written as its class's import name and its fields, and a function by its import name. Reading knows only
the classes and functions that are handed in, so a run folder never decides what is imported.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from domainmetric.errors import ConfigError, RunFolderError, nearest

CLASS, FUNCTION, PATH = "class", "function", "path"
SPECLESS = ("domainmetric.cli", "domainmetric.training", "domainmetric.report", "domainmetric.audit")
"""Modules without specs, which need not be imported to find them."""


def to_json(value: Any) -> Any:
    """A value of dataclasses, mappings, sequences, functions, paths and scalars as plain JSON data.

    Raises ConfigError for a function that cannot be found again by its name.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {CLASS: import_name(type(value)), **fields}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return {PATH: without_home(str(value))}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if callable(value) and not isinstance(value, type):
        check_function(value)
        return {FUNCTION: import_name(value)}
    raise TypeError(
        f"An experiment may hold dataclasses, mappings, tuples, functions, paths and scalars, but not {type(value)}."
    )


def without_home(text: str, called: str = "~", *, prose: bool = False) -> str:
    """Text in which the user's home folder, whose name is no business of what is kept or sent, is called otherwise.

    In `prose` quotes, spaces and punctuation may follow its name; in a path they would make it another folder's.
    """
    home = re.escape(str(Path.home()).rstrip("/"))
    end = r"(?![\w-]|\.\w)" if prose else r"(?=/|$)"
    return re.sub(rf"(?<![\w.~-]){home}{end}", lambda _: called, text) if home else text


def import_name(value: type | Callable[..., Any]) -> str:
    """Module and name; of a user's file only `user` and the name, since its path is no business of a run folder."""
    inside = str(value.__module__).partition(".")[0] == "domainmetric"
    return f"{value.__module__ if inside else 'user'}.{value.__qualname__}"


def check_function(value: Callable[..., Any]) -> None:
    """Raise ConfigError unless `value` is a function that stands under its own name at the top of a file."""
    if inspect.isfunction(value):
        module = vars(sys.modules[value.__module__]) if value.__module__ in sys.modules else {}
        if value in (module.get(value.__qualname__), value.__globals__.get(value.__qualname__)):
            return
        came = f"{value.__qualname__} is not found there by this name"
    else:
        came = f"{type(value).__name__} is no such function"
    raise ConfigError(
        "A function in an experiment must be defined at the top of a file (`def name(...):`), so that the run's record "
        f"can name it, but {came}. Write a `def` at module level, and give that."
    )


def known_names() -> dict[str, Any]:
    """Every spec class and public function of the installed package, by its import name.

    What a package offers from the files in it is known by the package's name, too: it may have moved into one of them
    after a run was recorded.
    """
    import domainmetric

    found: dict[str, Any] = {}
    for module in pkgutil.walk_packages(domainmetric.__path__, "domainmetric."):
        if module.name.startswith(SPECLESS) or module.name.endswith("__main__"):
            continue
        values = vars(importlib.import_module(module.name)).values()
        named = [value for value in values if nameable(value) and not value.__name__.startswith("_")]
        own = [value for value in named if value.__module__ == module.name]
        offered = [value for value in named if value.__module__.startswith(f"{module.name}.")]
        found |= {f"{module.name}.{value.__qualname__}": value for value in [*own, *offered]}
    return found


def user_names(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The spec classes and functions that a user's file defines, or imports from other files than domainmetric's."""
    named = {import_name(value): value for value in namespace.values() if nameable(value)}
    return {name: value for name, value in named.items() if name.startswith("user.")}


def nameable(value: Any) -> bool:
    """Whether this is a spec class or a function."""
    return inspect.isfunction(value) or (isinstance(value, type) and dataclasses.is_dataclass(value))


def from_json(data: Any, names: Mapping[str, Any]) -> Any:
    """Rebuild what `to_json` wrote from the classes and functions in `names` alone.

    Raises RunFolderError for any other class or function, and for a wrong field.
    """
    if isinstance(data, list):
        return tuple(from_json(item, names) for item in data)
    if not isinstance(data, dict):
        return data
    if set(data) == {PATH}:
        return Path(data[PATH]).expanduser() if str(data[PATH]).split("/")[0] == "~" else Path(data[PATH])
    if set(data) == {FUNCTION} and isinstance(data[FUNCTION], str):
        return look_up(data[FUNCTION], FUNCTION, {name: v for name, v in names.items() if inspect.isfunction(v)})
    if CLASS not in data:
        return {key: from_json(item, names) for key, item in data.items()}
    cls = look_up(data[CLASS], CLASS, {name: value for name, value in names.items() if isinstance(value, type)})
    fields = {key: from_json(item, names) for key, item in data.items() if key != CLASS}
    try:
        return cls(**fields)
    except (TypeError, AttributeError) as error:  # a field too many, or a value of another kind than its field's
        raise RunFolderError(f"This run's record of '{data[CLASS]}' does not fit this version: {error}.") from error


def look_up(name: Any, kind: str, names: Mapping[str, Any]) -> Any:
    """The class or function of this name. Raises RunFolderError where there is none."""
    if isinstance(name, str) and name in names:
        return names[name]
    if str(name).startswith("user."):
        raise RunFolderError(
            f"This run used the {kind} '{str(name).removeprefix('user.')}' of a user's file. Name that file again "
            "with --file FILE."
        )
    raise RunFolderError(f"This run used the {kind} '{name}', which this version lacks.{nearest(str(name), names)}")


def content_hash(data: Any) -> str:
    """A short hash of JSON data, the same for equal content."""
    return hashlib.blake2b(json.dumps(data, sort_keys=True).encode(), digest_size=10).hexdigest()
