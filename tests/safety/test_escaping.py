"""Names and errors come from anywhere; wherever they are shown, they are text and nothing else."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from domainmetric.ablation.display import Display
from domainmetric.ablation.sheets import Sheet
from domainmetric.ablation.tables import csv_text
from domainmetric.cli import explain
from domainmetric.errors import ConfigError
from domainmetric.escaping import csv_cell, latex, markdown, markdown_code, visible
from domainmetric.training.progress import Progress
from tests import tiny

ESCAPE = "\x1b]0;title\x07\x1b[2J"
HOSTILE = f"<img src=x>|`a`[b]x[/b]](http://e)\\input{{x}}$%#&~^_{ESCAPE}\u202eabc\r\n=1"


@pytest.mark.parametrize("escape", [visible, markdown, markdown_code, latex, csv_cell])
def test_nothing_steers_the_screen_and_plain_words_stay(escape: object) -> None:
    assert callable(escape)
    assert not set(escape(HOSTILE)) & {"\x1b", "\x07", "\u202e", "\r"}
    assert "naïve ± 漢字 +1.0" in escape("x naïve ± 漢字 +1.0").replace(r"$\pm$", "±")


def test_lines_stay_on_a_terminal_and_nowhere_else() -> None:
    assert visible("a\n\tb\x1b") == "a\n\tb\\x1b"
    for escape in (markdown, latex, csv_cell):
        assert escape("a\nb") == "a b"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@f", " =1", "\t=1", "\r=1"])
def test_no_spreadsheet_computes_a_name(text: str) -> None:
    assert csv_cell(text).startswith("'")
    ((_,), (read,)) = csv.reader(io.StringIO(csv_text([{"name": text}])))
    assert read.startswith("'")


def test_numbers_in_csv_stay_numbers() -> None:
    assert csv_text([{"a": -1.5, "b": None, "c": float("nan"), "d": "a-b"}]) == "a,b,c,d\n-1.5,,,a-b\n"


def hostile_sheet() -> Sheet:
    return Sheet(title=HOSTILE, columns=(HOSTILE, "points"), rows=((HOSTILE, HOSTILE),), note=HOSTILE)


def test_markdown_has_no_html_no_link_and_the_cells_that_were_given() -> None:
    lines = hostile_sheet().markdown().splitlines()
    assert len(lines) == 7
    outside = [line for line in lines if not line.startswith("| `")]
    assert not any("<img" in line or "](" in line for line in outside)
    for row in (lines[2], lines[4]):
        assert row.replace(r"\|", "").count("|") == 3
    assert lines[4].count("`") == 2, "the code span is closed where it was opened"


def test_latex_has_no_command_but_its_own() -> None:
    text = hostile_sheet().latex()
    assert r"\input" not in text and r"\textbackslash{}input\{x\}" in text
    assert text.count(r"\\") == 2  # the ends of the head and of the row


def test_a_screen_shows_markup_as_it_is() -> None:
    screen = Console(file=io.StringIO(), width=400, force_terminal=True, color_system="truecolor")
    screen.print(hostile_sheet().screen())
    assert isinstance(screen.file, io.StringIO)
    shown = screen.file.getvalue()
    assert shown.count("[b]x[/b]") == 5 and "\x1b[2J" not in shown and "\x1b]" not in shown


def test_bars_show_markup_as_it_is() -> None:
    screen = Console(file=io.StringIO(), width=200, force_terminal=True, highlight=False)
    assert isinstance(screen.file, io.StringIO)
    with Progress(console=screen) as progress:
        progress.phase("[b]phase[/b]", 1)
        progress.advance()
        progress.tell(HOSTILE)
    with Display(total=1, done=0, console=screen) as display:
        display.say(HOSTILE)
    shown = screen.file.getvalue()
    assert "[b]phase[/b]" in shown and shown.count("[b]x[/b]") == 2
    assert "\x1b]" not in shown and "\x1b[2J" not in shown


def test_an_error_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    explain(f"a class {HOSTILE}", 1, debug=False)
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../elsewhere", "/tmp/x", "a/b", "a\x1b[2J", "a\nb"])
def test_a_run_cannot_be_called_out_of_its_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder's name"):
        replace(tiny.experiment(tmp_path), name=name)
