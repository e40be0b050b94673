"""What a person sees while an ablation runs: one bar for all runs and one for each worker, or lines in a log file."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from domainmetric.ablation.executor import Work, Worker
from domainmetric.ablation.sight import place
from domainmetric.escaping import visible

REDRAW_S, LINE_S = 0.5, 60.0
WORDS = {
    "finished": "finished",
    "failed": "FAILED",
    "interrupted": "interrupted, its state is saved",
    "missing": "left",
}


class Display:
    """A context manager. `watch` is told of the workers, and of a job that has just ended."""

    def __init__(self, *, total: int, done: int, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._total, self._before, self._done = total, done, done
        self._began, self._drawn, self._told = monotonic(), 0.0, monotonic()
        self._bars = bars(self.console) if self.console.is_terminal else None
        self._all: TaskID | None = None
        self._rows: dict[int, TaskID] = {}

    def __enter__(self) -> Display:
        if self._bars is not None:
            self._all = self._bars.add_task("runs", total=self._total, completed=self._done, told="")
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def watch(self, active: Sequence[Worker], ended: Work | None) -> None:
        """Show how far the workers are; tell of a job that has ended."""
        if ended is not None:
            self._done += ended.status in ("finished", "failed")
            why = f": {ended.error}" if ended.error else ""
            self.say(f"{self._done}/{self._total}  {ended.job}  {WORDS[ended.status]}{why}")
        now = monotonic()
        if self._bars is not None and (ended is not None or now - self._drawn >= REDRAW_S):
            self._drawn = now
            self._draw(active)
        elif self._bars is None and now - self._told >= LINE_S:
            self._told = now
            self.say("  |  ".join([f"{self._done}/{self._total}{self._left()}", *map(line, active)]))

    def say(self, text: str) -> None:
        """Print a line, above the bars where there are any."""
        (self._bars.console if self._bars is not None else self.console).print(visible(text), markup=False)

    def _left(self) -> str:
        """How long the rest will take, once a run has finished here."""
        done = self._done - self._before
        if not done or self._done == self._total:
            return ""
        return f" runs, about {clock((monotonic() - self._began) / done * (self._total - self._done))} left"

    def _draw(self, active: Sequence[Worker]) -> None:
        assert self._bars is not None and self._all is not None
        self._bars.update(self._all, completed=self._done, told=self._left().removeprefix(" runs, "))
        for gone in self._rows.keys() - {id(worker) for worker in active}:
            self._bars.remove_task(self._rows.pop(gone))
        for worker in active:
            phase, step, steps = place(worker.work.job.experiment, worker.sight.step)
            if id(worker) not in self._rows:
                self._rows[id(worker)] = self._bars.add_task("", total=None, told="")
            self._bars.update(
                self._rows[id(worker)],
                description=f"{worker.work.job}: {phase}",
                completed=step,
                total=steps or None,
                told=told(worker),
            )
        self._bars.refresh()


def bars(console: Console) -> Progress:
    """The bars, redrawn only when asked to: no thread beside the watch."""
    name, told = (TextColumn(form, markup=False) for form in ("{task.description}", "{task.fields[told]}"))
    columns = (name, BarColumn(), MofNCompleteColumn(), told)
    return Progress(*columns, console=console, auto_refresh=False, transient=True)


def line(worker: Worker) -> str:
    """A worker's place in words."""
    phase, step, steps = place(worker.work.job.experiment, worker.sight.step)
    where = f"{phase} {step}/{steps}" if steps else phase
    return f"{worker.work.job}: {where} {told(worker)}".rstrip()


def told(worker: Worker) -> str:
    """Loss, speed and the time left to train."""
    sight, experiment = worker.sight, worker.work.job.experiment
    left = sum(phase.steps for phase in experiment.phases.values()) - sight.step
    parts = [] if sight.loss is None else [f"loss {sight.loss:.4g}"]
    if sight.rate and left > 0:
        parts += [f"{sight.rate:.1f} steps/s", f"{clock(left / sight.rate)} left"]
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes}:{rest:02d}"
