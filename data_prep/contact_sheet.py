"""A contact sheet: some images of each class in a labelled row, so that a person sees at a glance what was prepared."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from domainmetric.data.domain import SPLITS, Split
from domainmetric.types import ImageSet

_CELL, _GAP, _HEADER, _FONT = 56, 4, 26, 15
_PER_SPLIT: dict[Split, int] = {"train": 10, "test": 5}


def contact_sheet(title: str, splits: Mapping[Split, ImageSet]) -> bytes:
    """A PNG: a row for each class, 10 training and 5 test images in it, taken at even distances through the set."""
    classes = splits["train"].classes
    font = ImageFont.load_default(size=_FONT)
    label_width = int(max(font.getlength(name) for name in classes)) + 3 * _GAP
    columns = sum(_PER_SPLIT.values())
    width = label_width + columns * (_CELL + _GAP) + 4 * _GAP
    sheet = Image.new("RGB", (width, 2 * _HEADER + len(classes) * (_CELL + _GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((2 * _GAP, _GAP), title, fill="black", font=font)
    left = label_width
    for split in SPLITS:
        draw.text((left, _HEADER + _GAP // 2), f"{split} ({len(splits[split]):,})", fill="black", font=font)
        for label, name in enumerate(classes):
            top = 2 * _HEADER + label * (_CELL + _GAP)
            draw.text((_GAP, top + _CELL // 2 - _FONT // 2), name, fill="black", font=font)
            for column, image in enumerate(_chosen(splits[split], label, _PER_SPLIT[split])):
                sheet.paste(image, (left + column * (_CELL + _GAP), top))
        left += _PER_SPLIT[split] * (_CELL + _GAP) + 3 * _GAP
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def _chosen(images: ImageSet, label: int, num: int) -> list[Image.Image]:
    assert images.labels is not None  # stores are labelled
    rows = np.flatnonzero(images.labels.numpy() == label)
    if len(rows) == 0:
        return []
    rows = rows[np.linspace(0, len(rows) - 1, min(num, len(rows))).astype(int)]
    pixels = [images.images[int(row)].numpy() for row in rows]
    pictures = [Image.fromarray(p[..., 0] if p.shape[-1] == 1 else p) for p in pixels]
    return [picture.convert("RGB").resize((_CELL, _CELL), Image.Resampling.NEAREST) for picture in pictures]
