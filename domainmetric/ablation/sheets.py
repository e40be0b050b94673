"""A table of texts, and the forms in which it is shown: on a screen, in Markdown, in LaTeX."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rich import box
from rich.table import Table

NONE = "-"
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX |= {character: f"\\{character}" for character in "&%$#_{}"} | {"±": r"$\pm$", "<": "$<$", ">": "$>$"}


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
        result = Table(title=self.title, title_justify="left", box=box.SIMPLE_HEAD, caption=self.note or None)
        result.caption_justify = "left"
        for index, name in enumerate(self.columns):
            result.add_column(name, justify="right" if index else "left", overflow="fold")
        for row in self.rows:
            result.add_row(*(cell.replace("[", r"\[") for cell in row))
        return result

    def markdown(self) -> str:
        """A pipe table with its title and its note."""
        lines = [f"### {self.title}", "", pipes(self.columns), "|---" + "|---:" * (len(self.columns) - 1) + "|"]
        lines += [pipes((f"`{row[0]}`", *row[1:])) for row in self.rows]
        return "\n".join([*lines, *(["", self.note] if self.note else [])]) + "\n"

    def latex(self) -> str:
        r"""A `table` for the booktabs package, with the title and the note as its caption."""
        lines = [
            r"\begin{table}",
            r"\centering",
            r"\begin{tabular}{l" + "r" * (len(self.columns) - 1) + "}",
            r"\toprule",
        ]
        lines += [ampersands(self.columns), r"\midrule", *map(ampersands, self.rows), r"\bottomrule", r"\end{tabular}"]
        caption = escaped(f"{self.title}. {self.note}".strip())
        return "\n".join([*lines, rf"\caption{{{caption}}}", r"\end{table}"]) + "\n"


def pipes(cells: tuple[str, ...]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def ampersands(cells: tuple[str, ...]) -> str:
    """A row of a LaTeX table."""
    return " & ".join(map(escaped, cells)) + r" \\"


def escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(LATEX.get(character, character) for character in text)


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
