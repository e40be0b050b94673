"""Tables in Markdown, and the numbers in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from domainmetric.ablation.sheets import pipes


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A pipe table; cells are shown as they print, and may hold Markdown, except for a bar."""
    lines = [pipes(head), "|" + "---|" * len(head)]
    return "\n".join([*lines, *(pipes(str(cell).replace("|", r"\|") for cell in row) for row in rows)])


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation, the latter where there are several values."""
    return f"{fmean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")
