"""The command line, as a person meets it: what it prints, with which status, and what it leaves behind."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from domainmetric.cli import main
from domainmetric.errors import DataError

RECIPES = '''
from pathlib import Path

import domainmetric as dm


def tiny() -> dm.Experiment:
    """Training of no value on generated digits."""
    return dm.Experiment(
        name="tiny",
        data=dm.Pair(source=dm.StreetDigits(num_train=250, num_test=50), target=dm.SklearnDigits()),
        terms={"classify": dm.Term(part=dm.Classify())},
        phases={"source": dm.SourcePhase(terms=("classify",), steps=4, source_batch=10)},
        image_size=8,
        model=dm.Model(branches=dm.Tied(shared=dm.SmallCnn(widths=(4,))), embedding_dim=8),
        evaluation=dm.Evaluation(every=1000, num_images=50, retrieval_queries=50),
        runtime=dm.Runtime(device="cpu", checkpoint_every=2),
    )


def digits() -> dm.Experiment:
    """The real pair."""
    terms = {"classify": dm.Term(part=dm.Classify())}
    phases = {"source": dm.SourcePhase(terms=("classify",), steps=4)}
    return dm.Experiment(name="digits", data=dm.Pair(source=dm.Svhn(), target=dm.Mnist()), terms=terms, phases=phases)


def broken() -> dm.Experiment:
    return 1 / 0


def wrong() -> dm.Experiment:
    return {"steps": 3}


class Letters(dm.SklearnDigits):
    classes = tuple("abcdefghij")


def strangers() -> dm.Experiment:
    return dm.Experiment(
        name="strangers", data=dm.Pair(source=dm.StreetDigits(), target=Letters()), terms={}, phases={}
    )
'''
ALL = "Known: broken, digits, strangers, tiny, wrong."
LINE = RECIPES.splitlines().index("    return 1 / 0") + 1
FIELDS = "All fields: domainmetric run recipes.py:tiny --help"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of recipes and one finished run."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "recipes.py").write_text(RECIPES)
    before, output = Path.cwd(), StringIO()
    os.chdir(folder)
    try:
        with redirect_stdout(output):
            assert main(["run", "recipes.py:tiny", "--name=first"]) == 0
    finally:
        os.chdir(before)
    (folder / "output.txt").write_text(output.getvalue())
    return folder


@pytest.fixture(autouse=True)
def inside(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test works in the workshop, and leaves the finished run as it was."""
    monkeypatch.chdir(workshop)
    before = contents(workshop / "runs")
    yield
    after = contents(workshop / "runs")
    assert {path: after.get(path) for path in before} == before


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file of the first run and of the cached phases."""
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and "first-s0" in str(p)}


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on standard error, with its line breaks evened out."""
    return " ".join(capsys.readouterr().err.split())


def finished(workshop: Path) -> Path:
    return Path((workshop / "output.txt").read_text().splitlines()[-1])


def test_run_prints_its_folder_alone_on_the_last_line(workshop: Path) -> None:
    folder = finished(workshop)
    assert (folder / "report.json").is_file()
    assert folder.parent == Path("runs")
    assert {p.name for p in (folder / "figures").iterdir()} >= {"embedding_map.png", "confusion_matrix.png"}


