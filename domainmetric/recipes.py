"""Finding a recipe in a Python file: a function without arguments that returns an Experiment."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from domainmetric.errors import DomainMetricError, UsageError, nearest
from domainmetric.experiment import Experiment


def load_file(path: Path) -> ModuleType:
    """Execute a user's file as a module. Raises UsageError where it is missing or broken."""
    if path.suffix != ".py" or not path.is_file():
        near = path.parent if path.parent.is_dir() else Path()
        raise UsageError(f"{path} is not a Python file.{nearest(path.name, [p.name for p in near.glob('*.py')])}")
    spec = importlib.util.spec_from_file_location(f"domainmetric_recipes_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        where = location(error, path)
        raise UsageError(
            f"{path} could not be read as Python ({where}). Fix the file, then run the command again."
        ) from error
    return module


def recipes(module: ModuleType) -> dict[str, Callable[[], Any]]:
    """The public functions of a file that need no argument and are annotated to return an Experiment."""
    found: dict[str, Callable[[], Any]] = {}
    for name, value in vars(module).items():
        if name.startswith("_") or not inspect.isfunction(value) or value.__module__ != module.__name__:
            continue
        signature = inspect.signature(value)
        needed = [p for p in signature.parameters.values() if p.default is p.empty]
        returns = signature.return_annotation  # a string under `from __future__ import annotations`
        if not needed and (returns is Experiment or str(returns).rpartition(".")[2] == "Experiment"):
            found[name] = value
    return found


def find_recipe(target: str) -> Callable[[], Any]:
    """The function that `FILE:RECIPE` names; a file with one recipe needs no name.

    Raises UsageError with the nearest name.
    """
    file, _, name = target.partition(":")
    module = load_file(Path(file))
    known = recipes(module)
    if not known:
        raise UsageError(f"{file} has no recipe: write a function without arguments, `def mine() -> Experiment:`.")
    if not name and len(known) > 1:
        raise UsageError(f"{file} has several recipes; say which, as {file}:{next(iter(known))}.{nearest('', known)}")
    name = name or next(iter(known))
    if name not in known:
        raise UsageError(f"{file} has no recipe '{name}'.{nearest(name, known)}")
    return known[name]


def load_recipe(target: str) -> Experiment:
    """The experiment of `FILE:RECIPE`. Raises UsageError where there is none."""
    return call_recipe(find_recipe(target), target)


def call_recipe(recipe: Callable[[], Any], target: str) -> Experiment:
    """What a recipe returns; `target` names it in errors. Raises UsageError where that is no Experiment."""
    try:
        experiment = recipe()
    except DomainMetricError:
        raise
    except Exception as error:
        where = location(error, Path(inspect.getfile(recipe)))
        raise UsageError(f"The recipe {target} failed ({where}). Fix it, then run the command again.") from error
    if not isinstance(experiment, Experiment):
        came = type(experiment).__name__
        raise UsageError(f"The recipe {target} returned a {came}, but must return an Experiment.")
    return experiment


def location(error: Exception, path: Path) -> str:
    """Line, class and message of an error that arose in the file `path`."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    inside = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path.absolute()]
    line = f"line {inside[-1].lineno}: " if inside else ""
    return f"{line}{type(error).__name__}: {error}"
