"""What a person sees while a run trains: one bar for each phase on a terminal, and one line per tenth in a log file.

Standard error is used, so that standard output stays free for results. Showing costs at most ten redraws a second, and
the loss is shown only when the caller has read it, since reading it makes the program wait for the device.
"""

from __future__ import annotations

from time import monotonic
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from domainmetric.escaping import visible

REDRAW_S = 0.1


class Progress:
    """A context manager that shows phases: `phase` begins one, `advance` counts a step of it.

    Leaving it keeps the finished bars on the screen. `console` defaults to standard error; `unit` says what is counted.
    """

    def __init__(self, *, console: Console | None = None, unit: str = "step") -> None:
        self._console, self._unit = console or Console(stderr=True), unit
        self._bars = _bars(self._console) if self._console.is_terminal else None
        self._task: TaskID | None = None
        self._name, self._total, self._start = "", 0, 0
        self._done, self._next_line = 0, 0
        self._began = self._drawn = monotonic()
        self._loss: float | None = None

    def __enter__(self) -> Progress:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._draw()
            self._bars.stop()

    def phase(self, name: str, total: int, start: int = 0) -> None:
        """Begin the phase `name` of `total` steps, of which `start` were done before (a resumed run)."""
        self._draw()
        self._name, self._total, self._start, self._done, self._loss = name, total, start, start, None
        self._next_line = _next_tenth(start, total)
        self._began = monotonic()
        if self._bars is not None:
            self._task = self._bars.add_task(name, total=total, completed=start, loss="", speed="")
            self._draw()

    def advance(self, loss: float | None = None, *, num: int = 1) -> None:
        """Count `num` steps; `loss` is the latest that was read, or None to keep showing the one before."""
        self._done += num
        self._loss = self._loss if loss is None else loss
        if self._bars is None:
            if self._done >= self._next_line:
                self._next_line = _next_tenth(self._done, self._total)
                self._console.print(self._line(), highlight=False, markup=False, soft_wrap=True)
        elif self._done >= self._total or monotonic() - self._drawn >= REDRAW_S:
            self._draw()

    def tell(self, text: str) -> None:
        """A line, or several, above the bars."""
        self._console.print(visible(text), style="yellow", highlight=False, markup=False, soft_wrap=True)

    def _draw(self) -> None:
        if self._bars is not None and self._task is not None:
            self._drawn = monotonic()
            self._bars.update(self._task, completed=self._done, loss=self._loss_text(), speed=self._speed_text())
            self._bars.refresh()

    def _steps_per_second(self) -> float:
        """Mean speed since the phase began in this process; 0 before the first step."""
        elapsed = monotonic() - self._began
        return (self._done - self._start) / elapsed if elapsed > 0 else 0.0

    def _loss_text(self) -> str:
        return "" if self._loss is None else f"loss {self._loss:.4g}"

    def _speed_text(self) -> str:
        speed = self._steps_per_second()
        unit = self._unit
        return f"{speed:.1f} {unit}s/s" if speed >= 1 or speed == 0 else f"{1 / speed:.1f} s/{unit}"

    def _line(self) -> str:
        speed = self._steps_per_second()
        left = f"{_clock((self._total - self._done) / speed)} left" if speed else ""
        share = f"{self._done / max(self._total, 1):4.0%} ({self._done}/{self._total})"
        parts = (f"{self._name}:", share, self._loss_text(), self._speed_text(), left)
        return "  ".join(part for part in parts if part)


class _Field(ProgressColumn):
    """A text that the task carries, in a column of its own."""

    def __init__(self, name: str, style: str) -> None:
        super().__init__()
        self._field, self._style = name, style

    def render(self, task: Task) -> Text:
        return Text(str(task.fields[self._field]), style=self._style)


def _bars(console: Console) -> RichProgress:
    return RichProgress(
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Field("loss", "cyan"),
        _Field("speed", "green"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        auto_refresh=False,  # redrawn by `advance`: no thread beside the training loop
        expand=True,
    )


def _next_tenth(done: int, total: int) -> int:
    """The first step above `done` at which another tenth of `total` is complete."""
    tenths = done * 10 // max(total, 1) + 1
    return -(-tenths * total // 10)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
