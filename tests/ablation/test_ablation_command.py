"""`domainmetric ablate` as a person meets it: what it refuses, what it runs, skips, continues and reports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from domainmetric.cli import main
from domainmetric.errors import UsageError
from domainmetric.recipes import ablations, load_file
from domainmetric.usage import number, numbers, options

FILE = '''
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import domainmetric as dm


def base(anchors: dm.AnchorStrategy | None = None) -> dm.Experiment:
    terms = {"classify": dm.Term(part=dm.Classify()), "triplet": dm.Term(part=dm.Metric())}
    return dm.Experiment(
        name="tiny",
        data=dm.Pair(source=dm.StreetDigits(num_train=250, num_test=50), target=dm.SklearnDigits()),
        terms=terms,
        anchors=anchors or dm.Nearest(),
        phases={
            "source": dm.SourcePhase(terms=("classify",), steps=4, source_batch=10),
            "adapt": dm.AdaptationPhase(terms=tuple(terms), steps=6, source_batch=10, target_batch=10),
        },
        image_size=8,
        model=dm.Model(branches=dm.Tied(shared=dm.SmallCnn(widths=(4,))), embedding_dim=8),
        evaluation=dm.Evaluation(every=2, num_images=50, retrieval_queries=50),
        runtime=dm.Runtime(device="cpu", checkpoint_every=2),
    )


def strategies() -> dict[str, dm.Experiment]:
    """Two ways of choosing anchors."""
    return {"nearest": base(), "random": base(dm.RandomAnchors())}


class Vanished(dm.SklearnDigits):
    def load(self, split, *, root, size):
        raise dm.DataError("these images have vanished")


class Mine(dm.Nearest):
    """Whose body is edited."""

    def build(self, context):
        print("built as one")
        return super().build(context)


def own() -> dict[str, dm.Experiment]:
    return {"nearest": base(), "mine": base(Mine())}


def failing() -> Mapping[str, dm.Experiment]:
    pair = dm.Pair(source=base().data.source, target=Vanished())
    return {"good": base(), "bad": replace(base(), data=pair)}


def empty() -> dict[str, dm.Experiment]:
    return {}


def uncalled() -> dict[str, dm.Experiment]:
    return {"a": base}


def listed() -> dict[str, dm.Experiment]:
    return [base()]


def wrong_names() -> dict[str, dm.Experiment]:
    return {"a/b": base()}


def _hidden() -> dict[str, dm.Experiment]:
    return {}


def numbers() -> dict[str, int]:
    return {}
'''


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return Path(path.name)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_functions_that_return_mappings_of_experiments_are_ablations(file: Path) -> None:
    assert list(ablations(load_file(file))) == [
        "strategies",
        "own",
        "failing",
        "empty",
        "uncalled",
        "listed",
        "wrong_names",
    ]


KNOWN = "Known: empty, failing, listed, own, strategies, uncalled, wrong_names."
MAPPING = "but must return a mapping of names to Experiments, such as {'baseline': ..., 'other': ...}."
FOR_RAY = "is for runs on a Ray cluster: give it with --executor ray."
USAGE = {
    "ablate": "Say which ablation: domainmetric ablate FILE[:ABLATION] [--seeds 5] [--field=value ...].",
    "ablate mine.py": f"mine.py has several ablations; say which, as mine.py:strategies. {KNOWN}",
    "ablate mine.py:strategy": f"mine.py has no ablation 'strategy'. Did you mean 'strategies'? {KNOWN}",
    "ablate mine.py:base": "mine.py:base is a recipe, which returns one Experiment. Use it with: domainmetric run "
    "mine.py:base",
    "run mine.py:strategies": "mine.py:strategies is an ablation, which returns several Experiments. Use it with: "
    "domainmetric ablate mine.py:strategies",
    "run mine.py:strategies/rnadom": "The ablation mine.py:strategies has no variant 'rnadom'. Did you mean 'random'? "
    "Known: nearest, random.",
    "ablate mine.py:empty": f"The ablation mine.py:empty returned an empty mapping, {MAPPING}",
    "ablate mine.py:uncalled": f"The ablation mine.py:uncalled returned a function as its variant 'a', {MAPPING} "
    "Call the recipe: 'a': base().",
    "ablate mine.py:listed": f"The ablation mine.py:listed returned a list, {MAPPING}",
    "ablate mine.py:strategies --seeds x": "--seeds takes whole numbers, but came with 'x'.",
    "ablate mine.py:strategies --workers 1 2": "--workers takes one number, but came with 2.",
    "ablate mine.py:strategies --seed=3": "--seed is not a field to change in an ablation: every variant is run with "
    "each of --seeds.",
    "ablate mine.py:strategies --runs_root=x": "--runs-root is not a field to change in an ablation: runs lie in the "
    "folder of the ablation; say which with --folder.",
    "ablate mine.py:strategies --tracking.group=mine": "--tracking.group is not a field to change in an ablation: its "
    "runs are grouped under the name of the ablation's folder; say which with --folder.",
    "ablate mine.py:strategies --anchors.k=5": "In the variant 'random': The recipe has no field --anchors.k. Did you "
    "mean --anchors.num-anchors? All fields: domainmetric ablate mine.py:strategies --help",
    "ablate mine.py:strategies --executor rey": "There is no executor 'rey'. Did you mean 'ray'? Known: local, ray.",
    "ablate mine.py:strategies --address=head:6379": f"--address {FOR_RAY}",
    "ablate mine.py:strategies --gpus-per-run 0.5": f"--gpus-per-run {FOR_RAY}",
    "ablate mine.py:strategies --executor ray --gpus-per-run x": "--gpus-per-run takes a number, but came with 'x'.",
    "ablate mine.py:strategies --executor ray --sweep image_size=8:9": "A sweep is run by W&B's agents, wherever they "
    "are started: leave out --executor.",
    "ablate mine.py:strategies --score entropy": "--score is what a sweep maximizes: give it with --sweep "
    "FIELD=LOW:HIGH.",
    "ablate mine.py:strategies --sweep image_size=8:9:log": "--image-size takes whole numbers, which are searched "
    "evenly: leave out :log.",
    "ablate mine.py:strategies --sweep terms.triplet.weight=2:1": "--sweep takes FIELD=LOW:HIGH or FIELD=LOW:HIGH:log, "
    "such as terms.triplet.weight=0.1:2.0, with LOW below HIGH (and above zero for log), but came with "
    "'terms.triplet.weight=2:1'.",
}


@pytest.mark.parametrize("words", USAGE)
def test_wrong_usage(words: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert told(capsys) == f"domainmetric: {USAGE[words]}"


def test_wrong_settings(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "mine.py:wrong_names"]) == 1
    assert "The variant 'a/b' gives its name to run folders" in told(capsys)
    assert main(["ablate", "mine.py:strategies", "--workers=0"]) == 1
    assert "There must be at least one worker, but there are 0." in told(capsys)
    assert main(["ablate", "mine.py:strategies", "--seeds=1", "--executor=ray", "--address=127.0.0.1:1"]) == 1
    words = told(capsys)
    assert "2 to be run; on Ray at 127.0.0.1:1, as many at a time as there is room for, 1 CPU thread each." in words
    assert "No Ray cluster answers at 127.0.0.1:1" in words
    assert main(["ablate", "mine.py:strategies", "--seeds=1", "--executor=ray", "--gpus-per-run=0.5"]) == 1
    assert "runtime.device is 'cpu', so --gpus-per-run 0.5 would be of no use. Leave it out." in told(capsys)
    oracle = ["--sweep=terms.triplet.weight=1:2", "--score=accuracy_oracle"]
    assert main(["ablate", "mine.py:strategies", *oracle]) == 2
    assert "A sweep maximizes a label-free score, and 'accuracy_oracle' is none." in told(capsys)


def test_numbers_among_the_words() -> None:
    assert numbers(["--seeds", "1", "2", "--x=1"], "--seeds") == ([1, 2], ["--x=1"])
    assert numbers(["--x=1", "--seeds=3,4"], "--seeds") == ([3, 4], ["--x=1"])
    assert numbers(["--x=1"], "--seeds") == (None, ["--x=1"])
    assert number(["--workers", "2"], "--workers") == (2, [])
    assert options(["--a=1", "b", "--a", "2"], "--a") == (["1", "2"], ["b"])
    with pytest.raises(UsageError, match="--seeds needs a value"):
        numbers(["--seeds", "--x=1"], "--seeds")


def test_a_sweep_calls_the_home_folder_as_its_agents_do(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(file.parent.resolve()))
    words = ["--sweep=terms.triplet.weight=0.1:2.0", f"--data-root={file.parent.resolve()}/data"]
    assert main(["ablate", "mine.py:strategies", *words]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert str(file.parent.resolve()) not in path.read_text()
    command = create_sweep_command(yaml.safe_load(path.read_text())["command"])
    assert f"{file.resolve()}:strategies/nearest" in command
    assert f"--data-root={file.parent.resolve()}/data" in command


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_command_of_a_sweep_works(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--sweep=terms.triplet.weight=0.1:2.0", "--sweep", "phases.adapt.steps=4:9", "--image-size=9"]
    assert main(["ablate", "mine.py:strategies", "--score=entropy", *words]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == Path("ablations/strategies/sweep.yaml")
    sweep = yaml.safe_load(path.read_text())
    assert sweep["metric"] == {"name": "score/entropy", "goal": "maximize"}
    assert sweep["parameters"]["terms.triplet.weight"] == {"distribution": "uniform", "min": 0.1, "max": 2.0}
    chosen = {"terms.triplet.weight": {"value": 0.731}, "phases.adapt.steps": {"value": 5}}
    arguments = create_sweep_command_args({"args": chosen})["args"]
    command: list[str] = []
    for word in create_sweep_command(sweep["command"]):
        command += {"${env}": ["/usr/bin/env"], "${args}": arguments}.get(word, [word])
    root = str(Path(__file__).parents[2])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}, check=False)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    ran = json.loads((folder / "experiment.json").read_text())["experiment"]
    assert (ran["terms"]["triplet"]["weight"], ran["phases"]["adapt"]["steps"], ran["image_size"]) == (0.731, 5, 9)
    assert '"score/entropy"' in (folder / "log.jsonl").read_text()


def record(folder: str) -> dict[str, list[str]]:
    """The status of each variant's runs, by seed."""
    found: dict[str, list[str]] = {}
    for run in json.loads((Path(folder) / "ablation.json").read_text())["runs"]:
        found.setdefault(run["variant"], []).append(run["status"])
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_ablation_runs_skips_and_goes_on(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["ablate", "mine.py:strategies", "--seeds", "1", "--folder=out"]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "out"
    assert record("out") == {"nearest": ["finished"], "random": ["finished"]}
    runs = {path: path.stat().st_mtime_ns for path in Path("out/runs").glob("*/report.json")}
    reused = [json.loads(path.read_text())["phases"]["source"]["reused"] for path in sorted(runs)]
    assert reused == [False, True]
    assert {path.name for path in Path("out").iterdir()} >= {
        *("table.csv", "table.md", "table.tex", "differences.csv", "scores.csv", "runs.csv"),
    }
    assert "Too few seeds" in Path("out/table.md").read_text()
    # another seed: what is there stays as it is
    (one,) = Path("out/runs").glob("nearest-*")
    (one / "report.json").unlink()  # as if it had been interrupted before its last evaluation
    assert main([*command[:3], "0", "5", *command[4:]]) == 0
    assert "1 finished, 1 to be continued, 2 to be run" in told(capsys)
    assert len(list(Path("out/runs").glob("nearest-*"))) == 2
    assert (one / "report.json").is_file()
    (other,) = (path for path in runs if "random" in str(path))
    assert other.stat().st_mtime_ns == runs[other]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_arm_whose_code_was_edited_is_run_anew(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["ablate", "mine.py:own", "--seeds", "1", "--folder=out"]
    assert main(command) == 0
    file.write_text(FILE.replace("built as one", "built as two"))
    capsys.readouterr()
    assert main(command) == 0
    words = told(capsys)
    assert "of which 1 finished, 1 to be run" in words and "1 of them were begun before the user's code was" in words
    assert len(list(Path("out/runs").glob("nearest-*"))) == 1
    first, second = sorted(Path("out/runs").glob("mine-*"))
    logs = [(folder / "worker.log").read_text() for folder in (first, second)]
    assert "built as one" in logs[0] and "built as two" in logs[1]
    (entry,) = (run for run in json.loads(Path("out/ablation.json").read_text())["runs"] if run["variant"] == "mine")
    assert entry["folder"] == f"runs/{second.name}"
    assert main(command) == 0 and "of which 2 finished" in told(capsys)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_failed_runs_are_reported_with_the_rest_complete(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "mine.py:failing", "--seeds", "1"]) == 1
    message = told(capsys)
    assert "1 of 2 runs failed, the rest is complete. bad, seed 0: The train split of 'sklearn_digits' " in message
    assert "cannot be used. these images have vanished" in message
    assert record("ablations/failing") == {"good": ["finished"], "bad": ["failed"]}
    assert "good (baseline)" in Path("ablations/failing/table.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_ablation_leaves_no_worker_and_goes_on(number: signal.Signals, file: Path) -> None:
    words = ["mine.py:strategies", "--seeds", "1", "--phases.adapt.steps=3000", "--runtime.checkpoint-every=100000"]
    command = [sys.executable, "-m", "domainmetric.cli", "ablate", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        runs = Path("ablations/strategies/runs")
        while not any(log.read_bytes().count(b"loss/total") > 3 for log in runs.glob("nearest-*/log.jsonl")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate(timeout=100)
    (folder,) = runs.glob("nearest-*")
    deadline = time.monotonic() + 60
    while not (folder / "checkpoint.safetensors").is_file() or b'"end"' not in (folder / "log.jsonl").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert record("ablations/strategies")["nearest"] == ["interrupted"]
