"""A run folder from a stranger decides nothing about what is imported, called or executed: it is only read."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domainmetric.cli import main
from domainmetric.embedding.embedder import Embedder
from domainmetric.errors import ConfigError, RunFolderError
from domainmetric.runner import read_experiment, resume
from domainmetric.serialize import to_json
from experiments.demo import semantic_anchors

EVIL = """
from dataclasses import dataclass
from pathlib import Path
Path("executed").touch()

@dataclass
class Evil:
    def __post_init__(self) -> None:
        Path("executed").touch()

def evil(*_: object) -> None:
    Path("executed").touch()
"""
NAMES = [
    *("evil.Evil", "user.Evil", "user.evil", "recipe.Evil", "evil", "../evil.Evil", "domainmetric.evil.Evil"),
    *("os.system", "builtins.eval", "builtins.exec", "subprocess.Popen", "pickle.loads", "importlib.import_module"),
    *("domainmetric.cli.main", "domainmetric.recipes.importlib.import_module"),
]
OPEN: list[Callable[[Path], object]] = [read_experiment, resume, Embedder.load]


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder full of traps, from which a command is started."""
    monkeypatch.chdir(tmp_path)
    for name in ("evil.py", "recipe.py", "sitecustomize.py", "experiment.py"):
        (tmp_path / name).write_text(EVIL)
    return tmp_path


def planted(folder: Path, where: str, what: Any) -> None:
    """The record of a sound run, in which one part is replaced."""
    record = to_json(semantic_anchors())
    if where == "whole":
        record = what
    elif where == "term":
        record["terms"]["triplet"]["part"] = what
    else:
        record[where] = what
    (folder / "experiment.json").write_text(json.dumps({"experiment": record, "data": {}}))


def assert_untouched(folder: Path) -> None:
    assert not (folder / "executed").exists()
    assert not {"evil", "recipe", "experiment"} & sys.modules.keys()


@pytest.mark.parametrize("kind", ["class", "function"])
@pytest.mark.parametrize("name", NAMES)
def test_no_class_or_function_is_taken_from_elsewhere(name: str, kind: str, foreign: Path) -> None:
    arguments = {"args": "touch executed", "shell": True} if kind == "class" else {}
    for where in ("whole", "term", "anchors"):
        planted(foreign, where, {kind: name, **arguments})
        with pytest.raises(RunFolderError, match=re.escape(f"'{name.removeprefix('user.')}'")):
            read_experiment(foreign)
    assert_untouched(foreign)


@pytest.mark.parametrize("opened", OPEN)
def test_all_that_open_a_run_read_it_so(opened: Callable[[Path], object], foreign: Path) -> None:
    planted(foreign, "anchors", {"class": "evil.Evil"})
    with pytest.raises(RunFolderError, match=r"evil\.Evil"):
        opened(foreign)
    assert_untouched(foreign)


@pytest.mark.parametrize(
    "content",
    [
        *("null", "[]", "1", '"text"', "{}", '{"experiment": null}', '{"experiment": []}', "{", "\\x00", "[" * 100_000),
        *('{"experiment": {"class": []}}', '{"experiment": {"class": null}}', '{"experiment": {"function": []}}'),
        '{"experiment": {"class": "domainmetric.experiment.whole.Experiment", "name": 1}}',
    ],
    ids=range(14),
)
def test_nonsense_is_refused_and_said_to_be(content: str, foreign: Path) -> None:
    (foreign / "experiment.json").write_text(content)
    with pytest.raises(RunFolderError):
        read_experiment(foreign)


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_function_of_the_package_is_not_called_where_it_does_not_belong(foreign: Path) -> None:
    for where in ("term", "anchors"):
        planted(foreign, where, {"function": "domainmetric.data.view_pool.start"})
        with pytest.raises(ConfigError, match="must be"):
            read_experiment(foreign)


def test_a_sound_record_is_read(foreign: Path) -> None:
    planted(foreign, "seed", 3)
    assert read_experiment(foreign).seed == 3


def test_values_of_another_kind_are_refused(foreign: Path) -> None:
    for where in ("terms", "phases", "data", "model", "anchors", "runtime"):
        for value in ("text", 7, [], {"class": "domainmetric.alignment.mmd.Mmd"}):
            planted(foreign, where, value)
            with pytest.raises(ValueError, match=r"."):
                read_experiment(foreign)


@pytest.mark.parametrize("words", [["resume"], ["show"], ["report"], ["embed"]])
def test_no_command_runs_a_file_that_it_was_not_given(
    words: list[str], foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted(foreign, "anchors", {"class": "user.Evil"})
    ablation = {
        "name": "x",
        "file": "recipe.py",
        "command": "touch executed",
        "baseline": "a",
        "variants": {},
        "runs": [],
    }
    (foreign / "ablation.json").write_text(json.dumps(ablation))
    main([*words, str(foreign)])
    assert "Traceback" not in capsys.readouterr().err
    assert_untouched(foreign)
