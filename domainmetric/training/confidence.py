"""What a finished network's confidence is worth: fitted at the end of a run, for each domain, without a target label.

The source's temperature comes from held-out source images and their labels, the target's from mixtures of target
training images (`metrics.calibration`). What is unlike any class is far from every class mean of its own domain: means
by label for the source, by predicted class for the target. How far is far is read off held-out source images and off
target training images, so that a chosen share of images like these is turned away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from sklearn.metrics import roc_auc_score
from torch import Tensor

from domainmetric.metrics.calibration import (
    expected_calibration_error,
    familiarity,
    fit_temperature,
    mixtures,
    thresholds,
)
from domainmetric.metrics.classification import prototypes
from domainmetric.models.network import DOMAINS, DomainName, Network
from domainmetric.randomness import generator
from domainmetric.training.batches import RunData
from domainmetric.training.checkpoint import read_tensors, write_tensors
from domainmetric.training.evaluation import encode
from domainmetric.training.final import Final, labels_of
from domainmetric.types import Encoded

CONFIDENCE = "confidence.safetensors"
"""File of a run folder."""
ROWS = 5000
"""Target training images that are looked at."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Confidence:
    """How the network's answers to one domain's images are to be read."""

    temperature: float
    """What logits are divided by before the softmax."""
    means: Float[Tensor, "k d"]
    """Class means of the domain's embeddings, of length 1; zeros where there are none."""
    thresholds: Mapping[float, float]
    """Share of the domain's own images -> the cosine to the nearest mean below which they lie."""

    def figures(self, test: Encoded) -> dict[str, Any]:
        """The temperature, and the share of test images that is turned away at each threshold."""
        familiar = familiarity(test.z, self.means)
        away = {str(rate): float((familiar < low).double().mean()) for rate, low in self.thresholds.items()}
        return {"temperature": self.temperature, "turned_away": away}

    def judged(self, test: Encoded, labels: Int64[Tensor, " n"] | None) -> dict[str, float]:
        """Calibration errors and, where some labels are of no known class, how well familiarity tells those apart."""
        if labels is None:
            return {}
        known = labels < test.logits.shape[1]
        logits, right = test.logits[known], labels[known]
        figures = {}
        if len(right):
            error = expected_calibration_error(logits, right, temperature=self.temperature)
            figures = {
                "calibration_error": error,
                "calibration_error_uncalibrated": expected_calibration_error(logits, right),
            }
        if 0 < len(right) < len(labels):
            familiar = familiarity(test.z, self.means)
            figures["unknown_auroc"] = float(roc_auc_score(known.cpu().numpy(), familiar.cpu().numpy()))
        return figures


def fit(network: Network, final: Final, data: RunData, *, seed: int) -> dict[DomainName, Confidence]:
    """Both domains', without a target label."""
    return {"source": of_source(final, data), "target": of_target(network, data, seed=seed)}


def of_source(final: Final, data: RunData) -> Confidence:
    """The source's, from its labels."""
    held_out = final.source_validation
    means = prototypes(final.source_train.z, labels_of(data.source_train), held_out.logits.shape[1])
    return Confidence(
        temperature=fit_temperature(held_out.logits, labels_of(data.source_validation)),
        means=means,
        thresholds=thresholds(familiarity(held_out.z, means)),
    )


@torch.no_grad()
def of_target(network: Network, data: RunData, *, seed: int) -> Confidence:
    """The target's, from unlabelled training images. Where all are taken for one class, logits are left as they are."""
    count = min(ROWS, len(data.target_train))
    rows = torch.linspace(0, len(data.target_train) - 1, count).long().to(data.target_train.images.device)
    images = data.target_train.images[rows]
    seen = encode(network, "target", images)
    predicted = seen.logits.argmax(1)
    mixed, labels = mixtures(images, predicted, generator=generator("cpu", seed, "mixtures"))
    temperature = fit_temperature(encode(network, "target", mixed).logits, labels) if len(labels) else 1.0
    means = prototypes(seen.z, predicted, seen.logits.shape[1])
    return Confidence(temperature=temperature, means=means, thresholds=thresholds(familiarity(seen.z, means)))


def report(of: Mapping[DomainName, Confidence], final: Final, data: RunData) -> dict[str, dict[str, Any]]:
    """Figures on the test images of each domain, which nothing was fitted on.

    The shares turned away need no label. What was computed with target labels says oracle, and is absent without them.
    """
    source, target = of["source"], of["target"]
    return {
        "source": {**source.figures(final.source_test), **source.judged(final.source_test, data.source_test.labels)},
        "target": {
            **target.figures(final.target_test),
            **{f"{name}_oracle": v for name, v in target.judged(final.target_test, data.target_test.labels).items()},
        },
    }


def write(path: Path, of: Mapping[DomainName, Confidence]) -> None:
    """Write both domains' into one file."""
    facts: dict[str, Any] = {
        name: {"temperature": c.temperature, "thresholds": list(c.thresholds.items())} for name, c in of.items()
    }
    write_tensors(path, {f"{name}/means": c.means for name, c in of.items()}, facts)


def read(path: Path) -> dict[DomainName, Confidence]:
    """What `write` wrote. Raises RunFolderError where there is none, and Damaged where it is another."""
    tensors, facts = read_tensors(path)
    return {
        name: Confidence(
            temperature=facts[name]["temperature"],
            means=tensors[f"{name}/means"],
            thresholds=dict(facts[name]["thresholds"]),
        )
        for name in DOMAINS
    }
