"""Progress on a terminal is a bar that is redrawn seldom; elsewhere it is about ten plain lines for each phase."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from domainmetric.training import progress
from domainmetric.training.progress import Progress


def shown(*, terminal: bool) -> tuple[Console, io.StringIO]:
    output = io.StringIO()
    return Console(file=output, force_terminal=terminal, width=100, legacy_windows=False), output


def test_a_file_gets_one_line_per_tenth() -> None:
    console, output = shown(terminal=False)
    with Progress(console=console) as bar:
        bar.phase("source", 95)
        for step in range(95):
            bar.advance(loss=2.0 / (step + 1) if step % 10 == 0 else None)
    lines = output.getvalue().splitlines()
    assert len(lines) == 10
    assert re.fullmatch(r"source:   11% \(10/95\)  loss 2  [\d.]+ steps/s  \d+:\d\d left", lines[0])
    assert re.fullmatch(r"source:  100% \(95/95\)  loss 0.02198  [\d.]+ steps/s  0:00 left", lines[-1])


def test_a_resumed_phase_goes_on_where_it_was() -> None:
    console, output = shown(terminal=False)
    with Progress(console=console) as bar:
        bar.phase("adaptation", 10, start=8)
        for _ in range(2):
            bar.advance()
    assert [line.split("  ")[1].strip() for line in output.getvalue().splitlines()] == ["90% (9/10)", "100% (10/10)"]
    assert "loss" not in output.getvalue()


def test_a_short_phase_and_an_empty_one() -> None:
    console, output = shown(terminal=False)
    with Progress(console=console) as bar:
        bar.phase("nothing", 0)
        bar.phase("short", 3)
        for _ in range(3):
            bar.advance(1.0)
    assert [line.split(":")[0] for line in output.getvalue().splitlines()] == ["short"] * 3


def test_a_terminal_shows_the_end_of_every_phase() -> None:
    console, output = shown(terminal=True)
    with Progress(console=console) as bar:
        bar.phase("source", 20)
        for _ in range(20):
            bar.advance(0.5)
        bar.phase("adaptation", 40, start=10)
        for _ in range(5):
            bar.advance(0.25)
    screen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.getvalue()).splitlines()
    assert re.search(r"source\s+━+\s+20/20\s+loss 0.5\s+[\d.]+ steps/s", screen[-2])
    assert re.search(r"adaptation\s+\S+\s+15/40\s+loss 0.25\s+[\d.]+ steps/s", screen[-1])


def test_redraws_are_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    console, output = shown(terminal=True)
    with Progress(console=console) as bar:
        bar.phase("source", 10_000)
        before = output.tell()
        for _ in range(1000):  # one second at a thousand steps a second
            now[0] += 0.001
            bar.advance(1.0)
        redraws = output.getvalue()[before:].count("source")
    assert 8 <= redraws <= 11


def test_the_screen_is_given_back_after_an_error() -> None:
    console, output = shown(terminal=True)
    bar = Progress(console=console)
    with pytest.raises(KeyboardInterrupt), bar:
        raise KeyboardInterrupt
    assert output.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again
