"""Finding functions in a user's Python file: recipes return an Experiment, ablations a mapping name -> Experiment.

Both take no argument and are known by the annotation of what they return. A variant of an ablation is a recipe, too.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from domainmetric.errors import DomainMetricError, UsageError, nearest
from domainmetric.experiment import Experiment
from domainmetric.serialize import user_names

Kind = Literal["recipe", "ablation"]
Function = Callable[[], Any]

WRITE: dict[Kind, str] = {"recipe": "def mine() -> Experiment:", "ablation": "def mine() -> dict[str, Experiment]:"}
COMMAND: dict[Kind, str] = {"recipe": "run", "ablation": "ablate"}
OTHER: dict[Kind, str] = {
    "recipe": "an ablation, which returns several Experiments",
    "ablation": "a recipe, which returns one Experiment",
}
RETURNS: dict[Kind, str] = {  # as text, which is what an annotation is under `from __future__ import annotations`
    "recipe": r"(<class ')?([\w.]+\.)?Experiment('>)?",
    "ablation": r"([\w.]+\.)?(dict|Dict|Mapping)\[str, *['\"]?([\w.]+\.)?Experiment['\"]?\]",
}


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
    except (Exception, SystemExit) as error:  # a file that ends the program would end this command without a word
        del sys.modules[spec.name]
        where = location(error, path)
        raise UsageError(
            f"{path} could not be read as Python ({where}). Fix the file, then run the command again."
        ) from error
    return module


def names_of(file: str | None) -> dict[str, Any] | None:
    """The classes and functions of a user's file, by which a record is read again; None without a file."""
    return None if not file else user_names(vars(load_file(Path(file))))


def recipes(module: ModuleType) -> dict[str, Function]:
    """The public functions of a file that need no argument and are annotated to return an Experiment."""
    return functions(module, "recipe")


def ablations(module: ModuleType) -> dict[str, Function]:
    """The public functions of a file that need no argument and are annotated to return a mapping of Experiments."""
    return functions(module, "ablation")


def functions(module: ModuleType, kind: Kind) -> dict[str, Function]:
    """The public functions of a file that need no argument and return this kind of thing, by their annotation."""
    found: dict[str, Function] = {}
    for name, value in vars(module).items():
        if name.startswith("_") or not inspect.isfunction(value) or value.__module__ != module.__name__:
            continue
        signature = inspect.signature(value)
        needed = [p for p in signature.parameters.values() if p.default is p.empty]
        if not needed and re.fullmatch(RETURNS[kind], str(signature.return_annotation)):
            found[name] = value
    return found


def find(target: str, kind: Kind) -> tuple[ModuleType, Function]:
    """The file and the function that `FILE:NAME` names; a file with one function of the kind needs no name.

    Raises UsageError with the nearest name.
    """
    file, _, name = target.partition(":")
    module = load_file(Path(file))
    known = functions(module, kind)
    other: Kind = "ablation" if kind == "recipe" else "recipe"
    others = functions(module, other)
    if name in others or (not known and not name and others):
        one = f"{file}:{name or next(iter(others))}"
        raise UsageError(f"{one} is {OTHER[kind]}. Use it with: domainmetric {COMMAND[other]} {one}")
    if not known:
        raise UsageError(f"{file} has no {kind}: write a function without arguments, `{WRITE[kind]}`.")
    if not name and len(known) > 1:
        raise UsageError(f"{file} has several {kind}s; say which, as {file}:{next(iter(known))}.{nearest('', known)}")
    name = name or next(iter(known))
    if name not in known:
        raise UsageError(f"{file} has no {kind} '{name}'.{nearest(name, known)}")
    return module, known[name]


def find_recipe(target: str) -> Function:
    """The recipe that `FILE:RECIPE` names, or one variant of an ablation, as `FILE:ABLATION/VARIANT`.

    Raises UsageError with the nearest name.
    """
    file, _, name = target.partition(":")
    name, slash, variant = name.partition("/")
    if not slash:
        return find(target, "recipe")[1]
    ablation = find(f"{file}:{name}", "ablation")[1]
    variants = call_ablation(ablation, f"{file}:{name}")
    if variant not in variants:
        raise UsageError(f"The ablation {file}:{name} has no variant '{variant}'.{nearest(variant, variants)}")

    def recipe() -> Experiment:
        return variants[variant]

    recipe.__doc__ = ablation.__doc__
    return recipe


def find_ablation(target: str) -> tuple[ModuleType, Function]:
    """The ablation that `FILE:ABLATION` names, and its file as a module. Raises UsageError with the nearest name."""
    return find(target, "ablation")


def load_recipe(target: str) -> Experiment:
    """The experiment of `FILE:RECIPE`. Raises UsageError where there is none."""
    return call_recipe(find_recipe(target), target)


def call_recipe(recipe: Function, target: str) -> Experiment:
    """What a recipe returns; `target` names it in errors. Raises UsageError where that is no Experiment."""
    experiment = call(recipe, "recipe", target)
    if not isinstance(experiment, Experiment):
        came = type(experiment).__name__
        raise UsageError(f"The recipe {target} returned a {came}, but must return an Experiment.")
    return experiment


def call_ablation(ablation: Function, target: str) -> dict[str, Experiment]:
    """The variants that an ablation returns, in order. Raises UsageError where that is no mapping of Experiments."""
    variants = call(ablation, "ablation", target)
    must = "but must return a mapping of names to Experiments, such as {'baseline': ..., 'other': ...}."
    if not isinstance(variants, Mapping):
        raise UsageError(f"The ablation {target} returned a {type(variants).__name__}, {must}")
    if not variants:
        raise UsageError(f"The ablation {target} returned an empty mapping, {must}")
    for name, experiment in variants.items():
        if not isinstance(name, str):
            raise UsageError(f"The ablation {target} names a variant {name!r}, a {type(name).__name__}, {must}")
        if not isinstance(experiment, Experiment):
            came = type(experiment).__name__
            hint = f" Call the recipe: '{name}': {getattr(experiment, '__name__', name)}()." * callable(experiment)
            raise UsageError(f"The ablation {target} returned a {came} as its variant '{name}', {must}{hint}")
    return dict(variants)


def call(function: Function, kind: Kind, target: str) -> Any:
    """What the function returns. Raises UsageError, with the line, where it fails."""
    try:
        return function()
    except DomainMetricError:
        raise
    except (Exception, SystemExit) as error:
        where = location(error, Path(inspect.getfile(function)))
        raise UsageError(f"The {kind} {target} failed ({where}). Fix it, then run the command again.") from error


def location(error: BaseException, path: Path) -> str:
    """Line, class and message of an error that arose in the file `path`."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    inside = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path.absolute()]
    line = f"line {inside[-1].lineno}: " if inside else ""
    return f"{line}{type(error).__name__}: {error}"
