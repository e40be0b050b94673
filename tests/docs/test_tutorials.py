"""The code of the pages runs as it is written, in the order in which a reader runs it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from domainmetric import runner
from domainmetric.cli import main
from tests.docs.pages import DOCS, Block, blocks, with_code
from tests.experiments.made_digits import write_digits
from tests.test_readme import small

LARGE = {"tutorials/transfer.md"}
"""Pages whose runs are of a size for real data: here they are small ones, on made digits under the real names."""
NOT_HERE = ("make ", ".venv/bin/")
"""Commands that install or download, or name the run folder of an example."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with nothing but the recipes, and without the data of whoever runs the tests."""
    (tmp_path / "experiments").symlink_to(DOCS.parent / "experiments")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DOMAINMETRIC_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "page", ModuleType("page"))  # dataclasses look their module up
    return tmp_path


class Reader:
    """Does what a page says."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "page"}
        self.last_run = ""
        self.commands: list[str] = []

    def do(self, block: Block) -> None:
        if block.file:
            Path(block.file).write_text(block.body)
        elif block.kind == "python":
            exec(compile(block.body, "page", "exec"), self.names)
        elif block.kind == "console":
            for line in block.body.splitlines():
                self.type(line.removeprefix("$ "))

    def type(self, command: str) -> None:
        """A line in the shell. What `run` prints last is $RUN afterwards."""
        if command.startswith(NOT_HERE):
            return
        words, printed = shlex.split(command.replace('"$RUN"', self.last_run)), StringIO()
        assert words[0] == "domainmetric"
        with redirect_stdout(printed):
            assert main(words[1:]) == 0, command
        self.commands.append(words[1])
        if words[1] == "run":
            self.last_run = printed.getvalue().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("page", with_code(), ids=lambda page: str(page.relative_to(DOCS)))
def test_the_page_runs_as_written(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if str(page.relative_to(DOCS)) in LARGE:
        run = runner.run
        write_digits(place / "data")
        monkeypatch.setattr("domainmetric.runner.run", lambda e: run(replace(small(e), data=e.data, image_size=32)))
        monkeypatch.setattr("domainmetric.run", runner.run)
    reader = Reader()
    for block in blocks(page):
        reader.do(block)
    runs = [*place.glob("runs/*/report.json"), *place.glob("ablations/*/runs/*/report.json")]
    assert runs and (reader.commands or "folder" in reader.names)


def test_pages_with_code_are_the_tutorials_and_the_first_steps() -> None:
    assert {page.stem for page in with_code()} == {"getting_started", "transfer", "ablation", "own_pair"}


def test_a_block_with_a_caption_is_a_file_and_no_code_of_the_page(place: Path) -> None:
    (own,) = [block for block in blocks(DOCS / "tutorials" / "own_pair.md") if block.file]
    reader = Reader()
    reader.do(own)
    assert Path("my_pair.py").read_text() == own.body and "mine" not in reader.names
    assert len([line for line in own.body.splitlines() if line.strip()]) <= 10  # all that a new pair takes
