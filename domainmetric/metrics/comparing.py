"""All queries against a whole gallery, a few rows at a time: the part that retrieval and nearest neighbors share."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor


def squared_chord_chunks(
    query_z: Float[Tensor, "q d"], gallery_z: Float[Tensor, "g d"], *, chunk: int
) -> Iterator[tuple[slice, Float[Tensor, "c g"]]]:
    """Squared distances of `chunk` queries after another to every gallery item, with the rows they belong to.

    `geometry.squared_chord` with its gallery side prepared once: centered on the gallery's mean, so that a collapsed
    embedding keeps its digits, and with both squared lengths as two more columns, so that one product is the distance.
    Rounding may leave tiny negative numbers. Each result lies in the same memory as the one before it: take what is
    needed before asking for the next; overwriting it is allowed. float32 at least.
    """
    dtype = torch.promote_types(query_z.dtype, torch.float32)
    center = gallery_z.to(dtype).mean(0)
    query, gallery = query_z.to(dtype) - center, gallery_z.to(dtype) - center
    query = torch.cat([-2 * query, query.square().sum(1, keepdim=True), query.new_ones(len(query), 1)], 1)
    gallery = torch.cat([gallery, gallery.new_ones(len(gallery), 1), gallery.square().sum(1, keepdim=True)], 1).T
    buffer = query.new_empty(min(chunk, len(query)), gallery.shape[1])
    with torch.autocast(query.device.type, enabled=False):
        for start in range(0, len(query), chunk):
            rows = slice(start, min(start + chunk, len(query)))
            yield rows, torch.mm(query[rows], gallery, out=buffer[: rows.stop - rows.start])
