"""Docstrings as they are written here (plain text, names in single backticks, indented code) for Sphinx.

Sphinx reads docstrings as reStructuredText, to which `|x|`, `*` and a trailing `_` mean something. Here they mean
themselves; a public name in backticks becomes a link, everything else in backticks is code.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import domainmetric

CODE = re.compile(r"`([^`]+)`")
LITERAL = re.compile(r"[\\|*_]")
LONGEST = 60
"""Characters of a default above which it is left out of a signature."""


def marked_up(text: str) -> str:
    """A line of a docstring as reStructuredText."""
    parts = CODE.split(text)
    return "".join(in_backticks(part) if odd % 2 else LITERAL.sub(r"\\\g<0>", part) for odd, part in enumerate(parts))


def in_backticks(name: str) -> str:
    """A link where it is a public name, else code. Both may touch letters before and after them."""
    first, _, rest = name.partition("(")[0].partition(".")
    if first in domainmetric.__all__ and not rest:
        return rf"\ :py:obj:`{name} <domainmetric.{first}>`\ "
    return rf"\ ``{name}``\ "


def lines(docstring: list[str]) -> Iterator[str]:
    """The docstring's lines, marked up; what is indented after an empty line is code."""
    code, before = False, ""
    for line in docstring:
        indented = line.startswith("    ")
        if indented and not code and not before.strip():
            yield from ("::", "")
            code = True
        elif line.strip() and not indented:
            code = False
        yield line if code else marked_up(line)
        before = line


def process(app: Any, what: str, name: str, value: Any, options: Any, docstring: list[str]) -> None:
    """What autodoc asks of each docstring that it shows."""
    docstring[:] = list(lines(docstring))


def signature(app: Any, what: str, name: str, value: Any, options: Any, arguments: str, returned: str) -> Any:
    """A dataclass's arguments with the defaults that its factories make, where dataclasses print `<factory>`."""
    if arguments and "<factory>" in arguments:
        for field in dataclasses.fields(value):
            if field.init and field.default_factory is not dataclasses.MISSING:
                made = repr(field.default_factory())
                arguments = arguments.replace("<factory>", made if len(made) <= LONGEST else "...", 1)
    return arguments, returned


def setup(app: Any) -> dict[str, bool]:
    """Register it."""
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
