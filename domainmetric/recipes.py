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

from domainmetric.errors import UsageError, nearest
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
        if isinstance(error, SyntaxError):
            where = f"line {error.lineno}: {error.msg}"
        else:
            inside = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
            line = f"line {inside[-1].lineno}: " if inside else ""
            where = f"{line}{type(error).__name__}: {error}"
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
        if not needed and signature.return_annotation in (Experiment, "Experiment"):
            found[name] = value
    return found


def load_recipe(target: str) -> Experiment:
    """The experiment of `FILE:RECIPE`; a file with one recipe needs no name.

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
    experiment = known[name]()
    if not isinstance(experiment, Experiment):
        raise UsageError(
            f"The recipe {name} of {file} returned a {type(experiment).__name__}, but must return an Experiment."
        )
    return experiment
