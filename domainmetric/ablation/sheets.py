"""A table of texts, and the forms in which it is shown: on a screen, in Markdown, in LaTeX."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from domainmetric.escaping import latex, markdown, markdown_code, visible

NONE = "-"


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Rows of texts under a title; the first column names the row, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    """A sentence below the table."""

    def screen(self) -> Table:
        """For a terminal."""
        title, note = Text(visible(self.title), "table.title"), Text(visible(self.note), "table.caption")
        result = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, caption=note if self.note else None)
        result.caption_justify = "left"
        for index, name in enumerate(self.columns):
            result.add_column(Text(visible(name)), justify="right" if index else "left", overflow="fold")
        for row in self.rows:
            result.add_row(*(Text(visible(cell)) for cell in row))
        return result

    def markdown(self) -> str:
        """A pipe table with its title and its note."""
        lines = [f"### {markdown(self.title)}", "", pipes(map(markdown, self.columns))]
        lines += ["|---" + "|---:" * (len(self.columns) - 1) + "|"]
        lines += [pipes((markdown_code(row[0]), *map(markdown, row[1:]))) for row in self.rows]
        return "\n".join([*lines, *(["", markdown(self.note)] if self.note else [])]) + "\n"

    def latex(self) -> str:
        r"""A `table` for the booktabs package, with the title and the note as its caption."""
        lines = [
            r"\begin{table}",
            r"\centering",
            r"\begin{tabular}{l" + "r" * (len(self.columns) - 1) + "}",
            r"\toprule",
        ]
        lines += [ampersands(self.columns), r"\midrule", *map(ampersands, self.rows), r"\bottomrule", r"\end{tabular}"]
        caption = latex(f"{self.title}. {self.note}".strip())
        return "\n".join([*lines, rf"\caption{{{caption}}}", r"\end{table}"]) + "\n"


def pipes(cells: Iterable[str]) -> str:
    """A row of a Markdown table, of cells that are Markdown."""
    return f"| {' | '.join(cells)} |"


def ampersands(cells: Iterable[str]) -> str:
    """A row of a LaTeX table, of cells that are plain text."""
    return " & ".join(map(latex, cells)) + r" \\"


def percent(value: float, digits: int = 1) -> str:
    """A fraction in percent, without the sign."""
    return number(100 * value, digits)


def number(value: float, digits: int = 1) -> str:
    """A number, or a dash where it is undefined."""
    return NONE if math.isnan(value) else f"{value:.{digits}f}"


def spread(mean: float, deviation: float, digits: int = 1) -> str:
    """Mean and standard deviation, the latter where it is defined."""
    if math.isnan(mean):
        return NONE
    return f"{mean:.{digits}f}" + ("" if math.isnan(deviation) else f" ± {deviation:.{digits}f}")


def interval(values: tuple[float, float, float], digits: int = 1, *, sign: bool = False) -> str:
    """A mean and its interval."""
    mean, low, high = (f"{value:{'+' * sign}.{digits}f}" for value in values)
    return mean if math.isnan(values[1]) else f"{mean} [{low}, {high}]"
