"""Runs as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from domainmetric.ablation.executor import Crew, Executor, Say, Work, Worker, check_workers
from domainmetric.ablation.plan import cores
from domainmetric.ablation.sight import Sight
from domainmetric.ablation.worker import LOG, STOPPED, launch, why
from domainmetric.experiment import Runtime
from domainmetric.runner import new_folder
from domainmetric.training import runtime

END_S = 20.0
"""How long a process may take to end when there is no time left to save."""


@final
@dataclass(kw_only=True)
class Local(Worker):
    """A process at work."""

    process: subprocess.Popen[bytes]

    def look(self) -> bool:
        self.sight.look()
        if self.process.poll() is None:
            return False
        self._settle()
        return True

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self) -> None:
        self.stop()
        self.process.terminate()

    def join(self) -> None:
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._settle()

    def _settle(self) -> None:
        """Write down what came of a process that has ended."""
        code, work = self.process.returncode, self.work
        self.stop()
        if code == 0:
            work.status, work.error = "finished", None
        elif code == STOPPED or code in (-signal.SIGTERM, -signal.SIGINT):
            work.status, work.error = "interrupted", None
        else:
            assert work.folder is not None
            work.status, work.error = "failed", why(code, work.folder / LOG)


@final
@dataclass(frozen=True, kw_only=True)
class Processes(Executor):
    """Processes of this machine, a few at a time."""

    workers: int
    """Runs at a time."""

    def __post_init__(self) -> None:
        check_workers(self.workers)

    def threads(self) -> int:
        return max(1, cores() // self.workers)

    def about(self) -> str:
        return f"{self.workers} at a time"

    def machine(self, settings: Runtime) -> dict[str, Any]:
        with runtime.arithmetic(settings):
            return runtime.description(runtime.fabric(settings).device)

    @contextmanager
    def open(self, works: Sequence[Work], file: Path | None, say: Say) -> Iterator[Crew]:
        yield Crew(size=self.workers, start=lambda work: start(work, file))


def start(work: Work, file: Path | None) -> Worker:
    """Begin or continue a job in a process of its own. `file` holds the classes of the user's file."""
    experiment = work.job.experiment
    work.folder = work.folder or new_folder(experiment)
    assert experiment.runtime.threads is not None, "every job says how many"
    search = [path or os.getcwd() for path in sys.path]  # the code that this process runs, no other
    process = launch(work.folder, file, threads=experiment.runtime.threads, search=search)
    return Local(work=work, sight=Sight.of(work.folder), process=process)
