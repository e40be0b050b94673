"""Runs as processes of this machine, a few at a time.

Two runs that share a source phase are not begun side by side: the second waits until the first has left that phase, or
another run is taken meanwhile, so that the phase is trained once and then reused.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from domainmetric.ablation.plan import Job
from domainmetric.ablation.sight import Sight, steps_of_first_phase
from domainmetric.ablation.worker import STOPPED
from domainmetric.errors import DomainMetricError
from domainmetric.runner import new_folder

Status = Literal["finished", "failed", "interrupted", "missing"]
LOG = "worker.log"
LOOK_S = 0.2
END_S = 20.0
"""How long a worker may take to end when there is no time left to save."""


@dataclass(kw_only=True)
class Work:
    """A job, its folder once it has one, and what has become of it."""

    job: Job
    folder: Path | None = None
    status: Status = "missing"
    error: str | None = None


@dataclass(kw_only=True)
class Worker:
    """A process at work."""

    work: Work
    process: subprocess.Popen[bytes]
    sight: Sight
    began: float = field(default_factory=time.monotonic)

    def stop(self) -> None:
        """Ask the run to save its state and stop: it sees its standard input end. Twice is once."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def in_source_phase(self) -> bool:
        """Whether it may still be training the phase that others wait for."""
        return self.sight.step <= steps_of_first_phase(self.work.job.experiment)


def start(work: Work, file: Path | None) -> Worker:
    """Begin or continue a job in a process of its own. `file` holds the classes of the user's file."""
    experiment = work.job.experiment
    work.folder = work.folder or new_folder(experiment)
    command = [sys.executable, "-P", "-m", "domainmetric.ablation.worker", str(work.folder)]
    command += [] if file is None else [str(file)]
    search = os.pathsep.join(path or os.getcwd() for path in sys.path)  # the code that this process runs, no other
    environment = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": str(experiment.runtime.threads)}
    with (work.folder / LOG).open("ab") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the ablation, which stops its runs in its own way
        )
    return Worker(work=work, process=process, sight=Sight.of(work.folder))


def settle(worker: Worker) -> None:
    """Write down what came of a process that has ended."""
    code, work = worker.process.returncode, worker.work
    worker.stop()
    if code == 0:
        work.status, work.error = "finished", None
    elif code == STOPPED or code in (-signal.SIGTERM, -signal.SIGINT):
        work.status, work.error = "interrupted", None
    else:
        assert work.folder is not None
        work.status = "failed"
        work.error = signal_text(-code) if code < 0 else last_line(work.folder / LOG)


def signal_text(number: int) -> str:
    """What a signal that ended a process means."""
    hint = "; the system may have run out of memory, try fewer --workers" * (number == signal.SIGKILL)
    return f"ended by {signal.Signals(number).name}{hint}"


def last_line(path: Path) -> str:
    """The last line with something on it."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


def take(queue: list[Work], active: Sequence[Worker], trained: set[str]) -> Work | None:
    """The first job that need not wait for another to train its source phase, taken off the queue."""
    training = {worker.work.job.source for worker in active} - trained - {None}
    for index, work in enumerate(queue):
        if work.job.source not in training:
            return queue.pop(index)
    return None


def carry_out(
    works: Sequence[Work],
    *,
    workers: int,
    file: Path | None,
    stopping: Callable[[], bool],
    watch: Callable[[Sequence[Worker], Work | None], None],
) -> None:
    """Do all jobs; what becomes of each is written into it.

    `watch` is called often, with the workers and, where a job has just ended, with that one. When `stopping` says so,
    the runs are asked to save their state, and nothing new is begun.
    """
    queue, active, trained = list(works), list[Worker](), set[str]()
    with none_left_behind(active):
        while queue or active:
            if stopping():
                queue.clear()
                for worker in active:
                    worker.stop()
            while len(active) < workers and (work := take(queue, active, trained)) is not None:
                try:
                    active.append(start(work, file))
                except DomainMetricError as error:  # this job cannot begin; the others may
                    work.status, work.error = "failed", str(error)
                    watch(active, work)
            for worker in list(active):
                worker.sight.look()
                if not worker.in_source_phase() and worker.work.job.source is not None:
                    trained.add(worker.work.job.source)
                if worker.process.poll() is not None:
                    active.remove(worker)
                    settle(worker)
                    watch(active, worker.work)
            watch(active, None)
            time.sleep(LOOK_S)


@contextmanager
def none_left_behind(active: list[Worker]) -> Iterator[None]:
    """Whatever happens, no worker outlives the ablation."""
    try:
        yield
    finally:
        for worker in active:
            worker.stop()
            worker.process.terminate()
        for worker in active:
            try:
                worker.process.wait(END_S)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            settle(worker)
