"""The processes of one run, forked from a parent that has done another run: so a life costs its own work alone.

The parent's run has another seed. What it left in memory can only make a life differ from the undisturbed one, never
make it the same.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import sys
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from domainmetric import durable, reporting, runner
from domainmetric.anchors.adaptive import AdaptiveThreshold
from domainmetric.anchors.nearest import Nearest
from domainmetric.data.draws import Groups, MatchedBalanced
from domainmetric.data.pair import Pair
from domainmetric.data.pipelines import DigitViews
from domainmetric.data.view_bank import AlbumentationsViews
from domainmetric.errors import DomainMetricError
from domainmetric.experiment import Banks, BestScore, Evaluation, Experiment
from domainmetric.figures import style
from domainmetric.memory import Memory
from domainmetric.metrics.selection import InformationMaximization
from domainmetric.serialize import user_names
from domainmetric.terms import Metric
from domainmetric.training.folder import EXPERIMENT
from tests import tiny
from tests.crash.disk import Disk
from tests.training.running import short

FINISHED, STOPPED, BROKEN, OUTSIDE = 0, 1, 2, 3
"""Exit statuses: as it should be, stopped with an explanation, failed without one, and wrote beside `durable`."""
RUNS, DONE = Path("runs"), Path("done.json")


def experiment() -> Experiment:
    """A run of less than a second with everything that moves.

    Two phases and a choice among checkpoints; banks, a memory of batches, and matches that remember; a teacher, a
    discriminator and schedules; drawn groups, balanced matches, and a bank of views.
    """
    whole = short(tiny.full(RUNS), source=3, adapt=6)
    source, adapt = whole.phases["source"], whole.phases["adapt"]
    views = AlbumentationsViews(pipeline=DigitViews(invert=0.5), num_workers=0, block_steps=2)
    remembering = replace(whole.terms["triplet"], part=Metric(memory=Memory(size=32, warmup=2)))
    return replace(
        whole,
        data=Pair(source=tiny.Colored(num_train=64, num_test=40), target=tiny.Grey(num_train=64, num_test=40)),
        anchors=AdaptiveThreshold(inner=Nearest()),
        terms=dict(whole.terms) | {"triplet": remembering},
        phases={
            "source": replace(source, source_batch=8, sampling=Groups(num_classes=2)),
            "adapt": replace(adapt, source_batch=8, target_batch=16, target_sampling=MatchedBalanced()),
        },
        augmentation=replace(whole.augmentation, source=views),
        banks=Banks(source_size=48, target_size=48, refresh_every=3),
        evaluation=Evaluation(every=4, num_images=24, retrieval_queries=12, gradient_every=2),
        selection=BestScore(score=InformationMaximization()),
        runtime=replace(whole.runtime, checkpoint_every=2),
    )


def folder_in(root: Path) -> Path | None:
    """The run folder, if one can be continued."""
    found = sorted((root / RUNS).glob(f"*/{EXPERIMENT}"))
    return found[0].parent if found else None


@dataclass(frozen=True, kw_only=True)
class End:
    """How a process ended."""

    status: int
    """The exit status, or the number of the signal that killed it, negative."""
    seconds: float
    """Processor time that it used."""
    told: str
    """The last line that it wrote."""


def warm_up(root: Path) -> None:
    """Do another run in this process, and read it, so that what is imported and compiled once is there for all lives.

    What it tells of machine and code is told by all lives, too: their code is this process's, whatever happens to the
    files meanwhile.
    """
    runner.runtime.description = functools.cache(runner.runtime.description)  # type: ignore[attr-defined]
    made_short()
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        runner.resume(runner.run(replace(experiment(), seed=1, runs_root=root)), user_names(vars(tiny)))
    gc.collect()
    gc.freeze()  # what is never looked at is never copied


def made_short() -> None:
    """Let runs end with a short report and one picture."""
    runner.summarize, runner.draw = summarize, draw  # type: ignore[attr-defined]


def live(root: Path, disk: Disk, *, kill_after: float | None = None, by: signal.Signals = signal.SIGKILL) -> End:
    """Begin or continue the run in `root` until that ends; after so much processor time it is sent a signal."""
    root.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid == 0:
        status = BROKEN
        try:
            status = work(root, disk)
        finally:
            os._exit(status)
    if kill_after is not None:
        send_after(pid, kill_after, by)
    _, code, usage = os.wait4(pid, 0)
    lines = (root / "output").read_text().splitlines() if (root / "output").exists() else []
    told = lines[-1] if lines else ""
    return End(status=os.waitstatus_to_exitcode(code), seconds=usage.ru_utime + usage.ru_stime, told=told)


def send_after(pid: int, seconds: float, number: signal.Signals) -> None:
    """Send a signal once the process has used so much processor time, which a busy machine does not change."""
    clock = (~pid << 3) | 2  # Linux: the clock of another process
    with suppress(OSError):  # it has ended
        while time.clock_gettime(clock) < seconds:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(0.0005)
        os.kill(pid, number)


def work(root: Path, disk: Disk) -> int:
    """What the process does. Returns its exit status."""
    os.chdir(root)
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    outside = watch_for_others(disk)
    durable.os, durable.PAUSES_S = disk, (0.0, 0.0, 0.0)  # type: ignore[assignment, attr-defined]
    durable.write = disk.promising(durable.write)
    made_short()
    try:
        folder = folder_in(Path())
        if folder is None:
            runner.run(experiment())
        else:
            runner.resume(folder, user_names(vars(tiny)))
    except (DomainMetricError, KeyboardInterrupt) as error:
        print(error, flush=True)
        return STOPPED
    except BaseException:
        traceback.print_exc()
        return BROKEN
    DONE.write_text(json.dumps(disk.operations))
    print(*outside, flush=True)
    return OUTSIDE if outside else FINISHED


def watch_for_others(disk: Disk) -> list[str]:
    """Everything from now on that changes the folder of the runs without asking the disk."""
    found: list[str] = []
    home = str(RUNS.absolute())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            changes = bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        else:
            changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")
        if changes and not disk.busy and isinstance(arguments[0], str | os.PathLike):
            path = os.path.abspath(arguments[0])
            if path.startswith(home):
                found.append(f"{event} {path}")

    sys.addaudithook(hook)
    return found


def summarize(session: Any, record: Any, final: Any, *_: Any) -> dict[str, Any]:
    """A short report."""
    return {
        "seconds": sum(record.seconds.values()),
        "reused": record.reused,
        "selection": reporting.selection(session, record),
        **final.classification(),
    }


def draw(session: Any, *_: Any) -> None:
    """One small picture."""
    figure = style.new_figure(1, 1)
    figure.add_axes((0, 0, 1, 1)).set_axis_off()
    session.log.figure("loss_curves", style.save(figure, session.folder / "figures" / "small.png"))
