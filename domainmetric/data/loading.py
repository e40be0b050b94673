"""A split as its domain gives it, checked: a domain may be of a user's own making, and a mistake in it should be told.

What passes here has the promised type, shape and classes, so that nothing later has to ask again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from domainmetric.data.domain import Domain, Split
from domainmetric.errors import DataError, DomainMetricError
from domainmetric.types import ImageSet


def load_split(domain: Domain, split: Split, *, root: Path, size: int, labelled: bool) -> ImageSet:
    """One split of a domain; `labelled` demands labels. Raises what `Domain.load` raises, and DataError."""
    what = f"The {split} split of '{domain.name}'"
    try:
        images: Any = domain.load(split, root=root, size=size)
    except DataError as error:
        raise DataError(f"{what} cannot be used. {error}") from error
    except (DomainMetricError, OSError):
        raise
    except Exception as error:
        raise DataError(
            f"{what} could not be loaded: {type(domain).__name__}.load failed with {type(error).__name__}: {error}. "
            "Fix it; --debug shows where."
        ) from error
    if not isinstance(images, ImageSet):
        raise DataError(
            f"{what} must be an ImageSet, but {type(domain).__name__}.load returned a {type(images).__name__}."
        )
    expected = (size, size, domain.channels)
    if tuple(images.images.shape[1:]) != expected:
        raise DataError(
            f"{what} must hold images of height, width and channels {expected}, but they are "
            f"{tuple(images.images.shape[1:])}. Have `load` frame them, with Resize().apply(images, size)."
        )
    if images.classes != (domain.classes or ()):
        raise DataError(
            f"{what} names the classes {images.classes}, but its domain names {domain.classes}. Make them one."
        )
    if labelled and images.labels is None:
        raise DataError(f"{what} needs labels, but has none. Only the target may be without.")
    return images
