"""Directives that take a page's content from the program itself, so that it cannot go stale.

`{public} PACKAGE ...` documents every public name whose home is in one of these packages, `{family} CLASS` the members
of a family that are no public names. `{about} NAME` tells what the docstring of a family's member says, an alarm's
meaning and advice too. `{output} COMMAND` shows what a command prints.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docstrings import lines
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

import data_prep.__main__
import domainmetric
from domainmetric import cli
from domainmetric.alarms.base import Alarm

ROOT = Path(__file__).parents[2]
PROGRAMS = {"domainmetric": cli.main, "python -m data_prep": data_prep.__main__.main}
WIDE = {"COLUMNS": "92", "NO_COLOR": "1"}


def found(name: str) -> Any:
    """A public name, or one by its path below the package, such as `metrics.selection.Entropy`."""
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(f"domainmetric.{module}".rstrip(".")), last)


def of_package(package: str) -> list[str]:
    """The public names whose home is the package, or a module in it."""
    homes = domainmetric._HOME.items()
    return sorted(name for name, home in homes if home == package or home.startswith(f"{package}."))


def shown(cls: type) -> Iterator[str]:
    """Fields, inherited ones too, and what the class itself documents beside them."""
    fields = [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else getattr(cls, "_fields", ())
    yield from fields
    for name, value in vars(cls).items():
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        public = not name.startswith("_") or name == "__call__"
        if public and name not in fields and inspect.isfunction(function) and function.__doc__:
            yield name


def entry(name: str) -> str:
    """The reStructuredText that documents a class or function."""
    value = found(name)
    if not isinstance(value, type):
        return f".. autofunction:: domainmetric.{name}\n"
    members = ", ".join(shown(value))
    options = f"   :members: {members}\n" if members else "   :no-members:\n"
    return f".. autoclass:: domainmetric.{name}\n{options}"


class Restructured(SphinxDirective):
    """A directive on a Markdown page that stands for reStructuredText."""

    required_arguments = 1
    final_argument_whitespace = True

    def text(self) -> str:
        """The reStructuredText."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Put it in place."""
        return self.parse_text_to_nodes(f"````{{eval-rst}}\n{self.text()}\n````\n")


class Public(Restructured):
    """Every public name of some packages, or of a path such as `metrics.selection.Entropy`."""

    def text(self) -> str:
        words = self.arguments[0].split()
        names = [name for word in words for name in (of_package(word) if word.islower() else [word])]
        return "\n".join(entry(name) for name in names)


class Family(Restructured):
    """The members of a family, by the path of its class, that are found in the module of that class."""

    def text(self) -> str:
        path = self.arguments[0].rpartition(".")[0]
        family = found(self.arguments[0])
        module = sys.modules[family.__module__]
        members = (value for value in vars(module).values() if isinstance(value, type) and issubclass(value, family))
        return "\n".join(entry(f"{path}.{member.__name__}") for member in members if member is not family)


class About(Restructured):
    """What a member of a family says of itself, and the way to its settings."""

    def text(self) -> str:
        name = self.arguments[0]
        value = found(name)
        told = list(lines((inspect.getdoc(value) or "").splitlines()))
        if issubclass(value, Alarm):
            alarm = value()
            told += ["", "What it means", *sentence(alarm.meaning), "What to do", *sentence(alarm.advice)]
            told += ["Actions", f"   {', '.join(f'``{action}``' for action in alarm.actions)}", ""]
        settings = f":py:obj:`Settings and reference <domainmetric.{name}>`"
        return "\n".join([*told, "", settings, ""])


def sentence(text: str) -> list[str]:
    """A sentence as the body of a definition."""
    return [f"   {line}" for line in lines([text])]


class Output(SphinxDirective):
    """What a command prints, called when the site is built. A command that fails fails the build."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Call its entry point."""
        printed, command = io.StringIO(), self.arguments[0]
        program = next(name for name in PROGRAMS if command.startswith(name))
        before = {name: os.environ.get(name) for name in WIDE}
        os.environ.update(WIDE)
        try:
            with contextlib.redirect_stdout(printed), contextlib.chdir(ROOT):
                status = PROGRAMS[program](command.removeprefix(program).split())
        except SystemExit as ended:  # as help does
            status = ended.code
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        if status:
            raise self.severe(f"{command} ended with {status}.")
        return [nodes.literal_block(printed.getvalue(), printed.getvalue(), language="text")]


def setup(app: Any) -> dict[str, bool]:
    """Register them."""
    app.add_directive("public", Public)
    app.add_directive("family", Family)
    app.add_directive("about", About)
    app.add_directive("output", Output)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
