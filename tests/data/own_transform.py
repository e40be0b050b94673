"""A transform as a user would write it, in a module that worker processes can import."""

from __future__ import annotations

from typing import Any

import albumentations as A
import numpy as np


class NotTooBright(A.ImageOnlyTransform):  # type: ignore[misc]
    """Fails where an image is bright."""

    def apply(self, img: np.ndarray[Any, Any], **params: Any) -> np.ndarray[Any, Any]:
        if img.max() > 200:
            raise RuntimeError("too bright")
        return img


class Darker(A.ImageOnlyTransform):  # type: ignore[misc]
    """Keeps its argument where nobody finds it."""

    def __init__(self, by: int = 0, p: float = 1.0) -> None:
        super().__init__(p=p)
        self._hidden, self.by = by, 0

    def apply(self, img: np.ndarray[Any, Any], **params: Any) -> np.ndarray[Any, Any]:
        return img // (1 + self._hidden)
