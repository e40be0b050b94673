"""Images in labelled rows and blocks, as one PNG: what a person looks at before anything is trained."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

CELL = 56
"""Side of an image on the sheet, in pixels."""
_GAP, _HEADER, _FONT = 4, 26, 15
_LONGEST = 100  # letters of a name

Row = Sequence[UInt8[np.ndarray, "h w c"]]


def contact_sheet(title: str, rows: Sequence[str], blocks: Mapping[str, tuple[int, Sequence[Row]]]) -> bytes:
    """A PNG under a title. `rows` are the rows' names; a block has a heading, a number of columns, and rows of images.

    Images are uint8, of one or three channels.
    """
    font = ImageFont.load_default(size=_FONT)
    rows, title = [_line(name) for name in rows], _line(title)
    blocks = {_line(heading): block for heading, block in blocks.items()}
    label_width = int(max((font.getlength(name) for name in rows), default=0)) + 3 * _GAP
    widths = [max(columns * (CELL + _GAP), int(font.getlength(name))) for name, (columns, _) in blocks.items()]
    width = max(label_width + sum(widths) + 3 * _GAP * len(blocks), int(font.getlength(title)) + 4 * _GAP)
    sheet = Image.new("RGB", (width, 2 * _HEADER + len(rows) * (CELL + _GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((2 * _GAP, _GAP), title, fill="black", font=font)
    for index, name in enumerate(rows):
        draw.text((_GAP, _top(index) + CELL // 2 - _FONT // 2), name, fill="black", font=font)
    left = label_width
    for (heading, (_, images)), across in zip(blocks.items(), widths, strict=True):
        draw.text((left, _HEADER + _GAP // 2), heading, fill="black", font=font)
        for index, row in enumerate(images):
            for column, image in enumerate(row):
                sheet.paste(_picture(image), (left + column * (CELL + _GAP), _top(index)))
        left += across + 3 * _GAP
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def _line(text: str) -> str:
    """A name of any kind as one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _top(row: int) -> int:
    return 2 * _HEADER + row * (CELL + _GAP)


def _picture(pixels: UInt8[np.ndarray, "h w c"]) -> Image.Image:
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    return picture.convert("RGB").resize((CELL, CELL), Image.Resampling.NEAREST)
