"""A page of matches: each query beside the gallery images most like it. One file, no script, no request."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

import numpy as np
from PIL import Image

from domainmetric.data.pictures import read
from domainmetric.embedding.embedder import Found
from domainmetric.embedding.files import Rows
from domainmetric.errors import DataError

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
figcaption { font-size: .75rem; color: var(--quiet); overflow-wrap: anywhere; }
b { color: CanvasText; font-variant-numeric: tabular-nums; }
"""


def sheet(queries: Rows, gallery: Rows, found: Found) -> str:
    """The page. A picture that has gone since it was embedded leaves its place empty."""
    count = len(queries.names)
    chosen = np.linspace(0, count - 1, min(MOST, count)).round().astype(int)
    rows = []
    for row in chosen:
        figures = [figure(queries.names[row], "query")]
        for place, cosine in zip(found.index[row], found.similarity[row], strict=True):
            figures.append(figure(gallery.names[place], f"{cosine:.3f}"))
        rows.append(f'<div class="row">{"".join(figures)}</div>')
    shown = f"{len(chosen)} of {count} queries, evenly spaced" if len(chosen) < count else f"{count} queries"
    about = f"{shown}; each with the images most like it among {len(gallery.names)}, by cosine similarity."
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Matches · domainmetric</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>'
        f"<h1>Matches</h1><p>{html.escape(about)}</p>{''.join(rows)}</html>\n"
    )


def figure(name: str, word: str) -> str:
    """One picture with its name; the word stands before it."""
    text = html.escape(name)
    return (
        f'<figure><img alt="{text}" src="{picture(Path(name))}"><figcaption><b>{html.escape(word)}</b> {text}'
        "</figcaption></figure>"
    )


def picture(path: Path) -> str:
    """A data address of the image, reduced where it is large; of an empty picture where it cannot be read."""
    try:
        values = read(path).numpy()
        image = Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else values)
    except DataError:
        image = Image.new("L", (1, 1))
    image.thumbnail((SIDE, SIDE))
    payload = io.BytesIO()
    image.save(payload, "PNG")
    return f"data:image/png;base64,{base64.b64encode(payload.getvalue()).decode()}"
