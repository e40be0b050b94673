"""Ready albumentations pipelines. Others are made by deriving from `Pipeline` in any file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from domainmetric.data.view_bank import Pipeline
from domainmetric.errors import ConfigError

if TYPE_CHECKING:
    import albumentations


@dataclass(frozen=True, kw_only=True)
class DigitViews(Pipeline):
    """Small motions of a digit, uneven light, blur, contrast both ways, and grey instead of color."""

    shift: float = 0.06
    """Largest shift, as a share of the image side."""
    zoom: float = 0.12
    """Largest change of size, as a share."""
    rotate: float = 8.0
    """Largest rotation, in degrees."""
    shear: float = 6.0
    """Largest shear, in degrees."""
    light: float = 0.2
    """Largest change of brightness and of contrast, as a share."""
    blur: float = 0.1
    """Probability of a slight blur."""
    invert: float = 0.0
    """Probability of the negative image."""
    grey: float = 0.0
    """Probability of grey instead of color."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ConfigError(f"DigitViews.{field.name} must not be negative, but is {getattr(self, field.name)}.")
        for name in ("shift", "zoom", "light", "blur", "invert", "grey"):
            if getattr(self, name) > 1:
                raise ConfigError(f"DigitViews.{name} must lie in [0, 1], but is {getattr(self, name)}.")

    def check(self, channels: int) -> None:
        if self.grey and channels == 1:
            raise ConfigError("DigitViews.grey does nothing to images with one channel. Leave it at 0 for this domain.")

    def build(self) -> albumentations.Compose:
        import albumentations as A
        import cv2

        motion = A.Affine(
            scale=(1 - self.zoom, 1 + self.zoom),
            translate_percent=(-self.shift, self.shift),
            rotate=(-self.rotate, self.rotate),
            shear=(-self.shear, self.shear),
            border_mode=cv2.BORDER_REPLICATE,
            p=1.0,
        )
        light = A.RandomBrightnessContrast(brightness_limit=self.light, contrast_limit=self.light, p=1.0)
        blur = A.GaussianBlur(sigma_limit=(0.3, 0.9), p=self.blur)
        return A.Compose([motion, light, blur, A.InvertImg(p=self.invert), A.ToGray(p=self.grey)])
