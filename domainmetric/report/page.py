"""One HTML file with everything in it: style, script, data and pictures.

Names and errors come from recipes, folders and data, so none of them is ever taken for markup: they travel as JSON in
which `<` is escaped, and the script writes them as text. A content security policy allows this page's own script alone,
and no request.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from domainmetric import durable
from domainmetric.errors import NotWritten, RunFolderError
from domainmetric.report.images import Sheet

SCRIPTS = ("base", "table", "curves", "confusion", "scatter", "points", "map", "anchors", "alarms", "audit", "main")
"""In this order they make one script."""


def asset(name: str) -> str:
    """A file of the folder `assets`."""
    return files("domainmetric.report").joinpath("assets", name).read_text(encoding="utf-8")


def script() -> str:
    """The page's script."""
    return '"use strict";\n(() => {\n' + "\n".join(asset(f"{name}.js") for name in SCRIPTS) + "\n})();\n"


def render(data: Mapping[str, Any], sheets: Mapping[str, Sheet | None]) -> str:
    """The page. `sheets` are named pictures of thumbnails; the data of each goes along."""
    code = script()
    pictures = {name: found for name, found in sheets.items() if found is not None}
    layout = {name: {"cell": s.cell, "columns": s.columns, "count": s.count} for name, s in pictures.items()}
    fields = {
        "title": html.escape(f"{data['name']} · domainmetric"),
        "policy": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{sha256(code)}'",
        "style": asset("report.css"),
        "data": as_json({**data, "sheets": layout}),
        "sheets": "\n".join(picture(name, found.webp) for name, found in pictures.items()),
        "script": code,
    }
    frame = re.split(r"\{\{ (\w+) \}\}", asset("report.html"))  # text and field in turn
    return "".join(fields[part] if index % 2 else part for index, part in enumerate(frame))


def sha256(code: str) -> str:
    """What a content security policy calls a script by."""
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()


def as_json(data: Any) -> str:
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def picture(name: str, webp: bytes) -> str:
    """A sheet as an element that is not shown itself."""
    return f'<img id="sheet-{name}" alt="" hidden src="data:image/webp;base64,{base64.b64encode(webp).decode()}">'


def write(path: Path, text: str) -> Path:
    """Write a file whole or not at all. Raises RunFolderError where it cannot be written."""
    try:
        durable.make_folder(path.parent)
        durable.write(path, text.encode())
    except NotWritten as error:
        reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
        raise RunFolderError(
            f"Could not write the page {path}: {reason}. Make room, or choose another place with -o."
        ) from error
    return path