def test_show_json_is_one_object_with_the_promised_names(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(finished(workshop)), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    promised = {"recipe", "seed", "device", "seconds", "target_accuracy", "source_accuracy", "retrieval", "selection"}
    assert promised <= report.keys()
    assert (report["recipe"], report["seed"], report["device"][:3]) == ("first", 0, "cpu")
    assert 0 <= report["target_accuracy"] <= 1
    assert 0 <= report["source_accuracy"] <= 1
    assert report["seconds"] > 0


def test_show_tells_people(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(finished(workshop))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["recipe", "first,", "seed", "0,"]
    assert lines[1].split()[:2] == ["target", "accuracy"]


def test_resume_of_a_finished_run_changes_nothing(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(finished(workshop))]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(finished(workshop))


USAGE = {
    "rum recipes.py": "There is no command 'rum'. Did you mean 'run'? "
    "Known: ablate, embed, export, inspect, match, profile, report, resume, run, show.",
    "run": "Say which recipe: domainmetric run FILE[:RECIPE] [--field=value ...].",
    "profile --seed=1": "Say which recipe: domainmetric profile FILE[:RECIPE] [--field=value ...].",
    "run recipe.py": "recipe.py is not a Python file. Did you mean 'recipes.py'? Known: recipes.py.",
    "run recipes.py": f"recipes.py has several recipes; say which, as recipes.py:tiny. {ALL}",
    "run recipes.py:tini": f"recipes.py has no recipe 'tini'. Did you mean 'tiny'? {ALL}",
    "run recipes.py:broken": f"The recipe recipes.py:broken failed (line {LINE}: ZeroDivisionError: division by zero). "
    "Fix it, then run the command again.",
    "run recipes.py:wrong": "The recipe recipes.py:wrong returned a dict, but must return an Experiment.",
    "run recipes.py:tiny --sed=1": f"The recipe has no field --sed. Did you mean --seed? {FIELDS}",
    "run recipes.py:tiny --lr=1": "The recipe has no field --lr. Did you mean --phases.source.optimizer.lr? " + FIELDS,
    "run recipes.py:tiny --seed=x": "--seed cannot be 'x'. It is: INT Seed of everything random. (default: 0). "
    + FIELDS,
    "run recipes.py:tiny --seed": f"Missing value for argument '--seed'. Expected 1 values. {FIELDS}",
    "run recipes.py:tiny --runtime.device=gpu": "--runtime.device cannot be 'gpu'. Did you mean 'cpu'? "
    f"Known: auto, cpu, cuda. {FIELDS}",
    "run recipes.py:tiny --terms.classify.weight=0": "Term.weight must be positive, but is 0.0. To switch a term off, "
    f"leave it out. {FIELDS}",
    "run recipes.py:tiny seed=1": f"'seed=1' is not understood: a field is changed with --field=value. {FIELDS}",
    "show": "Usage: domainmetric show RUN [--json]",
    "resume a b": "Usage: domainmetric resume RUN [--file FILE] [--accept-changes]",
    "resume a --file": "--file needs a value.",
}


@pytest.mark.parametrize("words", USAGE)
def test_wrong_usage(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert told(capsys) == f"domainmetric: {USAGE[words]}"


FILES = {
    "def mine( -> Experiment:": "(line 1: invalid syntax)",
    "import nothing_like_that": "(line 1: ModuleNotFoundError: No module named 'nothing_like_that')",
    "x = 1\nraise ValueError('early')": "(line 2: ValueError: early)",
}


@pytest.mark.parametrize("text", FILES)
def test_a_file_that_is_no_python(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    assert main(["run", str(file)]) == 2
    fix = "Fix the file, then run the command again."
    assert told(capsys) == f"domainmetric: {file} could not be read as Python {FILES[text]}. {fix}"


def test_a_file_without_recipes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from domainmetric import Experiment\ndef of(size) -> Experiment: ...\ndef other() -> int: ...\n")
    assert main(["run", str(file)]) == 2
    write = "write a function without arguments, `def mine() -> Experiment:`."
    assert told(capsys) == f"domainmetric: {file} has no recipe: {write}"


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("show", "resume"):
        assert main([command, str(tmp_path)]) == 1
        why = "it has no experiment.json. Name one that `domainmetric run` printed."
        assert told(capsys) == f"domainmetric: {tmp_path} is not a run folder: {why}"
        assert main([command, "nowhere"]) == 1
        name = "Name a run folder, as `domainmetric run` prints it last."
        assert told(capsys) == f"domainmetric: nowhere is not a folder. {name}"


def test_classes_that_differ(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "recipes.py:strangers"]) == 1
    message = told(capsys)
    assert message.startswith("domainmetric: The domains of a pair must have the same classes")
    assert "only in the target: a, b, c, d, e, f, g, h, i, j" in message


def test_a_gpu_that_is_not_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["run", "recipes.py:tiny", "--runtime.device=cuda"]) == 1
    assert "torch finds no GPU. Use --runtime.device=cpu, or 'auto'." in told(capsys)


def test_missing_data_is_prepared_if_possible_and_else_the_command_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def no_network(names: list[str], root: Path) -> None:
        asked.append((names, root))
        raise DataError("the network is down.")

    monkeypatch.setattr("data_prep.prepare", no_network)
    assert main(["run", "recipes.py:digits", f"--data-root={tmp_path}"]) == 1
    assert asked == [(["svhn", "mnist"], tmp_path)]
    command = f"python -m data_prep svhn --root {tmp_path} (add --from FOLDER to take the files from a folder)"
    assert told(capsys) == (
        f"Prepared data is missing in {tmp_path}; preparing svhn and mnist. domainmetric: No prepared data for 'svhn' "
        f"was found in {tmp_path}. Prepare it with: {command} It was tried just now, but: the network is down."
    )
    assert not list(Path("runs").glob("digits*"))


def test_an_unexpected_error_shows_its_traceback_under_debug_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(folder: Path) -> Path:
        raise KeyError("oops")

    monkeypatch.setattr("domainmetric.training.folder.check", defect)
    assert main(["show", "x"]) == 1
    see = "Run it again with --debug to see where it came from."
    assert told(capsys) == f"domainmetric: unexpected KeyError: 'oops'. {see}"
    assert main(["show", "x", "--debug"]) == 1
    assert "Traceback (most recent call last)" in told(capsys)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="files of handles are told by /proc")
@pytest.mark.parametrize(
    "refused", [r"\.experiment\.json", r"tiny-s1-[\d-]+$", r"\.model"], ids=["no record", "a record", "in training"]
)
def test_a_full_disk_stops_the_run_with_one_sentence(
    refused: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, fsync = set(Path("runs").iterdir()), os.fsync

    def full(handle: int) -> None:
        """The disk is full when a file, or folder, of that name is flushed."""
        if re.match(refused, Path(f"/proc/self/fd/{handle}").readlink().name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        assert main(["run", "recipes.py:tiny", "--seed=1"]) == 1
    message = told(capsys)
    (folder,) = set(Path("runs").iterdir()) - known
    assert "Could not write" in message
    assert "No space left on device. Make room" in message
    assert not list(folder.glob("*.partial"))
    if (folder / "experiment.json").is_file():  # once there is room again, the run goes on
        assert message.endswith(f"domainmetric resume {folder}")
        assert main(["resume", str(folder)]) == 0
        assert (folder / "report.json").is_file()
    assert (folder / "experiment.json").is_file() == ("experiment" not in refused)


def test_ctrl_c_saves_the_run_which_can_then_be_resumed(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "run",
        "recipes.py:tiny",
        "--name=stopped",
        "--phases.source.steps=400",
        "--runtime.checkpoint-every=5000",
    ]
    command = [sys.executable, "-m", "domainmetric.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not any(b"loss/total" in log.read_bytes() for log in Path("runs").glob("stopped-*/log.jsonl")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    (folder,) = Path("runs").glob("stopped-*")
    told_last = " ".join(errors.split()).partition("domainmetric: ")[2]
    assert told_last == f"The run was asked to stop. Its state is saved. Continue with: domainmetric resume {folder}"
    assert "Traceback" not in errors
    assert "Warning" not in errors

    assert main(["show", str(folder)]) == 1
    assert told(capsys) == f"domainmetric: {folder} is not finished. Continue it with: domainmetric resume {folder}"
    assert main(["resume", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder)
    assert json.loads((folder / "report.json").read_text())["phases"]["source"]["steps"] == 400


def test_help_lists_every_field_with_docstring_type_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run", "recipes.py:tiny", "--help"])
    assert not end.value.code
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Training of no value on generated digits." in text
    assert "--seed INT Seed of everything random. (default: 0)" in text
    assert "--phases.source.optimizer.lr FLOAT Peak learning rate. (default: 0.002)" in text
    assert "--runtime.device {auto,cpu,cuda} `auto` takes a GPU where there is one. (default: cpu)" in text


def test_help_is_immediate_because_nothing_heavy_is_imported() -> None:
    code = """import sys
before = set(sys.modules)
from domainmetric.cli import main
main(['--help'])
loaded = {name for name in set(sys.modules) - before if name.partition('.')[0] not in sys.stdlib_module_names}
assert all(name.partition('.')[0] == 'domainmetric' for name in loaded), sorted(loaded)
assert len(loaded) <= 12 and len(sys.modules) <= 160, (len(loaded), len(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("domainmetric: cross-domain metric learning")


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "domainmetric run FILE[:RECIPE]" in capsys.readouterr().out
