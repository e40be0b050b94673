"""Finding recipes: which functions count, and the nearest right name for a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from domainmetric.errors import ConfigError, UsageError
from domainmetric.recipes import load_file, load_recipe, recipes

HEAD = """
from __future__ import annotations
from pathlib import Path
from domainmetric.experiment import Experiment
from tests import tiny

"""
TWO = (
    HEAD
    + '''
def plain() -> Experiment:
    """The source phase alone."""
    return tiny.experiment(Path("runs"))

def whole(seed: int = 3) -> Experiment:
    return tiny.full(Path("runs"), seed=seed)

def needs(seed: int) -> Experiment:
    return tiny.full(Path("runs"), seed=seed)

def _hidden() -> Experiment:
    return plain()

def number() -> int:
    return 1
'''
)


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_recipes_are_public_functions_without_arguments_that_return_an_experiment(tmp_path: Path) -> None:
    assert list(recipes(load_file(written(tmp_path, TWO)))) == ["plain", "whole"]


def test_a_recipe_is_found_by_name_and_alone_without_one(tmp_path: Path) -> None:
    assert load_recipe(f"{written(tmp_path, TWO)}:whole").seed == 3
    alone = written(tmp_path, HEAD + "def only() -> Experiment:\n    return tiny.experiment(Path('runs'))\n", "one.py")
    assert load_recipe(str(alone)).name == "tiny"


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (TWO, ":wohle", "has no recipe 'wohle'. Did you mean 'whole'? Known: plain, whole."),
        (TWO, "", "has several recipes; say which, as {path}:plain. Known: plain, whole."),
        ("x = 1\n", "", "has no recipe: write a function without arguments, `def mine() -> Experiment:`."),
        ("def (:\n", "", "could not be read as Python (line 1: "),
        ("a = 1\nb = 1 / 0\n", "", "could not be read as Python (line 2: ZeroDivisionError: division by zero)"),
        (HEAD + "def bad() -> Experiment:\n    return 3\n", "", "returned a int, but must return an Experiment."),
    ],
)
def test_files_without_that_recipe_are_refused(tmp_path: Path, text: str, name: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_recipe(f"{path}{name}")
    assert message.format(path=path) in str(caught.value)


def test_a_file_that_is_not_there_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    written(tmp_path, TWO)
    with pytest.raises(UsageError, match=r"is not a Python file. Did you mean 'mine.py'\?"):
        load_recipe(str(tmp_path / "mime.py"))


def test_what_an_experiment_refuses_stays_a_config_error(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + "def bad() -> Experiment:\n    return tiny.full(Path('runs'), source_steps=0)\n")
    with pytest.raises(ConfigError, match="at least one step"):
        load_recipe(str(path))
