"""The README does what it says: its Python is executed as it stands, only with small sizes, and its commands exist."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import domainmetric as dm
from domainmetric import runner
from domainmetric.cli import dispatch
from domainmetric.recipes import ablations, load_file, load_recipe

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
    target = dm.SklearnDigits() if isinstance(experiment.data.target, dm.Mnist) else experiment.data.target
    return replace(
        experiment,
        data=dm.Pair(source=dm.StreetDigits(num_train=250, num_test=50), target=target),
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
    draw = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split in ("train", "test"):
        arrays[f"{split}_images"] = draw.integers(256, size=(60, 12, 10, 1), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(60) % 10
    np.savez("scans.npz", **arrays)
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
        if program.endswith("/domainmetric") and words[0] == "run":
            words[1] = str(ROOT / words[1])
            with pytest.raises(SystemExit, match="0"):
                dispatch([*words, "--help"])
    assert "--seed INT" in capsys.readouterr().out


def test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"`([\w./-]+\.(?:md|lock|py))`", README):
        assert (ROOT / name).is_file() or name in ("my_pair.py", "my_arms.py"), name
