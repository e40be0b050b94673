"""What a network is fed: images freed of brightness and contrast, each by itself or by the statistics of a data set."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor


def standardize(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Each image with mean 0 and deviation 1 over all its pixels and channels; a constant image becomes zero."""
    dims = (1, 2, 3)
    centered = images - images.mean(dims, keepdim=True)
    return centered * (centered.square().mean(dims, keepdim=True) + 1e-4).rsqrt()


def by_statistics(
    images: Float[Tensor, "n c h w"], mean: Sequence[float], deviation: Sequence[float]
) -> Float[Tensor, "n c h w"]:
    """Images in [0, 1] by mean and deviation of each channel, which are those of a data set."""
    center, scale = (images.new_tensor(list(values))[:, None, None] for values in (mean, deviation))
    return (images - center) / scale
