"""Words of the command line: options taken out, fields named, and complaints put into one sentence.

Apart from `cli` for its length alone. What is written here knows the form of tyro's messages, but not tyro.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from domainmetric.errors import UsageError, nearest

if TYPE_CHECKING:
    from domainmetric.experiment import Experiment

QUOTED = r"'([^']*)'"


def complaint(printed: str, words: list[str], default: Experiment) -> str:
    """Tyro's boxed message as a sentence: what is wrong, and what would be right."""
    lines = [line.strip("│╭╰╮╯ ") for line in printed.splitlines()[1:]]  # the first is a title
    ruled = " ".join(line if line.strip("─-") else "\n" for line in lines if line)  # ruled off by lines or dashes
    parts = [part.strip() for part in ruled.split("\n") if part.strip()]
    text = parts[0]
    unknown = re.match(r"Unrecognized options: (\S+)", text)
    if unknown and unknown[1].startswith("--"):
        name = unknown[1].partition("=")[0]
        return f"The recipe has no field {name}.{similar(name, list(fields(default)))}"
    if unknown:
        return f"'{unknown[1]}' is not understood: a field is changed with --field=value."
    choice = re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)\.", text)
    if choice:
        value, field, choices = choice.groups()
        return f"{field} cannot be '{value}'.{nearest(value, re.findall(QUOTED, choices))}"
    field, _, reason = text.removeprefix("Error parsing ").partition(": ")
    if field.startswith("--"):
        came, _ = option(words, field)
        explained = next((part for part in parts if part.startswith("Argument helptext: ")), "")
        return f"{field} cannot be '{came}'. It is: {explained.removeprefix(f'Argument helptext: {field} ')}."
    return reason if text.startswith("Error parsing ") else text


def fields(value: Any, name: str = "-") -> Iterator[str]:
    """The flags of an experiment: `--seed`, `--phases.source.optimizer.lr` and so on."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inside = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    elif isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        inside = [(str(index), item) for index, item in enumerate(value)]
    else:
        yield name.replace("_", "-")
        return
    for key, item in inside:
        yield from fields(item, f"{name}-{key}" if name == "-" else f"{name}.{key}")


def similar(name: str, known: list[str]) -> str:
    """A sentence that names the fields most like `name`: of the same last part, or spelled alike."""
    last = name.removeprefix("--").rpartition(".")[2]
    alike = [field for field in known if field.removeprefix("--").rpartition(".")[2] == last]
    close = difflib.get_close_matches(name, alike or known, n=3, cutoff=0.0 if alike else 0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def option(words: list[str], name: str) -> tuple[str | None, list[str]]:
    """The value of `--name VALUE` or `--name=VALUE`, and the other words."""
    for index, word in enumerate(words):
        if word.startswith(f"{name}="):
            return word.partition("=")[2], words[:index] + words[index + 1 :]
        if word == name:
            if index + 1 == len(words):
                raise UsageError(f"{name} needs a value.")
            return words[index + 1], words[:index] + words[index + 2 :]
    return None, words


def only(words: list[str], usage: str) -> str:
    """The one word that a command takes."""
    if len(words) != 1 or words[0].startswith("-"):
        raise UsageError(f"Usage: domainmetric {usage}")
    return words[0]
