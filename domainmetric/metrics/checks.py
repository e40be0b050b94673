"""What every metric asks of its input, so that a wrong shape is an error and never a number."""

from __future__ import annotations

import torch
from torch import Tensor

from domainmetric.errors import DataError


def check_rows(z: Tensor, *, name: str, at_least: int = 1) -> None:
    """Raise DataError unless `z` is a finite matrix with at least `at_least` rows."""
    if z.ndim != 2:
        raise DataError(f"{name} must be a matrix with one row for each item, but came as {tuple(z.shape)}.")
    if len(z) < at_least:
        raise DataError(f"{name} must have at least {at_least} row(s), but has {len(z)}.")
    if not bool(torch.isfinite(z).all()):
        rows = (~torch.isfinite(z)).any(1)
        raise DataError(
            f"{name} must be finite, but {int(rows.sum())} of {len(z)} rows hold NaN or infinity: the training "
            "that made them has diverged. Use an earlier checkpoint or a smaller learning rate."
        )


def check_labelled(z: Tensor, labels: Tensor, *, name: str) -> None:
    """Raise DataError unless `z` passes `check_rows` and `labels` holds one class index for each of its rows."""
    check_rows(z, name=name)
    check_paired(labels, len(z), name=f"Labels of {name}")


def check_widths(a: Tensor, b: Tensor, *, names: str) -> None:
    """Raise DataError unless both matrices have equally many columns."""
    if a.shape[1] != b.shape[1]:
        raise DataError(f"{names} must be equally wide, but have {a.shape[1]} and {b.shape[1]} columns.")


def check_paired(labels: Tensor, num_items: int, *, name: str) -> None:
    """Raise DataError unless `labels` is int64 of shape (num_items,) without negative entries, num_items above zero."""
    if labels.dtype != torch.int64:
        raise DataError(f"{name} must be int64, but came as {str(labels.dtype).removeprefix('torch.')}.")
    if labels.shape != (num_items,):
        raise DataError(f"{name} must have the shape ({num_items},), but came as {tuple(labels.shape)}.")
    if num_items == 0:
        raise DataError(f"{name} must not be empty.")
    if int(labels.min()) < 0:
        raise DataError(f"{name} must be class indices from 0 on, but the smallest is {int(labels.min())}.")


def check_range(labels: Tensor, num_classes: int, *, name: str) -> None:
    """Raise DataError unless every label lies in [0, num_classes)."""
    if int(labels.max()) >= num_classes:
        raise DataError(
            f"{name} must lie in 0..{num_classes - 1} ({num_classes} classes), but reach {int(labels.max())}."
        )
