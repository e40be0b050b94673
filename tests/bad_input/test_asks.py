"""Recipes, fields, variables and sizes that make no sense: the command line says so in words, and starts nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domainmetric.cli import main
from domainmetric.data import room
from domainmetric.errors import DomainMetricError
from domainmetric.tracking import Tracking
from domainmetric.training.tracking import Log
from domainmetric.training.wandb_mirror import start_mirror
from tests.bad_input import permissions

RECIPE = """
from dataclasses import replace
from pathlib import Path
import sys
import domainmetric as dm

def mine() -> dm.Experiment:
    terms = {"classify": dm.Term(part=dm.Classify())}
    phases = {"source": dm.SourcePhase(terms=("classify",), steps=2, source_batch=10)}
    pair = dm.Pair(source=dm.StreetDigits(num_train=250, num_test=50), target=dm.SklearnDigits())
    model = dm.Model(branches=dm.Tied(shared=dm.SmallCnn(widths=(4,))), embedding_dim=8)
    return dm.Experiment(name="mine", data=pair, terms=terms, phases=phases, image_size=8, model=model)
"""
ENDING = "    return dm.Experiment(name"


def returning(value: str) -> str:
    """The recipe, but with another return value."""
    return RECIPE.partition(ENDING)[0] + f"    return {value}\n"


def changed(**fields: str) -> str:
    """The recipe, but with fields changed by `replace`."""
    change = ", ".join(f"{name}={value}" for name, value in fields.items())
    return (
        RECIPE.replace("def mine", "def _plain")
        + f"\ndef mine() -> dm.Experiment:\n    return replace(_plain(), {change})\n"
    )


FILES: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "syntax error": ("def mine( -> Experiment:", ("read as Python (line 1: invalid syntax)", "Fix the file")),
    "indentation": ("def mine():\nreturn 1", ("could not be read as Python (line 2: expected an indented block",)),
    "null bytes": (b"x = 1\0", ("could not be read as Python", "null bytes", "Fix the file")),
    "no UTF-8": (b"x = '\xff\xfe'", ("could not be read as Python", "Fix the file")),
    "a missing import": ("import nothing_like_that", ("No module named 'nothing_like_that'", "Fix the file")),
    "it ends the program": ("raise SystemExit(0)", ("read as Python (line 1: SystemExit: 0)", "Fix the file")),
    "endless recursion": ("def f(): f()\nf()", ("RecursionError: maximum recursion depth exceeded", "Fix the file")),
    "empty": ("", ("has no recipe: write a function without arguments",)),
    "with arguments": ("import domainmetric as dm\ndef mine(x) -> dm.Experiment: ...", ("has no recipe",)),
    "a recipe of nothing": (returning("None"), ("returned a NoneType, but must return an Experiment",)),
    "a recipe of a class": (returning("dm.Experiment"), ("returned a type, but must return an Experiment",)),
    "a recipe of a list": (returning("[1]"), ("returned a list, but must return an Experiment",)),
    "a recipe that ends the program": (returning("sys.exit()"), ("failed (line 12: SystemExit", "Fix it")),
    "a recipe that fails": (returning("1 / 0"), ("failed (line 12: ZeroDivisionError: division by zero)", "Fix it")),
    "an unknown device": (changed(runtime="dm.Runtime(device='tpu')"), ("device must be one of", "but is 'tpu'")),
    "an unknown precision": (changed(runtime="dm.Runtime(precision='16')"), ("must be one of '32', 'bf16'",)),
    "an unknown W&B mode": (changed(tracking="dm.Tracking(wandb='maybe')"), ("one of 'auto'", "but is 'maybe'")),
    "NaN": (changed(source_validation="float('nan')"), ("source_validation must be a finite number, but is nan",)),
    "an infinite rate": (
        RECIPE.replace("source_batch=10", "source_batch=10, optimizer=dm.Optimizer(lr=float('inf'))"),
        ("phases.source.optimizer.lr must be a finite number, but is inf",),
    ),
    "a text for a number": (changed(seed="'one'"), ("seed must be a whole number, but is 'one'",)),
    "a fraction for a count": (changed(image_size="8.5"), ("image_size must be a whole number, but is 8.5",)),
    "a text for a pair": (changed(data="'svhn'"), ("data must be Pair, but is 'svhn'",)),
    "a part for a term": (changed(terms="{'classify': dm.Classify()}"), ("a dict whose items are each Term",)),
    "no phases": (changed(phases="{}", terms="{}"), ("An experiment needs at least one phase",)),
}  # fmt: skip
WORDS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "no GPU": (["--runtime.device=cuda"], ("torch finds no GPU. Use --runtime.device=cpu",)),
    "an unknown field": (["--sed=1"], ("The recipe has no field --sed. Did you mean --seed?",)),
    "an unknown choice": (["--runtime.device=gpu"], ("--runtime.device cannot be 'gpu'. Did you mean 'cpu'?",)),
    "no number": (["--seed=x"], ("--seed cannot be 'x'",)),
    "NaN": (["--phases.source.optimizer.lr=nan"], ("lr must be",)),
    "a batch above the data": (["--phases.source.source-batch=500"], ("Batch size 500 is above the 225 images",)),
    "images too large": (["--image-size=200000"], ("GiB of memory, but", "are available", "smaller")),
    "too many images": (["--data.source.num-train=10000000000"], ("10,000,000,000 street digits", "Ask for fewer")),
    "a network too large": (["--model.embedding-dim=2000000000"], ("This run needs", "GiB of memory", "Use smaller")),
    "a place that is a file": (["--runs-root=recipe.py"], ("Could not write recipe.py/mine-s0", "--runs-root")),
}  # fmt: skip


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a recipe that must be refused; what stands on standard error. No run is left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    def run(recipe: str | bytes, *words: str, status: tuple[int, ...] = (1, 2)) -> str:
        Path("recipe.py").write_bytes(recipe if isinstance(recipe, bytes) else recipe.encode())
        assert main(["run", "recipe.py", *words]) in status
        text = " ".join(capsys.readouterr().err.split())
        assert "Run it again with --debug" not in text
        assert "Traceback" not in text
        assert not list(Path().glob("runs/*/report.json"))
        return text

    return run


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("case", FILES)
def test_a_file_that_holds_no_sound_recipe(case: str, told: Callable[..., str]) -> None:
    text, words = FILES[case]
    message = told(text)
    for word in words:
        assert word in message


@pytest.mark.parametrize("case", WORDS)
def test_words_that_ask_for_what_is_not_there(case: str, told: Callable[..., str]) -> None:
    asked, words = WORDS[case]
    message = told(RECIPE, *asked)
    for word in words:
        assert word in message


def test_a_full_disk_is_known_before_anything_starts(told: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**40, 2**40, 2**20))
    message = told(RECIPE)
    assert "This run needs 32." in message
    assert "but 1.0 MiB are free. Free some space, or choose another place with --runs-root." in message


def test_too_little_memory_is_known_before_anything_starts(
    told: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "available_memory", lambda: 1000)
    assert "but 0.0 MiB are available." in told(RECIPE)


def test_memory_that_runs_out_all_the_same(told: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")

    monkeypatch.setattr("domainmetric.runner.new_network", fails)
    assert "there is not enough memory (DefaultCPUAllocator" in told(RECIPE)


DIGITS = RECIPE.replace("dm.StreetDigits(num_train=250, num_test=50)", "dm.Svhn()")


def test_nonsense_in_the_environment(told: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.prepare", raises)
    for place in ("/nowhere/at/all", "recipe.py", "\x1b[31m", "a" * 5000, "~"):
        monkeypatch.setenv("DOMAINMETRIC_DATA", place)
        message = told(DIGITS)
        assert "No prepared data for 'svhn' was found in" in message or "File name too long" in message
        assert "\x1b" not in message


def test_nonsense_in_the_variables_of_other_programs(
    told: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    for value in ("x", "0", "-1", ""):
        monkeypatch.setenv("WORLD_SIZE", value)
        assert f"must be numbers of processes, but are LOCAL_WORLD_SIZE='' and WORLD_SIZE='{value}'." in told(RECIPE)
    monkeypatch.setenv("WANDB_MODE", "maybe")
    mirror = start_mirror(tmp_path / "shown", Tracking())
    Log(tmp_path / "shown").close()
    assert "(WANDB_MODE must be one of online, offline" in (said := mirror.close(deadline_s=60.0))
    assert "but is 'maybe'." in said and "the local log is complete" in said


@pytest.mark.slow
def test_a_run_goes_on_whatever_other_programs_variables_say(tmp_path: Path) -> None:
    """Without torchrun its variables mean nothing, and OpenMP says itself that it cannot read its own."""
    (tmp_path / "recipe.py").write_text(RECIPE)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "x",
        "WORLD_SIZE": "x",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, "-m", "domainmetric.cli", "run", "recipe.py", "--tracking.wandb=off"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "OMP_NUM_THREADS" in done.stderr and "Traceback" not in done.stderr


def raises(names: list[str], root: Path) -> None:
    raise DomainMetricError("nobody can be reached")


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_record_of_another_version_or_a_damaged_one(
    told: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("recipe.py").write_text(RECIPE)
    run = Path("run")
    run.mkdir()
    spec = "domainmetric.experiment.whole.Experiment"
    records: dict[str, str] = {
        "{": "is damaged",
        "\0\xff": "is damaged",
        "[" * 100_000: "is damaged",
        "[]": "does not record an experiment",
        "{}": "does not record an experiment",
        '{"experiment": 3}': "does not record an experiment",
        json.dumps(
            {"experiment": {"class": "domainmetric.losses.gone.Gone"}}
        ): "'domainmetric.losses.gone.Gone', which this",
        json.dumps({"experiment": {"class": "os.system"}}): "which this version lacks",
        json.dumps({"experiment": {"class": "user.Mine"}}): "Name that file again with --file FILE",
        json.dumps({"experiment": {"class": spec, "flux": 1}}): "does not fit this version",
        json.dumps(
            {"experiment": {"class": spec, "name": 1, "data": 2, "terms": {}, "phases": {}}}
        ): "name must be a text",
    }
    for content, words in records.items():
        (run / "experiment.json").write_text(content)
        assert main(["resume", "run"]) == 1
        message = " ".join(capsys.readouterr().err.split())
        assert words in message, content[:50]
        assert "Run it again with --debug" not in message
    (run / "experiment.json").write_text("{}")
    for content in ("{", "{}", "[]", "3", "[" * 100_000, '{"retrieval": {}}'):
        (run / "report.json").write_text(content)
        assert main(["show", "run"]) == 1
        message = " ".join(capsys.readouterr().err.split())
        assert "damaged" in message, content[:50]
        assert "Run it again with --debug" not in message


def test_without_permission(told: Callable[..., str]) -> None:
    with permissions.that_count():
        Path("closed").mkdir(mode=0o500)
        assert "Permission denied" in told(RECIPE, "--runs-root=closed/runs")
        Path("shut").mkdir(mode=0)
        assert "Permission denied" in told(DIGITS, "--data-root=shut")
