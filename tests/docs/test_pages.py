"""The site tells of everything that there is: a new public name or member of a family is missed here."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import domainmetric as dm
from domainmetric.cli import dispatch
from domainmetric.errors import UsageError
from tests.contracts.family import classes
from tests.docs.pages import DOCS, blocks, headings, sources

EXPLAINED: dict[str, type] = {
    "anchors": dm.AnchorStrategy,
    "losses": dm.MetricLoss,
    "miners": dm.Miner,
    "alignment": dm.AlignmentTerm,
    "scores": dm.SelectionScore,
    "alarms": dm.Alarm,
    "distances": dm.Distance,
}
ADAPTERS = {
    "losses": {"PmlLoss"},
    "miners": {"PmlMiner"},
    "alignment": {"AdaptHook", "AdaptLayer"},
    "scores": {"AdaptScore"},
}
"""Members that another library's class completes."""


@pytest.mark.parametrize("page", EXPLAINED)
def test_each_member_of_a_family_has_its_section(page: str) -> None:
    path = DOCS / "explain" / f"{page}.md"
    members = {cls.__name__ for cls in classes(EXPLAINED[page])} | ADAPTERS.get(page, set())
    about = {
        block.kind.removeprefix("{about} ").rpartition(".")[2] for block in blocks(path) if "{about}" in block.kind
    }
    assert members <= headings(path)
    assert members <= about


def test_schedules_and_searches_have_sections_beside_their_families() -> None:
    beside = {"alignment": dm.Schedule, "anchors": type(dm.ExactSearch()).__mro__[1]}
    for page, family in beside.items():
        assert {cls.__name__ for cls in classes(family)} <= headings(DOCS / "explain" / f"{page}.md")


def test_every_public_name_is_on_a_page_of_the_reference() -> None:
    said = [
        block.kind.removeprefix("{public} ") for page in sources() for block in blocks(page) if "{public}" in block.kind
    ]
    packages = " ".join(said).split()
    assert len(packages) == len(set(packages))
    missing = {home.partition(".")[0] for home in dm._HOME.values()} - set(packages)
    assert not missing, f"No page of docs/reference shows the public names of {missing}."


def test_what_pages_include_is_there() -> None:
    for page in sources():
        for block in blocks(page):
            if block.kind.startswith("{include}"):
                text = (page.parent / block.kind.removeprefix("{include} ")).read_text()
                for marker in re.findall(r':(?:start-after|end-before): "(.+)"', block.body):
                    assert text.count(f"{marker}\n") == 1, f"{page.name} looks for {marker!r}."


def test_every_page_is_in_a_table_of_contents_and_every_figure_is_drawn() -> None:
    listed, drawn = {"index"}, "".join(script.read_text() for script in (DOCS / "draw").glob("*.py"))
    for page in sources():
        for block in blocks(page):
            if block.kind == "{toctree}":
                names = [line for line in block.body.splitlines() if line and not line.startswith(":")]
                listed |= {str((page.parent / name).relative_to(DOCS)) for name in names}
            if block.kind.startswith("{figure}"):
                assert f'yield "{Path(block.kind.split()[1]).stem}"' in drawn
    assert listed == {str(page.relative_to(DOCS).with_suffix("")) for page in sources()}


def test_commands_on_the_pages_exist() -> None:
    commands = [line for page in sources() for b in blocks(page) if b.kind == "console" for line in b.body.splitlines()]
    verbs = {match[1] for line in commands if (match := re.match(r"\$ (?:\.venv/bin/)?domainmetric (\w+)", line))}
    assert {"run", "ablate", "embed"} <= verbs
    known = set(re.findall(r'^        "(\w+)": ', inspect.getsource(dispatch), re.MULTILINE))
    assert verbs <= known
    with pytest.raises(UsageError, match="There is no command"):
        dispatch(["no-such-verb"])
