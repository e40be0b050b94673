"""The README does what it says: its Python is executed as it stands, only with small sizes, and its commands exist."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

import domainmetric as dm
from domainmetric import runner
from domainmetric.cli import dispatch
from domainmetric.recipes import ablations, load_file, load_recipe
from tests.data import own
from tests.docs.pages import Block, blocks
from tests.docs.reading import NOT_HERE, Reader, running_small, small
from tests.experiments.made_digits import made_digits, write_digits

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^\$ (.*)$", README, re.MULTILINE)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda text: str(text.strip().splitlines()[-1][:40]))
def test_snippets_run(snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def run_small(experiment: dm.Experiment) -> Path:
        done.append(experiment.name)
        return runner.run(small(experiment)) if done.count(experiment.name) == 1 else tmp_path

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("domainmetric.run", run_small)
    monkeypatch.setattr("domainmetric.runner.draw", lambda *_: None)
    namespace: dict[str, Any] = {"__name__": "readme"}
    monkeypatch.setitem(sys.modules, "readme", ModuleType("readme"))  # dataclasses look their module up
    exec(compile(snippet, "README.md", "exec"), namespace)
    if "run(" in snippet:
        reports = list(tmp_path.glob("runs/*/report.json"))
        assert len(reports) == len(set(done)) > 0


def test_the_ablation_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("domainmetric.runner.draw", lambda *_: None)
    (snippet,) = (snippet for snippet in SNIPPETS if "def strategies()" in snippet)
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(compile(snippet, "README.md", "exec"), namespace)
    arms = namespace["strategies"]()
    assert len(arms) == 5 and arms.keys() == {experiment.name for experiment in arms.values()}
    folder = runner.run(small(arms["quota"]))
    assert (folder / "report.json").is_file()


def test_two_folders_are_a_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("domainmetric.runner.draw", lambda *_: None)
    photos_and_sketches(tmp_path)
    (snippet,) = (snippet for snippet in SNIPPETS if "def sketches()" in snippet)
    assert len(snippet.strip().splitlines()) - snippet.count("\n\n") <= 10
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(compile(snippet, "README.md", "exec"), namespace)
    folder = runner.run(small(namespace["sketches"]()))
    report = json.loads((folder / "report.json").read_text())
    assert "target_accuracy" not in report and report["source_test_accuracy"] >= 0
    assert len(dm.Embedder.load(folder).classify(tmp_path / "sketches")) == 60


def photos_and_sketches(place: Path) -> None:
    """A folder of class folders, and one of images without labels."""
    own.folder(place / "photos", count=30)
    own.folder(place / "drawn", count=30, color=False)
    (place / "sketches").mkdir()
    for number, path in enumerate(sorted((place / "drawn").rglob("*.png"))):
        path.rename(place / "sketches" / f"{number:03d}.png")


FILES = {"my_arms.py": "def strategies()", "my_pair.py": "def sketches()"}
"""What a reader saves, by what it defines."""
SMALLER = """
from tests.docs.reading import small


def smaller(whole):
    def strategies() -> dict[str, Experiment]:
        return {name: small(experiment) for name, experiment in list(whole().items())[:2]}

    return strategies


strategies = smaller(strategies)
"""
"""Two arms of the ablation, at a size without meaning: its runs are processes of their own, and read the file."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_shell_of_the_readme_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DOMAINMETRIC_DATA", raising=False)
    monkeypatch.setattr("domainmetric.runner.run", running_small(runner.run))
    write_digits(tmp_path / "data")
    photos_and_sketches(tmp_path)
    for folder, seed in (("house_numbers", 2), ("digits", 3)):
        (tmp_path / folder).mkdir()
        for number, image in enumerate(made_digits(20, seed=seed).images.numpy()):
            Image.fromarray(image).save(tmp_path / folder / f"{number}.png")
    for file, defines in FILES.items():
        (snippet,) = (snippet for snippet in SNIPPETS if defines in snippet)
        Path(file).write_text(snippet + (SMALLER if file == "my_arms.py" else ""))
    reader = Reader()
    for block in blocks(ROOT / "README.md"):
        if block.kind == "console":
            reader.do(block)
    assert len(reader.commands) + len(reader.left_out) == len(COMMANDS)
    assert reader.left_out == [command for command in COMMANDS if command.startswith(NOT_HERE)]
    assert reader.commands == ["run", "show", "ablate", "report", "inspect", "run", "embed", "match", "export"]
    assert len(list(tmp_path.glob("ablations/strategies/runs/*/report.json"))) == 6
    for command in COMMANDS:
        for file in re.findall(r"[\w/]+\.(?:npz|html|onnx|pt2)\b", command):
            assert (tmp_path / file).stat().st_size > 0, command


def test_a_run_of_an_example_must_have_been_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader = Reader()
    with pytest.raises(AssertionError, match="no run of runs/other-s1 came before"):
        reader.do(Block("console", "$ .venv/bin/domainmetric show runs/other-s1-20250101-120000\n", None))
    with pytest.raises(AssertionError, match="pip install"):
        reader.do(Block("console", "$ pip install domainmetric\n", None))


def test_there_is_a_snippet_for_each_use() -> None:
    assert len(SNIPPETS) == 5
    assert "<!-- results -->" in README


def test_recipes_and_verbs_that_the_readme_names_exist(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)`", README)) | {"demo", "test"} <= verbs
    recipes = re.findall(r"(experiments/\w+\.py):(\w+)", README)
    assert recipes
    for file, name in recipes:
        if name in ablations(load_file(ROOT / file)):
            continue
        assert load_recipe(f"{ROOT / file}:{name}").name == name
    for command in COMMANDS:
        program, *words = command.split()
        if program.endswith("/domainmetric") and words[0] == "run" and not words[1].startswith("my_"):
            words[1] = str(ROOT / words[1])
            with pytest.raises(SystemExit, match="0"):
                dispatch([*words, "--help"])
    assert "--seed INT" in capsys.readouterr().out


def test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"`([\w./-]+\.(?:md|lock|py))`", README):
        assert (ROOT / name).is_file() or name in ("my_pair.py", "my_arms.py"), name
