"""Draws the figures of the pages when the site is built, so that they show what the library does now."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from domainmetric.figures.style import save

DOCS = Path(__file__).parents[1]


def draw(app: Any) -> None:
    """Write every figure of every module in docs/draw, under the name that it gives it."""
    for script in sorted((DOCS / "draw").glob("[a-z]*.py")):
        for name, figure in importlib.import_module(f"draw.{script.stem}").figures():
            save(figure, DOCS / "drawn" / f"{name}.png")


def setup(app: Any) -> dict[str, bool]:
    """Register it."""
    sys.path.insert(0, str(DOCS))
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
