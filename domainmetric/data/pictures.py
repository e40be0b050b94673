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

from domainmetric.data.framing import at_once
from domainmetric.data.loaders import loaded
from domainmetric.errors import DataError
from domainmetric.types import check_images

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MAX_BYTES = 2**29
"""Of a file. It is read whole, and a pipe or a device has no end."""

Picture = Image.Image | str | Path | NDArray[np.uint8] | Tensor
Pictures = Picture | Sequence[Picture] | DataLoader[Any]
"""One image, several, a folder, a uint8 array or tensor, or a torch `DataLoader`.

Arrays are (n h w c), channels last; (n h w) are several grey images, (h w) is one.
"""
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
    names = [name for name, _ in walk(folder)]
    if not names:
        raise DataError(f"{folder} holds no images: expected files that end with {', '.join(sorted(SUFFIXES))}.")
    return sorted(names, key=lambda name: name.split("/"))


def walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every image below a folder with its name relative to it, parts joined by slashes.

    Links are followed, those back to where they are reached from excepted. What is hidden, by a dot before its name, is
    left out. Raises DataError for a folder that cannot be listed.
    """
    waiting = [("", os.fspath(folder), frozenset[str]())]
    while waiting:
        prefix, place, followed = waiting.pop()
        try:
            with os.scandir(place) as found:
                entries = list(found)
        except OSError as error:
            raise DataError(f"The folder {place} cannot be listed: {error.strerror}. Make it readable.") from error
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                beyond = followed
                if entry.is_symlink():
                    real = os.path.realpath(entry.path)
                    if real in followed or f"{os.path.realpath(place)}{os.sep}".startswith(f"{real}{os.sep}"):
                        continue
                    beyond = followed | {real}
                waiting.append((f"{prefix}{entry.name}/", entry.path, beyond))
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                yield prefix + entry.name, entry


def stacked(images: NDArray[Any] | Tensor) -> UInt8[Tensor, "n h w c"]:
    """An array or tensor of one image or several as one of several: (h w) is one grey image, (n h w) are several.

    Raises DataError where it is none, and where it can be one image with its channels as well as several grey ones.
    """
    values = torch.as_tensor(images)
    if values.ndim == 3 and (values.shape[-1] in (1, 3) or values.shape[0] == 3):
        raise DataError(
            f"An array of the shape {tuple(values.shape)} can be one image with its channels or several grey ones. "
            "Give one image as (1, h, w, 3), or (1, h, w, 1) where it is grey; several grey ones as (n, h, w, 1)."
        )
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
        rows = range(start, min(start + size, len(images)))
        parts = list(framed(images, rows, channels, frame))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(load, 0)
        for start in range(size, len(images) + size, size):
            batch = coming.result()
            if start < len(images):
                coming = ahead.submit(load, start)
            yield batch


def framed(
    images: Sequence[Picture] | UInt8[Tensor, "n h w c"], rows: range, channels: int, frame: Frame
) -> Iterator[UInt8[Tensor, "b s s c"]]:
    """Some of the images in their order, framed as they are read: of one shape as many together as `at_once` allows.

    So no more of them are there as they were than a few large ones or many small ones. Raises DataError, which names
    the image, for one that cannot be framed.
    """
    if isinstance(images, Tensor):
        several = at_once(*images.shape[1:])
        for start in range(rows.start, rows.stop, several):
            some = range(start, min(start + several, rows.stop))
            yield together(to_channels(images[some.start : some.stop], channels), [called(row) for row in some], frame)
        return
    group: list[UInt8[Tensor, "h w c"]] = []
    names: list[str] = []
    for row in rows:
        picture = images[row]
        one = to_channels(read(picture), channels)
        if group and (one.shape != group[0].shape or len(group) >= at_once(*one.shape)):
            yield together(stack(group), names, frame)
            group, names = [], []
        group.append(one)
        names.append(str(picture) if isinstance(picture, str | Path) else called(row))
    yield together(stack(group), names, frame)


def together(images: UInt8[Tensor, "b h w c"], names: Sequence[str], frame: Frame) -> UInt8[Tensor, "b s s c"]:
    """Images of one shape, framed. Where that fails, one by one until the image is found that the error then names."""
    try:
        return frame(images)
    except DataError:
        for image, name in zip(images, names, strict=True):
            try:
                frame(image[None])
            except DataError as error:
                raise DataError(f"{name}: {error}") from error
        raise


def stack(group: Sequence[UInt8[Tensor, "h w c"]]) -> UInt8[Tensor, "b h w c"]:
    """Images of one shape as one tensor; one alone is not copied, since it may be large."""
    return group[0][None] if len(group) == 1 else torch.stack(list(group))


def called(row: int) -> str:
    """How an image without a file is named in an error."""
    return f"Image {row} (the first is 0)"


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
