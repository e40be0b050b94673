"""The code in the docstrings of public names runs as it is written."""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import domainmetric as dm
from tests.experiments.made_digits import write_digits

ELSEWHERE = {
    "CircleLoss": "pytorch_metric_learning.losses",
    "TripletMarginMiner": "pytorch_metric_learning.miners",
    "MCCLoss": "pytorch_adapt.layers",
    "BaseValidator": "pytorch_adapt.validators",
    "NearestSourceValidator": "pytorch_adapt.validators",
    "Path": "pathlib",
}
"""Names that a reader of an example takes from other libraries."""


def docstrings() -> Iterator[tuple[str, str]]:
    """Every public name that has a docstring, and the methods of its own; with the docstring."""
    for name in dm.__all__:
        value = getattr(dm, name)
        methods = (
            {inner: getattr(one, "__func__", one) for inner, one in vars(value).items()}
            if inspect.isclass(value)
            else {}
        )
        for inner, one in {"": value, **methods}.items():
            if (inspect.isfunction(one) or one is value) and (doc := getattr(one, "__doc__", None)):
                yield f"{name}.{inner}".rstrip("."), inspect.cleandoc(doc)


def code(doc: str) -> str:
    """What is indented after an empty line, as the site shows code."""
    found: list[str] = []
    before, inside = "", False
    for line in doc.splitlines():
        indented = line.startswith("    ")
        inside = (indented or (inside and not line.strip())) and (inside or not before.strip())
        found += [line] if inside else []
        before = line
    return textwrap.dedent("\n".join(found)).strip()


def test_examples_are_found_and_none_is_written_in_another_way() -> None:
    found = {name for name, doc in docstrings() if code(doc)}
    assert found >= {"AdaptLayer", "AdaptScore", "PmlLoss", "PmlMiner", "TorchImages"}
    assert [name for name, doc in docstrings() if ">>>" in doc] == []


def test_each_example_runs_and_what_it_defines_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_digits(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "example", ModuleType("example"))  # dataclasses look their module up
    for name, doc in docstrings():
        if example := code(doc):
            home = sys.modules[getattr(dm, name.partition(".")[0]).__module__]
            names: dict[str, Any] = {**vars(home), "Mnist": dm.Mnist, "__name__": "example"}
            names |= {one: getattr(importlib.import_module(place), one) for one, place in ELSEWHERE.items()}
            before = dict(names)
            exec(compile(example, name, "exec"), names)
            made = [value for key, value in names.items() if before.get(key) is not value and key != "__builtins__"]
            assert made, f"The example of {name} makes nothing."
            for value in made:
                if inspect.isclass(value):
                    value().make()
