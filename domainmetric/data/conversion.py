"""What a conversion does to images, at work and as a record by which it is noticed that it has changed.

Two settings that read the same may do something else, since `Pipeline.build` and `Framing.apply` are code of a user's.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from domainmetric.data.framing import Framing
from domainmetric.data.view_bank import Pipeline, import_albumentations
from domainmetric.data.views_worker import classes
from domainmetric.errors import DataError
from domainmetric.serialize import to_json

OURS = frozenset({"abc", "albumentations", "builtins", "domainmetric", "typing"})
"""Packages whose code is no user's: their versions tell it."""


def piped(pipeline: Pipeline, image: UInt8[Tensor, "h w c"]) -> UInt8[Tensor, "h2 w2 c"]:
    """An image through a pipeline, whose draws, where it has any, are the same for every image.

    Raises DataError where the pipeline fails, or returns something else than an image of as many channels.
    """
    compose, name, channels = built(pipeline), type(pipeline).__name__, image.shape[2]
    compose.set_random_seed(0)
    try:
        found = compose(image=np.array(image.numpy()))["image"]  # a copy: a transform may work in place
    except Exception as error:  # whatever a user's transform raises
        raise DataError(
            f"The conversion pipeline {name} failed on an image of shape {tuple(image.shape)}: "
            f"{type(error).__name__}: {error}. Repair its build(), or leave the transform out."
        ) from error
    if isinstance(found, np.ndarray) and found.dtype == np.uint8 and found.size:
        view = found[..., None] if found.ndim == 2 else found
        if view.ndim == 3 and view.shape[2] == channels:
            return torch.from_numpy(np.ascontiguousarray(view))
    came = f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else f"a {type(found).__name__}"
    raise DataError(
        f"A conversion pipeline must return uint8 images (height, width, {channels}), but {name} returned {came}. "
        "Leave out Normalize and ToTensorV2 (the network does both), and transforms that change the channels."
    )


@cache
def built(pipeline: Pipeline) -> Any:
    """The pipeline at work, made once."""
    import_albumentations()
    return pipeline.build()


def described(framing: Framing, channels: int, pipeline: Pipeline | None) -> dict[str, Any]:
    """A conversion as plain JSON: its settings, the transforms that it comes to, and a hash of the code of a user's.

    That is the code of the files in which the classes of framing, pipeline and transforms stand.
    """
    transforms = None if pipeline is None else transforms_of(built(pipeline))
    own = [kind for part in (framing, pipeline) if part is not None for kind in type(part).__mro__]
    for name in classes(transforms["transform"]) if transforms else ():
        module, _, kind = name.rpartition(".")
        own += [vars(sys.modules[module])[kind]] if kind in vars(sys.modules.get(module, object)) else []
    made = {
        "framing": to_json(framing),
        "channels": channels,
        "pipeline": None if pipeline is None else to_json(pipeline),
        "transforms": transforms,
        "code": code_hash(own),
    }
    plain: dict[str, Any] = json.loads(json.dumps(made))
    return plain


def transforms_of(compose: Any) -> dict[str, Any] | None:
    """An albumentations pipeline and its version as JSON; None where it cannot be written down, as with a Lambda."""
    import albumentations

    try:
        written: dict[str, Any] = json.loads(json.dumps(albumentations.to_dict(compose)))
    except Exception:  # whatever a user's transform raises
        return None
    return written


def code_hash(kinds: Iterable[type]) -> str | None:
    """A hash of the code of classes, of the whole file where there is one; None where all are domainmetric's own."""
    sources = {source_of(kind) for kind in kinds if kind.__module__.partition(".")[0] not in OURS}
    return hashlib.sha256(b"\0".join(sorted(sources))).hexdigest() if sources else None


def source_of(kind: type) -> bytes:
    """The file in which a class stands; else, as in a notebook, what is known of the code of its functions."""
    try:
        return Path(inspect.getfile(kind)).read_bytes()
    except (OSError, TypeError):
        functions = [value for value in vars(kind).values() if inspect.isfunction(value)]
        return b"".join(repr((f.__code__.co_code, f.__code__.co_names)).encode() for f in functions)
