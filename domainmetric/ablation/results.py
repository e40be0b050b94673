"""What the runs of an ablation reached: one row for each run, read from its folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domainmetric.errors import RunFolderError
from domainmetric.training.checkpoint import read_json
from domainmetric.training.folder import EXPERIMENT, REPORT

COLUMNS = {
    "accuracy": ("target_accuracy",),
    "match_precision_oracle": ("anchors", "anchors/precision_oracle"),
    "coverage": ("anchors", "anchors/coverage"),
    "class_balance": ("anchors", "anchors/class_balance"),
    "unique_share": ("anchors", "anchors/unique_share"),
    "hubness": ("anchors", "anchors/hubness"),
    "agreement": ("anchors", "anchors/agreement"),
    "bank_age": ("anchors", "anchors/bank_age"),
    "match_ms": ("anchors", "anchors/match_ms"),
    "precision_at_1": ("retrieval", "target_to_source", "precision_at_1"),
    "map_at_r": ("retrieval", "target_to_source", "map_at_r"),
    "source_accuracy": ("source_accuracy",),
    "gap_oracle": ("selection", "gap_oracle"),
    "seconds": ("seconds",),
}
"""Names of the tables' columns, and where a report holds them. All are fractions, but hubness (a skewness), steps
(`bank_age`), milliseconds (`match_ms`) and seconds."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A finished run."""

    variant: str
    seed: int
    folder: Path
    values: dict[str, float | None]
    """By the names of `COLUMNS`; None for what the run does not have, such as the coverage of no anchors."""
    num_test: int
    """Target test images that the accuracy is over."""
    scores: dict[str, float]
    """Label-free scores of the reported checkpoint."""
    code: str | None
    """Hash of the code that trained it."""

    @property
    def accuracy(self) -> float:
        """Accuracy on the target's test images, as a fraction."""
        value = self.values["accuracy"]
        assert value is not None
        return value

    @staticmethod
    def read(variant: str, seed: int, folder: Path) -> Row:
        """The numbers in a finished run's report. Raises RunFolderError where there is none."""
        report: dict[str, Any] = read_json(folder / REPORT)
        if "confusion" not in report:
            raise RunFolderError(f"{folder} reports no target accuracy, since its target's test images have no labels.")
        return Row(
            variant=variant,
            seed=seed,
            folder=folder,
            values={name: inside(report, path) for name, path in COLUMNS.items()},
            num_test=sum(map(sum, report["confusion"])),
            scores=report["selection"]["scores"],
            code=read_json(folder / EXPERIMENT).get("machine", {}).get("code"),
        )


def versions_note(codes: Iterable[str | None]) -> str | None:
    """What must be said of runs, given the hash of the code of each: None where the same code made them all."""
    count = len(set(codes))
    return f"The runs were made by {count} versions of the code, so they may differ by that too." if count > 1 else None


def inside(report: dict[str, Any], path: tuple[str, ...]) -> float | None:
    """The number at a path of keys, or None where it ends early."""
    value = reach(report, path)
    return None if value is None else float(value)


def reach(report: Mapping[str, Any], path: Sequence[str]) -> Any:
    """What lies at a path of keys, or None where it ends early."""
    value: Any = report
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
