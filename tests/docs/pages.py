"""The pages of the site as text: their headings, directives and code, in the order in which a reader meets them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
CAPTION = re.compile(r":caption: (\S+)\n\n?")


class Block(NamedTuple):
    """A fenced block of a page."""

    kind: str
    """The word behind the fence, such as `python`, `console` or `{about} Nearest`."""
    body: str
    file: str | None
    """The name under which a reader saves it."""


def sources() -> list[Path]:
    """Every page, in order."""
    return sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    found = []
    for match in FENCE.finditer(page.read_text()):
        body, caption = match["body"], CAPTION.match(match["body"])
        found.append(Block(match["info"], body[caption.end() :] if caption else body, caption[1] if caption else None))
    return found


def headings(page: Path) -> set[str]:
    """The headings of a page."""
    return set(re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE))


def with_code() -> list[Path]:
    """The pages that hold Python."""
    return [page for page in sources() if any(block.kind == "python" for block in blocks(page))]
