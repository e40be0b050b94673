"""Links of included files (the README) that lead into the repository, which is no part of the site: told as paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\((?!https?://|#)([\w./-]+)\)")


def told(match: re.Match[str]) -> str:
    """What the link said, and the path where it led."""
    text, path = match.groups()
    return f"`{path}`" if text.strip("`") == path else f"{text}: `{path}`"


def rewrite(app: Any, path: Path, docname: str, content: list[str]) -> None:
    """What is included, without links that would be dead."""
    content[0] = LINK.sub(told, content[0])


def setup(app: Any) -> dict[str, bool]:
    """Register it."""
    app.connect("include-read", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
