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
