"""Text that comes from recipes, folders, data and errors, made safe for the place where it is shown.

The report page needs none of this: its text travels as JSON, and its script writes it as text (`report/page.py`).
"""

from __future__ import annotations

import re
import unicodedata

MARKDOWN = {character: f"&#{ord(character)};" for character in r"|`\*"}
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX |= {character: f"\\{character}" for character in "&%$#_{}"} | {"±": r"$\pm$", "<": "$<$", ">": "$>$"}
FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the beginning of a formula."""


def visible(text: str) -> str:
    """Text for a terminal: signs that would steer it (escape sequences, changes of writing direction) are spelled out.

    Line breaks and tabs stay.
    """
    return "".join(spelled(sign) if steers(sign) and sign not in "\n\t" else sign for sign in text)


def markdown(text: str) -> str:
    """Text for a Markdown table or heading, on one line: no HTML, no link, no end of the cell."""
    plain = "".join(MARKDOWN.get(sign, sign) for sign in one_line(text))
    return re.sub(r"<(?=\S)", "&lt;", plain).replace("](", "]&#40;")


def markdown_code(text: str) -> str:
    """Text as code in a Markdown table, where nothing but a backtick and a bar means anything."""
    plain = one_line(text).replace("`", "'").replace("|", r"\|")
    return f"`{plain}`"


def latex(text: str) -> str:
    """Text as LaTeX prints it, on one line."""
    return "".join(LATEX.get(sign, sign) for sign in one_line(text))


def csv_cell(text: str) -> str:
    """Text for a CSV file: what a spreadsheet would take for a formula gets an apostrophe, which it shows as text."""
    plain = one_line(text)
    return f"'{plain}" if plain.lstrip().startswith(FORMULA) else plain


def one_line(text: str) -> str:
    """The text with its line breaks and tabs as spaces, and without signs that steer."""
    return "".join(" " if sign in "\n\r\t" else spelled(sign) if steers(sign) else sign for sign in text)


def steers(sign: str) -> bool:
    """Whether a sign is nothing to be seen, but an order to the screen: control, formatting, separation."""
    return unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def spelled(sign: str) -> str:
    """A sign by its number, as Python spells it."""
    return f"\\x{ord(sign):02x}" if ord(sign) < 256 else f"\\u{ord(sign):04x}"
