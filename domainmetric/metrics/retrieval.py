"""How well an embedding ranks a gallery: P@1, Recall@K, R-precision and MAP@R, exactly and for full-size galleries.

MAP@R is that of Musgrave et al. 2020, "A Metric Learning Reality Check", section 4.1: with R relevant items in the
gallery, the precision at each relevant one among the first R ranks, summed and divided by R.

Only the ranks of the relevant items are needed, so nothing is sorted with its index: the distances to relevant items
and the nearest of the other distances are sorted apart, and one sorted search tells how many others lie before each
relevant item.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.errors import DataError
from domainmetric.metrics.checks import check_labelled, check_widths
from domainmetric.metrics.comparing import squared_chord_chunks


@torch.no_grad()
def retrieval(
    query_z: Float[Tensor, "q d"],
    query_labels: Int64[Tensor, " q"],
    gallery_z: Float[Tensor, "g d"],
    gallery_labels: Int64[Tensor, " g"],
    *,
    exclude_self: bool = False,
    recall_at: Sequence[int] = (1, 10),
    chunk: int = 64,
) -> dict[str, float]:
    """Means over the queries, in [0, 1]: `precision_at_1`, `map_at_r`, `r_precision`, and `recall_at_K` for each K.

    The ranking is by distance between the rows, which for unit vectors is the order of cosine similarity. **Ties count
    against the query**: of a relevant and an irrelevant item at the same distance, the irrelevant one comes first, so a
    collapsed embedding scores 0 instead of whatever order the gallery happens to have.

    With `exclude_self` the queries are the gallery, in the same order, and an item is left out of its own ranking and
    of its R. `chunk` queries are ranked at a time; memory is about 8 bytes for each of them and each gallery item.

    Raises DataError for empty, non-finite or mismatched input, and for queries without any relevant item.
    """
    check_labelled(query_z, query_labels, name="Query embeddings")
    check_labelled(gallery_z, gallery_labels, name="Gallery embeddings")
    check_widths(query_z, gallery_z, names="Query and gallery embeddings")
    if exclude_self and not (query_z.shape == gallery_z.shape and torch.equal(query_labels, gallery_labels)):
        raise DataError("With exclude_self the queries must be the gallery itself, but their shapes or labels differ.")
    if not recall_at or min(recall_at) < 1:
        raise DataError(f"recall_at must hold ranks from 1 on, but came as {tuple(recall_at)}.")
    spans = _relevant_spans(query_labels, gallery_labels, exclude_self=exclude_self)

    query_labels, query_order = query_labels.sort(stable=True)
    query_z, gallery_z = query_z[query_order], gallery_z[gallery_labels.argsort(stable=True)]
    sums = dict.fromkeys(["precision_at_1", "map_at_r", "r_precision", *(f"recall_at_{k}" for k in recall_at)], 0.0)
    for rows, distance in squared_chord_chunks(query_z, gallery_z, chunk=chunk):
        if exclude_self:  # both sides are sorted alike, so item i is column i
            distance[:, rows].fill_diagonal_(torch.inf)
        classes, sizes = query_labels[rows].unique_consecutive(return_counts=True)
        for label, block in zip(classes.tolist(), distance.split(sizes.tolist()), strict=True):
            ranks = _relevant_ranks(block, spans[label], num_self=int(exclude_self), depth=max(recall_at))
            for name, value in _of_ranks(ranks, recall_at).items():
                sums[name] += float(value.sum())
    return {name: value / len(query_z) for name, value in sums.items()}


def _relevant_spans(query_labels: Tensor, gallery_labels: Tensor, *, exclude_self: bool) -> dict[int, tuple[int, int]]:
    """First and last column (exclusive) of each class in the gallery sorted by class; DataError if a query has none."""
    classes, counts = gallery_labels.unique(return_counts=True)
    stops = counts.cumsum(0)
    spans = dict(zip(classes.tolist(), zip((stops - counts).tolist(), stops.tolist(), strict=True), strict=True))
    present = {label for label, (start, stop) in spans.items() if stop - start > exclude_self}
    missing = sorted(set(query_labels.unique().tolist()) - present)
    if missing:
        needed = "at least two items (the query itself is left out)" if exclude_self else "at least one item"
        raise DataError(
            f"Each query needs {needed} of its class in the gallery, but these classes have too few: {missing}. "
            "Leave their queries out, or add gallery items."
        )
    return spans


def _relevant_ranks(block: Tensor, span: tuple[int, int], *, num_self: int, depth: int) -> Int64[Tensor, "q r"]:
    """Ranks (from 1) of the r relevant items of queries of one class, ascending. `block` [q, g] is overwritten.

    Exact up to rank max(r, depth); beyond it, a lower bound that is itself beyond it.
    """
    start, stop = span
    relevant = _smallest(block[:, start:stop].clone(), stop - start - num_self)
    num_relevant = relevant.shape[1]
    block[:, start:stop] = torch.inf
    others = _smallest(block, min(max(num_relevant, depth), block.shape[1]))
    ahead = torch.searchsorted(others, relevant, right=True)
    return ahead + torch.arange(1, num_relevant + 1, device=block.device)


def _of_ranks(ranks: Int64[Tensor, "q r"], recall_at: Sequence[int]) -> dict[str, Tensor]:
    """Every metric of every query, from the ascending ranks of its relevant items."""
    num_relevant = ranks.shape[1]
    hit = ranks <= num_relevant
    precision = torch.arange(1, num_relevant + 1, device=ranks.device) / ranks
    values = {
        "precision_at_1": ranks[:, 0] == 1,
        "map_at_r": precision.where(hit, torch.zeros_like(precision)).mean(1),
        "r_precision": hit.float().mean(1),
    }
    return values | {f"recall_at_{k}": ranks[:, 0] <= k for k in recall_at}


def _smallest(x: Float[Tensor, "q g"], count: int) -> Float[Tensor, "q c"]:
    """The `count` smallest entries of each row, ascending. `x` is overwritten on the CPU.

    There, numpy's vectorized partition and sort are several times faster than torch's, which always carry indices; they
    release the interpreter lock, so rows are shared among threads.
    """
    if x.device.type != "cpu":
        return x.sort(1).values[:, :count].contiguous()

    def sort_rows(part: Tensor) -> None:
        values = part.numpy()
        if count < values.shape[1]:
            values.partition(count - 1, axis=1)
        values[:, :count].sort(axis=1)

    num_threads = max(1, torch.get_num_threads())
    with ThreadPoolExecutor(num_threads) as pool:
        list(pool.map(sort_rows, x.split(-(-len(x) // num_threads))))
    return x[:, :count].contiguous()
