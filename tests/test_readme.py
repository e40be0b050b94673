"""The README does what it says: its Python is executed as it stands, only with small sizes, and its commands exist."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import domainmetric as dm
from domainmetric import runner
from domainmetric.cli import dispatch
from domainmetric.recipes import ablations, load_file, load_recipe
from tests.data import own

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^\$ (.*)$", README, re.MULTILINE)


def small(experiment: dm.Experiment) -> dm.Experiment:
    """The same experiment at a size without meaning: two steps on a few generated images."""
    phases: dict[str, dm.Phase] = {}
    for name, phase in experiment.phases.items():
        phases[name] = replace(phase, steps=2, source_batch=20)
        if isinstance(phase, dm.AdaptationPhase):
            phases[name] = replace(phase, steps=2, source_batch=20, target_batch=20, calibration_steps=1)
    source, target = experiment.data.source, experiment.data.target
    return replace(
        experiment,
        data=dm.Pair(
            source=source if isinstance(source, dm.Folder) else dm.StreetDigits(num_train=250, num_test=50),
            target=dm.SklearnDigits() if isinstance(target, dm.Mnist) else target,
        ),
        phases=phases,
        image_size=8,
        model=dm.Model(embedding_dim=8),
        banks=dm.Banks(source_size=100, target_size=100),
        evaluation=dm.Evaluation(num_images=50, retrieval_queries=500),
        runtime=dm.Runtime(device="cpu"),
        tracking=dm.Tracking(wandb="off"),
    )


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
    own.folder(tmp_path / "photos", count=30)
    own.folder(tmp_path / "drawn", count=30, color=False)
    (tmp_path / "sketches").mkdir()
    for number, path in enumerate(sorted((tmp_path / "drawn").rglob("*.png"))):
        path.rename(tmp_path / "sketches" / f"{number:03d}.png")
    (snippet,) = (snippet for snippet in SNIPPETS if "def sketches()" in snippet)
    assert len(snippet.strip().splitlines()) - snippet.count("\n\n") <= 10
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(compile(snippet, "README.md", "exec"), namespace)
    folder = runner.run(small(namespace["sketches"]()))
    report = json.loads((folder / "report.json").read_text())
    assert "target_accuracy" not in report and report["source_test_accuracy"] >= 0
    assert len(dm.Embedder.load(folder).classify(tmp_path / "sketches")) == 60


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
