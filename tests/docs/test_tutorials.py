"""The code of the pages runs as it is written, in the order in which a reader runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from domainmetric import runner
from domainmetric.data.domain import SPLITS
from experiments.demo import semantic_anchors
from tests.docs.pages import DOCS, blocks, with_code
from tests.docs.reading import Reader, running_small, small
from tests.experiments.made_digits import write_digits

LARGE = {"tutorials/transfer.md", "getting_started.md"}
"""Pages whose runs take long, or need real data: here they are small ones, on made digits under the real names."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with nothing but the recipes, and without the data of whoever runs the tests."""
    (tmp_path / "experiments").symlink_to(DOCS.parent / "experiments")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DOMAINMETRIC_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "page", ModuleType("page"))  # dataclasses look their module up
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("page", with_code(), ids=lambda page: str(page.relative_to(DOCS)))
def test_the_page_runs_as_written(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if str(page.relative_to(DOCS)) in LARGE:
        write_digits(place / "data")
        monkeypatch.setattr("domainmetric.runner.run", running_small(runner.run))
        monkeypatch.setattr("domainmetric.run", runner.run)
    reader = Reader()
    for block in blocks(page):
        reader.do(block)
    runs = [*place.glob("runs/*/report.json"), *place.glob("ablations/*/runs/*/report.json")]
    assert runs and reader.commands
    assert reader.left_out == ["make demo", ".venv/bin/python -m data_prep svhn mnist"] * (
        page.stem == "getting_started"
    )


def test_pages_with_code_are_the_tutorials_and_the_first_steps() -> None:
    assert {page.stem for page in with_code()} == {"getting_started", "transfer", "ablation", "own_pair"}


def test_a_block_with_a_caption_is_a_file_and_no_code_of_the_page(place: Path) -> None:
    (own,) = [block for block in blocks(DOCS / "tutorials" / "own_pair.md") if block.file]
    reader = Reader()
    reader.do(own)
    assert Path("my_pair.py").read_text() == own.body and "mine" not in reader.names
    assert len([line for line in own.body.splitlines() if line.strip()]) <= 10  # all that a new pair takes


@pytest.mark.slow
def test_a_few_labelled_test_images_give_an_accuracy(place: Path) -> None:
    reader = Reader()
    for block in blocks(DOCS / "tutorials" / "own_pair.md"):
        if block.kind == "python":
            reader.do(block)
    pair = reader.names["pair"]
    target = {split: pair.target.load(split, root=place / "data", size=8) for split in SPLITS}
    assert (len(target["train"]), len(target["test"])) == (1000, 100)
    experiment = small(replace(semantic_anchors(), data=pair))
    report = json.loads((runner.run(experiment) / "report.json").read_text())
    assert sum(map(sum, report["confusion"])) == 100 and "target_accuracy" in report
    assert "gap_oracle" not in report["selection"]  # no label of a training image is known
