"""Images as their owners have them, arrays, tensors, PIL images, files or a folder, as batches that a network takes."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader

from domainmetric.data.loaders import loaded
from domainmetric.errors import DataError
from domainmetric.types import check_images

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MAX_BYTES = 2**29
"""Of a file. It is read whole, and a pipe or a device has no end."""

Picture = Image.Image | str | Path | NDArray[np.uint8] | Tensor
Pictures = Picture | Sequence[Picture] | DataLoader[Any]
"""One image, several, a folder, a uint8 array or tensor (n h w c), (n h w) or (h w), or a torch `DataLoader`."""
Frame = Callable[[UInt8[Tensor, "n h w c"]], UInt8[Tensor, "n s s c"]]


def listed(pictures: Image.Image | str | Path | Sequence[Picture]) -> Sequence[Picture]:
    """The images one by one; a folder gives the files below it that end like images, in the order of their names.

    Raises DataError where there are none.
    """
    if isinstance(pictures, str | Path) and Path(pictures).is_dir():
        return [os.path.join(pictures, name) for name in names_below(Path(pictures))]
    if isinstance(pictures, str | Path | Image.Image):
        return [pictures]
    if not len(pictures):
        raise DataError("Expected at least one image, but came none.")
    return pictures


def names_below(folder: Path) -> list[str]:
    """The files below a folder that end like images, by their names within it, parts joined by slashes, in order.

    As text, since paths take longer to make than such files to read. Raises DataError where there are none.
    """
    names, top = [], os.fspath(folder)
    for place, _, files in os.walk(top):
        within = place[len(top) :].replace(os.sep, "/").strip("/")
        prefix = f"{within}/" if within else ""
        names += [prefix + file for file in files if os.path.splitext(file)[1].lower() in SUFFIXES]
    if not names:
        raise DataError(f"{folder} holds no images: expected files that end with {', '.join(sorted(SUFFIXES))}.")
    return sorted(names, key=lambda name: name.split("/"))


def stacked(images: NDArray[Any] | Tensor) -> UInt8[Tensor, "n h w c"]:
    """An array or tensor of one image or several as one of several. Raises DataError where it is none."""
    values = torch.as_tensor(images)
    values = values[None] if values.ndim == 2 else values
    values = values[..., None] if values.ndim == 3 else values
    check_images(values)
    return values


def batches(pictures: Pictures, *, channels: int, frame: Frame, size: int = 512) -> Iterator[UInt8[Tensor, "b s s c"]]:
    """The images in their order, framed, `size` at a time: what is on the disk is read when it is needed.

    While a batch is used, the next one is read. The batches of a torch loader stay as they are. Raises DataError, which
    names the file, for what is no image.
    """
    if isinstance(pictures, DataLoader):
        yield from (frame(to_channels(images, channels)) for images in loaded(pictures))
        return
    images = stacked(pictures) if isinstance(pictures, np.ndarray | Tensor) else listed(pictures)

    def load(start: int) -> UInt8[Tensor, "b s s c"]:
        if isinstance(images, Tensor):
            return frame(to_channels(images[start : start + size], channels))
        raw = [to_channels(read(one), channels) for one in images[start : start + size]]
        if len({one.shape for one in raw}) == 1:
            return frame(torch.stack(raw))
        return torch.cat([frame(one[None]) for one in raw])

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(load, 0)
        for start in range(size, len(images) + size, size):
            batch = coming.result()
            if start < len(images):
                coming = ahead.submit(load, start)
            yield batch


def read(picture: Picture) -> UInt8[Tensor, "h w c"]:
    """One image as it is, grey or RGB. Raises DataError for what is no image, or none of 0..255."""
    if isinstance(picture, Image.Image):
        return from_pil(picture)
    if isinstance(picture, np.ndarray | Tensor):
        values = torch.as_tensor(picture)
        values = values[:, :, None] if values.ndim == 2 else values
        check_images(values[None])
        return values
    try:
        status = os.stat(picture)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            what = f"one of {status.st_size:,}" if stat.S_ISREG(status.st_mode) else "none"
            raise ValueError(f"it must be a file of at most {MAX_BYTES:,} bytes, but is {what}. Take it out")
        with open(picture, "rb") as file:
            content = file.read()  # at once: Pillow would ask for it piece by piece
        with Image.open(io.BytesIO(content)) as image:
            return from_pil(image)
    except FileNotFoundError as error:
        raise DataError(f"There is no image {picture}.") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{picture} cannot be read as an image: it is of no kind that Pillow knows.") from error
    except (OSError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise DataError(f"{picture} cannot be read as an image: {error}.") from error


def from_pil(image: Image.Image) -> UInt8[Tensor, "h w c"]:
    """Grey stays grey; every other mode becomes RGB. Raises DataError for grey of more than 8 bits."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise DataError(
            f"Images must have 8 bits a channel (0..255), but one came in mode '{image.mode}'. Scale it to 8 bits, as "
            "the training images were."
        )
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    pixels = bytearray((image if image.mode == mode else image.convert(mode)).tobytes())
    return torch.from_numpy(np.frombuffer(pixels, np.uint8).reshape(image.height, image.width, len(mode)))


def to_channels(image: UInt8[Tensor, "*n h w c"], channels: int) -> UInt8[Tensor, "*n h w c2"]:
    """Grey repeated, or color averaged, as the networks do."""
    if image.shape[-1] == channels:
        return image
    grey = image.float().mean(-1, keepdim=True).round().to(torch.uint8)
    return grey.expand(*image.shape[:-1], channels)
