"""Validators of pytorch-adapt as selection scores."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from domainmetric.errors import ConfigError
from domainmetric.geometry import at_least_float32
from domainmetric.metrics.selection import Evidence, SelectionScore
from domainmetric.randomness import isolated

LOWEST = torch.finfo(torch.float32).min
"""The score of a checkpoint of which a validator makes no number."""


@dataclass(frozen=True, kw_only=True)
class AdaptScore(SelectionScore, ABC):
    """A validator of pytorch-adapt as a spec: derive from it, name the settings as fields, make the validator.

        @dataclass(frozen=True, kw_only=True)
        class NearestSource(AdaptScore):
            threshold: float = 0.5

            def make(self) -> BaseValidator:
                return NearestSourceValidator(threshold=self.threshold)

    It is asked with `target_train` (without labels), and with the held-out source as `src_train` and `src_val`; its
    features are the embeddings z. Where it makes no number, as their MMD of equal embeddings, the score is the lowest.
    Known of pytorch-adapt 0.0.83: `MMDValidator` needs `mmd_kwargs={"mmd_type": "quadratic"}`; `DeepEmbeddedValidator`
    trains networks of its own, and fails; one that wants target labels finds none.
    """

    def __post_init__(self) -> None:
        unknown = set(self._made().required_data) - {"target_train", "src_train", "src_val"}
        if unknown:
            raise ConfigError(
                f"The validator of {type(self).__name__} asks for {', '.join(sorted(unknown))}, but a run shows "
                "target_train, src_train and src_val alone, and target labels never."
            )

    @abstractmethod
    def make(self) -> Any:
        """The validator. Called for each score, so that nothing is kept from one to the next."""

    def score(self, evidence: Evidence) -> float:
        validator, shown = self._made(), shown_of(evidence)
        with _quiet():
            try:
                value = float(validator(**{name: shown[name] for name in validator.required_data}))
            except Exception as error:  # a validator may be of a user's making, and theirs fail in many ways
                raise ConfigError(
                    f"{type(validator).__name__} of {type(self).__name__} failed with {type(error).__name__}: {error}. "
                    "Choose another score."
                ) from error
        return value if math.isfinite(value) else LOWEST

    def _made(self) -> Any:
        try:
            return self.make()
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{type(self).__name__}.make failed: {error}.") from error


def shown_of(evidence: Evidence) -> dict[str, dict[str, Tensor]]:
    """Evidence as validators take it, split by split."""
    source = _split(evidence.source_z, evidence.source_logits, 0) | {"labels": evidence.source_labels}
    target = _split(evidence.target_z, evidence.target_logits, 1)
    return {"target_train": target, "src_train": source, "src_val": source}


def _split(z: Tensor, logits: Tensor, domain: int) -> dict[str, Tensor]:
    z, logits = at_least_float32(z.detach()), at_least_float32(logits.detach())
    domains = torch.full((len(z),), domain, device=z.device)
    return {"features": z, "logits": logits, "preds": logits.softmax(1), "domain": domains}


@contextmanager
def _quiet() -> Iterator[None]:
    """The same randomness and the same order of sums each time, and nothing global changed."""
    before = np.random.get_state()
    with isolated(0, "validator"), threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports, and of what it thinks of a collapsed embedding
        np.random.seed(0)
        try:
            yield
        finally:
            np.random.set_state(before)
