"""What the numbers of a run depend on: recorded when it is made, and compared when it is continued."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from domainmetric.experiment import Experiment
from domainmetric.serialize import content_hash, import_name, to_json
from domainmetric.training.batches import data_root

MACHINE = ("device", "processes", "threads", "cpu_capability", "python", "versions", "code")
"""What matters in the description of a machine. Its name and the commit do not: the code has a hash of its own."""


def circumstances(experiment: Experiment) -> dict[str, Any]:
    """What a run is made of: hashes of the experiment, the images and the user's own code. Raises DataNotPrepared."""
    return {
        "experiment hash": content_hash(to_json(experiment)),
        "data": data_hashes(experiment),
        "user code": user_code(experiment),
    }


def data_hashes(experiment: Experiment) -> dict[str, Any]:
    """Hashes of both domains' images. Raises DataNotPrepared."""
    root = data_root(experiment)
    return {
        side: getattr(experiment.data, side).hashes(root, size=experiment.image_size) for side in ("source", "target")
    }


def differences(written: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of `now` was otherwise when it was written, each with both values."""
    before, after = ({name: flat(values.get(name)) for name in now} for values in (written, now))
    return [
        f"{name}{part} was {before[name].get(part)} and is {after[name].get(part)}"
        for name in now
        for part in sorted(before[name] | after[name])
        if before[name].get(part) != after[name].get(part) and (name != "machine" or part.split(": ")[1] in MACHINE)
    ]


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, under names such as `: versions: torch`."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {name: leaf for key, item in value.items() for name, leaf in flat(item, f"{prefix}: {key}").items()}


def user_code(value: Any) -> dict[str, str]:
    """Hashes of the files in which the user's classes and functions stand that an experiment uses, by file name.

    What such a file imports is not looked at.
    """
    files: set[Path] = set()
    for part in parts(value):
        if import_name(part).startswith("user."):
            with suppress(TypeError, OSError):  # written at a prompt: there is no file
                files.add(Path(inspect.getfile(part)))
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(file.name, []).append(hashlib.blake2b(file.read_bytes(), digest_size=10).hexdigest())
    return {name: " ".join(sorted(hashes)) for name, hashes in found.items()}


def parts(value: Any) -> Iterator[Any]:
    """Every class and function in an experiment, as often as it occurs."""
    if is_dataclass(value) and not isinstance(value, type):
        yield type(value)
        for field in fields(value):
            yield from parts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from parts(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from parts(item)
    elif inspect.isfunction(value):
        yield value
