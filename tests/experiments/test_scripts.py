"""Every script whose docstring gives `python -m ...` does something when called so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from domainmetric.recipes import load_recipe
from experiments import frontier

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "experiments").rglob("*.py")
    if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in ast.parse(path.read_text()).body)
)


def test_the_scripts_are_found() -> None:
    assert "experiments/ladder.py" in SCRIPTS
    assert "experiments/benchmarks/step.py" in SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_calls_its_main(script: str) -> None:
    """One lost these two lines in a clean-up, and then ended at once with status 0."""
    last = ast.unparse(ast.parse((ROOT / script).read_text()).body[-1])
    assert last == "if __name__ == '__main__':\n    sys.exit(main())"


@pytest.mark.parametrize("arm", frontier.ARMS)
def test_each_arm_of_the_frontier_is_a_recipe_of_its_file(arm: str) -> None:
    """It is launched by that name, in a process of its own."""
    assert load_recipe(f"{frontier.__file__}:{arm}") == frontier.ARMS[arm]()
