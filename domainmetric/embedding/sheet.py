"""A page of matches: each query beside the gallery images most like it. One file, no script, no request."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from domainmetric.data.pictures import read
from domainmetric.embedding.embedder import Found
from domainmetric.embedding.rows import Rows
from domainmetric.errors import DataError
from domainmetric.escaping import one_line

MOST = 200
"""Queries on a page; of more, evenly spaced ones are shown."""
SIDE = 96
"""Largest side of a picture on the page, in pixels."""

STYLE = """
:root { color-scheme: light dark; --rule: light-dark(#dfe2e6, #343a42); --quiet: light-dark(#5f6773, #a3abb5); }
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; } p { color: var(--quiet); margin: .3rem 0 1.5rem; }
.row { display: flex; flex-wrap: wrap; gap: .75rem; padding: .75rem 0; border-top: 1px solid var(--rule); }
figure { margin: 0; width: 6rem; } figure:first-child { padding-right: .75rem; border-right: 3px solid #1f6fb8; }
img { width: 6rem; height: 6rem; object-fit: contain; image-rendering: pixelated; background: #8882; }
.lost { width: 6rem; height: 6rem; display: grid; place-items: center; border: 1px dashed; font-size: .75rem; }
figcaption { font-size: .75rem; color: var(--quiet); overflow-wrap: anywhere; }
b { color: CanvasText; font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """A page, and what is wrong with it."""

    page: str
    note: str | None
    """How many pictures could not be read, and why the first could not."""


def sheet(queries: Rows, gallery: Rows, found: Found) -> Sheet:
    """The page. A picture that cannot be read is told in its place, and above."""
    count = len(queries.names)
    chosen = np.linspace(0, count - 1, min(MOST, count)).round().astype(int)
    rows, lost, pictures = [], [], 0
    for row in chosen:
        figures = [(queries, row, "query")]
        for place, cosine in zip(found.index[row], found.similarity[row], strict=True):
            figures.append((gallery, place, f"{cosine:.3f}"))
        made = [figure(side.folder / side.names[at], side.names[at], word) for side, at, word in figures]
        lost += [why for _, why in made if why is not None]
        pictures += len(made)
        rows.append(f'<div class="row">{"".join(text for text, _ in made)}</div>')
    shown = f"{len(chosen)} of {count} queries, evenly spaced" if len(chosen) < count else f"{count} queries"
    about = f"{shown}; each with the images most like it among {len(gallery.names)}, by cosine similarity."
    missing = f"{len(lost)} of {pictures} pictures could not be read" if lost else ""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Matches · domainmetric</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>'
        f"<h1>Matches</h1><p>{html.escape(about)}</p>{f'<p><b>{missing}.</b></p>' if lost else ''}"
        f"{''.join(rows)}</html>\n"
    )
    return Sheet(page=page, note=f"{missing} for the page. The first: {lost[0]}" if lost else None)


def figure(path: Path, name: str, word: str) -> tuple[str, str | None]:
    """One picture with its name, the word before it; and why there is none, where it cannot be read."""
    text, lost = html.escape(one_line(name)), None
    try:
        shown = f'<img alt="{text}" src="{picture(path)}">'
    except DataError as error:
        shown, lost = '<div class="lost">no picture</div>', str(error)
    return f"<figure>{shown}<figcaption><b>{html.escape(word)}</b> {text}</figcaption></figure>", lost


def picture(path: Path) -> str:
    """A data address of the image, reduced where it is large. Raises DataError where it cannot be read."""
    values = read(path).numpy()
    image = Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else values)
    image.thumbnail((SIDE, SIDE))
    payload = io.BytesIO()
    image.save(payload, "PNG")
    return f"data:image/png;base64,{base64.b64encode(payload.getvalue()).decode()}"
