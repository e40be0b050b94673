"""The process that makes albumentations views: `python -m domainmetric.data.views_worker CONNECTION BUFFER`.

It is started by `view_pool` and lives as long as the connection. It imports no torch, which keeps it at about 100 MB
and starts it in about a second; so this module and what it imports at its head must stay free of torch.
"""

from __future__ import annotations

import importlib
import json
import mmap
import random
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domainmetric.errors import DataError

Task = tuple[int, int, tuple[int, int, int], list[int]]
"""First image in the slot, bytes before the slot, image shape, and one seed for each image."""


def render(compose: Any, images: NDArray[np.uint8], seeds: list[int]) -> None:
    """Replace each image by its view. The view depends on image and seed alone. Raises DataError.

    `Compose.set_random_seed` is no use here: it gives every transform the same seed, so that transforms with the same
    probability always come together. One generator that they draw from in turn keeps them independent.
    """
    for index, seed in enumerate(seeds):
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        try:
            view = compose(image=images[index].copy())["image"]
        except Exception as error:  # whatever a user's transform raises
            raise DataError(
                f"The albumentations pipeline failed on an image of shape {images[index].shape}: "
                f"{type(error).__name__}: {error}"
            ) from error
        images[index] = checked(view, images[index].shape)


def checked(view: object, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The view, if it is an image like the one that it was made of. Raises DataError."""
    if isinstance(view, np.ndarray) and view.dtype == np.uint8:
        if view.shape == shape:
            return view
        if (*view.shape, 1) == shape:
            return view[..., None]
    came = f"{view.dtype} of shape {view.shape}" if isinstance(view, np.ndarray) else f"a {type(view).__name__}"
    raise DataError(
        f"An albumentations pipeline must return uint8 images of the shape they came in, {shape}, but returned {came}. "
        "Leave out Normalize and ToTensorV2 (the network does both), and transforms that change size or channels."
    )


def serve(connection: Connection, buffer: memoryview | mmap.mmap, compose: Any) -> None:
    """Answer tasks until the connection closes: nothing for a finished one, or the text of its error."""
    while True:
        try:
            first, offset, shape, seeds = json.loads(connection.recv_bytes())
        except EOFError:
            return
        size = int(np.prod(shape))
        images: NDArray[np.uint8] = np.frombuffer(buffer, np.uint8, len(seeds) * size, offset + first * size)
        try:
            render(compose, images.reshape(len(seeds), *shape), seeds)
        except DataError as error:
            connection.send_bytes(str(error).encode())
        else:
            connection.send_bytes(b"")


def rebuilt(message: bytes) -> Any:
    """The pipeline that a message of `view_pool.packed` describes; a user's transforms are imported by their names."""
    import albumentations

    description = json.loads(message)
    for name in classes(description["transform"]):
        if "." in name:  # albumentations' own go by their names alone
            importlib.import_module(name.rpartition(".")[0])
    return albumentations.from_dict(description)


def classes(transform: dict[str, Any]) -> Iterator[str]:
    """The names of a transform's class and of those within it."""
    yield transform["__class_fullname__"]
    for inner in transform.get("transforms", ()):
        yield from classes(inner)


def load(connection: Connection) -> Any:
    """The pipeline that the parent sends first; the answer is empty, or why it cannot be loaded."""
    message = connection.recv_bytes()
    try:
        sys.modules["torch"] = None  # type: ignore[assignment]  # albumentations would import it, if it could
        import albumentations  # noqa: F401
        import cv2

        del sys.modules["torch"]  # a user's own module may need it
        cv2.setNumThreads(1)
        compose = rebuilt(message)
    except Exception as error:  # an import may raise anything
        problem = (
            f"A view worker could not load the albumentations pipeline ({type(error).__name__}: {error}). Transforms "
            "of your own must lie in a module that can be imported by its name; or make the views with num_workers=0."
        )
        connection.send_bytes(problem.encode())
        return None
    connection.send_bytes(b"")
    return compose


def main(words: list[str]) -> None:
    """Serve until the parent closes the connection or is gone."""
    run: Callable[[int], Connection] = Connection
    with run(int(words[0])) as connection, mmap.mmap(int(words[1]), 0) as buffer:
        try:
            compose = load(connection)
            if compose is not None:
                serve(connection, buffer, compose)
        except (BrokenPipeError, ConnectionResetError, EOFError):
            return  # the parent is gone: nothing is left to do


if __name__ == "__main__":
    main(sys.argv[1:])
