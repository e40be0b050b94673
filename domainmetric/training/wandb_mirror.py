"""Weights & Biases as a view of the local log: a child process reads `log.jsonl` and forwards it.

The training process starts the child and otherwise never talks to it, so W&B being slow, absent, hung or unreachable
costs a run nothing. This is the only module that imports wandb, and only the child does so. By hand,
`python -m domainmetric.training.wandb_mirror RUN` forwards a finished run.

Every start makes a W&B run of its own that shows the whole log from its beginning; the runs of one folder share a name
and a group, unless `Tracking.group` names one for several folders. All files of W&B lie in the run folder's `wandb/`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domainmetric.serialize import without_home
from domainmetric.tracking import Tracking
from domainmetric.training.mirror_end import kill_family, last_line, tidy, unnamed
from domainmetric.training.tracking import LOG_NAME, Log, decode_line

if TYPE_CHECKING:
    import wandb

MAX_TABLE_ROWS = 1000
_MODES = ("online", "offline", "disabled", "dryrun", "run", "shared")
_FOLDERS = {"WANDB_DIR": "", "WANDB_DATA_DIR": "data", "WANDB_CACHE_DIR": "cache", "WANDB_CONFIG_DIR": "config"}


class Mirror:
    """The running child, or none where W&B is off. Made by `start_mirror`."""

    def __init__(self, run: Path, process: subprocess.Popen[bytes] | None) -> None:
        self.run = run
        self.process = process

    def close(self, deadline_s: float = 10.0) -> str:
        """Wait until the child has forwarded the log, at most `deadline_s` seconds; then end it. Says what came of it.

        Call it after `Log.close()`, which is what tells the child that nothing follows. The outcome is also added to
        the log as the event "wandb" unless all went well.
        """
        if self.process is None:
            return "W&B: off."
        status: int | None
        try:
            status = self.process.wait(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            kill_family(self.process)
            status = None
        tidy(self.run)
        unnamed(self.run / "wandb" / "mirror.log")
        if status is None:
            outcome = f"W&B: ended after {deadline_s:g} s of waiting, so its view may lack the last values"
        elif status == 0:
            return f"W&B: {last_line(self.run / 'wandb' / 'mirror.log')}"
        else:
            outcome = f"W&B: failed with status {status} ({last_line(self.run / 'wandb' / 'mirror.log')})"
        outcome += "; the local log is complete. To forward it again: python -m domainmetric.training.wandb_mirror RUN"
        log = Log(self.run)
        log.event("wandb", outcome)
        log.close()
        return outcome


def start_mirror(run: Path, tracking: Tracking) -> Mirror:
    """Start forwarding the log in the folder `run` to W&B, as `tracking` says; never raises because of W&B.

    The folder exists; its log may be opened, and cut back, before or after.
    Environment: WANDB_MODE=disabled starts nothing, WANDB_MODE=offline keeps the view on this disk.
    """
    if tracking.wandb == "off" or os.environ.get("WANDB_MODE") == "disabled":
        return Mirror(run, None)
    folder = run / "wandb"
    command = [sys.executable, "-m", "domainmetric.training.wandb_mirror", str(run.resolve())]
    command += ["--parent", str(os.getpid()), "--tracking", json.dumps(asdict(tracking))]
    package_root = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "mirror.log").open("ab") as output:
            process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": search},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the run, which ends the child in its own time
            )
    except OSError:
        return Mirror(run, None)
    return Mirror(run, process)


def follow(path: Path, going_on: Callable[[], bool], pause_s: float = 0.5) -> Iterator[dict[str, Any]]:
    """The records of a log as they are written, until an `end` that nothing follows, or `going_on()` turns false.

    The log may come into being later, and may be replaced by a shorter one (`Log.cut_back`): no record comes twice.
    """
    seen: set[bytes] = set()
    before: set[bytes] = set()  # what was seen in files that were replaced
    inode, position = 0, 0
    while True:
        more = going_on()  # asked before reading: what was written before the writer went is still read
        content, kind = b"", ""
        with suppress(FileNotFoundError), path.open("rb") as file:
            if os.fstat(file.fileno()).st_ino != inode:
                inode, position, before = os.fstat(file.fileno()).st_ino, 0, set(seen)
            file.seek(position)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        position += len(whole)
        for line in filter(None, whole.split(b"\n")):
            record = decode_line(line)
            kind = record["kind"]
            seen.add(line)
            if line not in before:
                yield record
        if kind == "end" or not more:
            return
        if not whole:
            time.sleep(pause_s)


def forward(record: Mapping[str, Any], view: wandb.Run, run: Path, step: int) -> None:
    """Show one record of the log in W&B; `step` places what has no step of its own."""
    import wandb

    match record["kind"]:
        case "metrics":
            view.log({**record["values"], "step": record["step"]})
        case "figure":
            view.log({f"figures/{record['name']}": wandb.Image(str(run / record["path"])), "step": step})
        case "table":
            view.log({f"tables/{record['name']}": _embedding_table(run / record["path"]), "step": step})
        case "confusion":
            view.log({f"confusion/{record['name']}": _confusion_chart(record), "step": step})
        case "summary":
            view.summary.update(record["values"])


def main() -> None:
    """The child: follow the log and forward it. Prints one line of outcome."""
    parser = argparse.ArgumentParser(description="Forward a run's log to Weights & Biases.")
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--parent", type=int, default=None, help="stop when this process is gone")
    parser.add_argument("--tracking", default="{}", help="the Tracking settings, as JSON")
    arguments = parser.parse_args()
    run: Path = arguments.run.resolve()
    tracking = Tracking(**json.loads(arguments.tracking))
    if arguments.parent is None and not (run / LOG_NAME).is_file():
        parser.error(f"{run} is not a run folder: it holds no {LOG_NAME}.")
    os.nice(10)  # training comes first
    scratch = run / "wandb" / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(scratch)
    try:
        view, outcome = _begin(run, tracking)
        failed = _forward_all(view, run, arguments.parent)
        view.finish()
    except ImportError as error:
        sys.exit(without_home(f"wandb cannot be imported: {error}", prose=True))
    except Exception:
        sys.exit(without_home(traceback.format_exc(), prose=True))
    finally:
        tidy(run)
    outcome += f"; {failed} records could not be shown" if failed else ""
    print(without_home(outcome, prose=True), flush=True)


def _forward_all(view: wandb.Run, run: Path, parent: int | None) -> int:
    """Forward every record; those that W&B refuses are counted, printed and left out."""
    step, failed = 0, 0
    for record in follow(run / LOG_NAME, lambda: parent is not None and os.getppid() == parent):
        step = record.get("step", step)
        try:
            forward(record, view, run, step)
        except Exception as error:  # a view must show what it can: one missing picture is no reason to lose the rest
            failed += 1
            what = f"not shown: {record['kind']} {record.get('name', '')}: {error}"
            print(without_home(what, prose=True), flush=True)
    return failed


def _begin(run: Path, tracking: Tracking) -> tuple[wandb.Run, str]:
    """Start the W&B run, offline where online cannot be had; with a sentence that says which."""
    os.environ["WANDB_SILENT"] = "true"
    asked = os.environ.get("WANDB_MODE") or "online"
    if asked not in _MODES:
        sys.exit(f"WANDB_MODE must be one of {', '.join(_MODES)}, but is {asked!r}. Change it, or unset it")
    import wandb

    mode, why = "offline", "offline"
    if tracking.wandb != "offline" and asked not in ("offline", "dryrun"):
        why = "offline, since nobody is logged in"
        with suppress(wandb.Error):
            # Looked up before the folders move, since the user's own settings tell the server and the account.
            mode = "online" if wandb.login(prompt=False, verify=False) else "offline"
    for name, folder in _FOLDERS.items():
        os.environ[name] = str(run / "wandb" / folder if folder else run)
    if mode == "online":
        try:
            return _init(run, tracking, "online"), "online"
        except wandb.Error as error:
            why = f"offline, since the server could not be reached ({error})"
    return _init(run, tracking, "offline"), why


def _init(run: Path, tracking: Tracking, mode: str) -> wandb.Run:
    import wandb

    # Nothing about the machine, its user, the code or the command line goes along: the log is what is shown.
    private = dict.fromkeys(("host", "username", "program", "program_relpath", "program_abspath", "x_executable"), "")
    off = ("save_code", "symlink", "x_save_requirements")
    disable = ("disable_git", "disable_code", "x_disable_meta", "x_disable_stats", "x_disable_machine_info")
    switches = {**private, **dict.fromkeys(off, False), **dict.fromkeys(disable, True)}
    config = run / "experiment.json"
    view = wandb.init(
        project=tracking.project,
        name=run.name,
        group=tracking.group or run.name,
        tags=list(tracking.tags),
        config=json.loads(config.read_text(encoding="utf-8")) if config.is_file() else None,
        dir=str(run),
        mode=mode,  # type: ignore[arg-type]
        settings=wandb.Settings(silent=True, init_timeout=30.0, console="off", **switches),  # type: ignore[arg-type]
    )
    view.define_metric("step")
    view.define_metric("*", step_metric="step")
    return view


def _embedding_table(path: Path) -> wandb.Table:
    """At most 1,000 rows, evenly spread: label, domain, prediction and one column for each embedding coordinate."""
    import numpy as np
    import wandb

    with np.load(path) as arrays:
        z, label, domain, prediction = (arrays[name] for name in ("z", "label", "domain", "prediction"))
    rows = np.unique(np.linspace(0, len(z) - 1, min(len(z), MAX_TABLE_ROWS)).round().astype(int))
    columns: list[str | int] = ["label", "domain", "prediction", *(f"z{i}" for i in range(z.shape[1]))]
    data = [
        [label[row].item(), domain[row].item(), prediction[row].item(), *z[row].astype(float).round(4).tolist()]
        for row in rows
    ]
    return wandb.Table(columns=columns, data=data)


def _confusion_chart(record: Mapping[str, Any]) -> object:
    """W&B's own confusion matrix chart, from counts."""
    import wandb

    columns: list[str | int] = ["Actual", "Predicted", "nPredictions"]
    classes = record["classes"]
    cells = [
        [actual, predicted, count]
        for actual, row in zip(classes, record["matrix"], strict=True)
        for predicted, count in zip(classes, row, strict=True)
    ]
    return wandb.plot_table(
        vega_spec_name="wandb/confusion_matrix/v1",
        data_table=wandb.Table(columns=columns, data=cells),
        fields={str(name): str(name) for name in columns},
        string_fields={"title": record["name"]},
    )


if __name__ == "__main__":
    main()
