"""Nearest neighbors in pixel space: the baseline of the tutorials, known to be poor across domains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, Picker, all_kept
from domainmetric.types import Bank, Matches

QUERY_CHUNK, GALLERY_CHUNK = 2048, 8192


@dataclass(frozen=True, kw_only=True)
class PixelNearest(Picker):
    """The source image nearest in grey, standardized pixels; exact over the whole source set, computed once.

    Confidence is the correlation of the two images, clipped to [0, 1].
    """

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _PixelNearest(self, context)


class _PixelNearest(AnchorMatcher):
    by_row = True

    def __init__(self, spec: PixelNearest, context: AnchorContext) -> None:
        super().__init__()
        assert context.source.labels is not None
        self.labels = context.source.labels
        similarity, index = pixel_search(context.target.images, context.source.images, num=spec.num_anchors)
        self.similarity, self.index = similarity, index

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        del source_bank, target_bank  # pixels do not change

    def forward(
        self, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"], logits_t: Float[Tensor, "m k"]
    ) -> Matches:
        chosen = self.index[target_index]
        confidence = self.similarity[target_index, 0].clamp(0, 1)
        return Matches(
            source_index=chosen, label=self.labels[chosen[:, 0]], confidence=confidence, keep=all_kept(target_index)
        )


def grey_vectors(images: UInt8[Tensor, "n h w c"], *, side: int | None = None) -> Float[Tensor, "n p"]:
    """Grey pixels of each image with mean 0 and norm 1: their products are correlations. A constant image is zero.

    With `side`, larger images are brought to that height and width before.
    """
    x = images.float().mean(-1)
    if side is not None:
        x = torch.nn.functional.adaptive_avg_pool2d(x[:, None], (min(side, x.shape[1]), min(side, x.shape[2])))
    x = x.flatten(1)
    return torch.nn.functional.normalize(x - x.mean(1, keepdim=True), eps=1e-3)


def pixel_neighbors(images: UInt8[Tensor, "n h w c"], *, num: int) -> Int64[Tensor, "n k"]:
    """The `num` other images most like each one, nearest first; all others where there are no more than that."""
    num = min(num, len(images) - 1)
    _, index = pixel_search(images, images, num=num + 1)
    own = index == torch.arange(len(images), device=images.device)[:, None]
    return index.gather(1, own.int().argsort(dim=1, stable=True))[:, :num]


def pixel_search(
    queries: UInt8[Tensor, "m h w c"], gallery: UInt8[Tensor, "n h w c2"], *, num: int
) -> tuple[Float[Tensor, "m num"], Int64[Tensor, "m num"]]:
    """Correlation and row of the `num` gallery images most like each query, exactly, in chunks of matrix products.

    Only queries that find something better in a chunk than all before it are looked at more closely, so that the time
    is that of the products.
    """
    best = torch.full((len(queries), num), -torch.inf, device=queries.device)
    index = torch.zeros(len(queries), num, dtype=torch.int64, device=queries.device)
    vectors = torch.cat([grey_vectors(part) for part in queries.split(GALLERY_CHUNK)])
    for start in range(0, len(gallery), GALLERY_CHUNK):
        part = grey_vectors(gallery[start : start + GALLERY_CHUNK])
        for first in range(0, len(queries), QUERY_CHUNK):
            product = vectors[first : first + QUERY_CHUNK] @ part.T
            better = (product.amax(1) > best[first : first + QUERY_CHUNK, -1]).nonzero().squeeze(1)
            value, where = product[better].topk(min(num, len(part)), 1)
            rows = first + better
            both = torch.cat([best[rows], value], 1).topk(num, 1)
            index[rows] = torch.cat([index[rows], where + start], 1).gather(1, both.indices)
            best[rows] = both.values
    return best, index
