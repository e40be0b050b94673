"""The report at the end of a run: the only place where the target's test labels are read."""

from __future__ import annotations

from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from domainmetric import durable
from domainmetric.anchors.base import AnchorMatcher
from domainmetric.experiment import Experiment
from domainmetric.metrics.classification import accuracy, confusion, knn_accuracy, prototype_accuracy, prototypes
from domainmetric.metrics.collapse import effective_rank, mean_cosine
from domainmetric.metrics.domain_gap import mmd, proxy_a_distance
from domainmetric.metrics.retrieval import retrieval
from domainmetric.models.network import Network
from domainmetric.training.batches import RunData
from domainmetric.training.evaluation import encode, judge
from domainmetric.training.state import PhaseState
from domainmetric.types import Encoded, ImageSet, Matches

EMBEDDINGS, MATCHES = "embeddings.npz", "matches.npz"
"""Files of a run folder."""
Labelled = tuple[torch.Tensor, torch.Tensor]
"""Embeddings with their labels."""
MATCHED_ROWS = 5000
"""Target training rows on which the anchor strategy is judged at the end."""


class Final:
    """A finished network's embeddings of all sets, and every figure that is read off them."""

    def __init__(self, experiment: Experiment, network: Network, data: RunData) -> None:
        self.experiment, self.data = experiment, data
        self.source_train = encode(network, "source", data.source_train.images)
        self.source_validation = encode(network, "source", data.source_validation.images)
        self.source_test = encode(network, "source", data.source_test.images)
        self.target_test = encode(network, "target", data.target_test.images)

    def classification(self) -> dict[str, float]:
        """Accuracies, as fractions. The reported head is the trained cosine classifier; others are for comparison.

        Those of the target are over its labelled test images of the source's classes; where there are none, left out.
        """
        gallery, labels = self.source_train.z, labels_of(self.data.source_train)
        source = {
            "source_accuracy": accuracy(self.source_validation.logits, labels_of(self.data.source_validation)),
            "source_test_accuracy": accuracy(self.source_test.logits, labels_of(self.data.source_test)),
        }
        if self.known is None:
            return source
        z, logits, target_labels = self.known
        means = prototypes(gallery, labels, len(self.data.source_train.classes))
        return {
            "target_accuracy": accuracy(logits, target_labels),
            **source,
            "target_prototype_accuracy": prototype_accuracy(z, target_labels, means),
            "target_knn_accuracy": knn_accuracy(z, target_labels, gallery, labels),
        }

    @cached_property
    def known(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
        """Embeddings, logits and labels of the target test images of the source's classes; None where none has one."""
        labels = self.data.target_test.labels
        rows = None if labels is None else (labels < len(self.data.source_train.classes)).nonzero()[:, 0]
        if labels is None or rows is None or not len(rows):
            return None
        return self.target_test.z[rows], self.target_test.logits[rows], labels[rows]

    def retrieval(self) -> dict[str, dict[str, float]]:
        """Retrieval across the domains and within each; queries are test images, and never their own neighbors.

        Queries whose class the gallery lacks are left out. Without target labels, within the source alone.
        """
        limit = self.experiment.evaluation.retrieval_queries
        train = (self.source_train.z, labels_of(self.data.source_train))
        source = (self.source_test.z[:limit], labels_of(self.data.source_test)[:limit])
        found = {"within_source": retrieval(*answerable(source, train), *train)}
        if self.known is not None:
            z, _, labels = self.known
            target, gallery = (z[:limit], labels[:limit]), (z, labels)
            found["target_to_source"] = retrieval(*answerable(target, train), *train)
            found["source_to_target"] = retrieval(*answerable(source, gallery), *gallery)
            twice = answerable(target, target, least=2)
            if len(twice[1]):
                found["within_target"] = retrieval(*twice, *twice, exclude_self=True)
        return found

    def gap(self) -> dict[str, float]:
        """Distance between the domains' test embeddings, and how far each has collapsed."""
        z_s, z_t = self.source_test.z, self.target_test.z
        return {
            "gap/mmd": mmd(z_s, z_t),
            "gap/proxy_a_distance": proxy_a_distance(z_s, z_t, seed=self.experiment.seed),
            "collapse/source_mean_cosine": float(mean_cosine(z_s)),
            "collapse/target_mean_cosine": float(mean_cosine(z_t)),
            "collapse/source_effective_rank": float(effective_rank(z_s)),
            "collapse/target_effective_rank": float(effective_rank(z_t)),
        }

    def confusion(self) -> list[list[int]] | None:
        """Counts of labelled target test images: rows are true classes, columns predicted ones."""
        if self.known is None:
            return None
        _, logits, labels = self.known
        table: list[list[int]] = confusion(logits.argmax(1), labels, logits.shape[1]).tolist()
        return table

    def embeddings(self) -> dict[str, NDArray[Any]]:
        """Test embeddings of both domains (0 source, 1 target) with label (-1: none is known) and prediction."""
        parts: tuple[Encoded, Encoded] = (self.source_test, self.target_test)
        return {
            "z": torch.cat([p.z for p in parts]).cpu().numpy(),
            "label": torch.cat([labels_of(self.data.source_test), self.target_labels()]).cpu().numpy(),
            "prediction": torch.cat([p.logits.argmax(1) for p in parts]).cpu().numpy(),
            "domain": np.repeat([0, 1], [len(p.z) for p in parts]),
        }

    def target_labels(self) -> torch.Tensor:
        """Of every target test image; -1 where it has none, or one of a class that the source lacks."""
        labels, num_classes = self.data.target_test.labels, len(self.data.source_train.classes)
        if labels is None:
            return torch.full((len(self.target_test.z),), -1, device=self.target_test.z.device)
        return torch.where(labels < num_classes, labels, -1)


def answerable(query: Labelled, gallery: Labelled, least: int = 1) -> Labelled:
    """The queries of whose class the gallery has at least so many items."""
    num_classes = int(torch.cat([query[1], gallery[1]]).max()) + 1
    rows = gallery[1].bincount(minlength=num_classes)[query[1]] >= least
    return query if bool(rows.all()) else (query[0][rows], query[1][rows])


def labels_of(images: ImageSet) -> torch.Tensor:
    """The labels of a set that has them."""
    assert images.labels is not None
    return images.labels


@torch.no_grad()
def final_matches(state: PhaseState, data: RunData) -> tuple[torch.Tensor, Matches] | None:
    """Rows of the target training set and their matches, by the strategy as training left it."""
    if state.teacher is None or state.matcher is None:
        return None
    count = min(MATCHED_ROWS, len(data.target_train))
    rows = torch.linspace(0, len(data.target_train) - 1, count).long().to(data.target_train.images.device)
    seen = encode(state.teacher, "target", data.target_train.images[rows])
    return rows, state.matcher(rows, seen.z, seen.logits)


def anchors_report(rows: torch.Tensor, matches: Matches, matcher: AnchorMatcher, data: RunData) -> dict[str, float]:
    """Quality of the final matches; the precision is oracle."""
    oracle = data.target_train_labels_oracle
    return judge(matches, matcher, data.source_train, None if oracle is None else oracle[rows])


@torch.no_grad()
def matches_table(rows: torch.Tensor, matches: Matches, teacher: Network, data: RunData) -> dict[str, NDArray[Any]]:
    """Who stood for whom at the end, as `matches.npz` holds it; a anchors for each of m target items.

    * `rows` (m): rows of the target's training split as its domain loads it, the same ones in every run of a pair.
    * `source_index` (m, a): rows of the source's training split as its domain loads it, held-out rows counted, so that
      images are found without knowing which rows were held out.
    * `label`, `confidence` and `keep` (m): as in `Matches`. Where `keep` is false, the others mean nothing.
    * `similarity` (m, a): cosine of target item and anchor, as the teacher embeds their clean images.
    """
    anchors = matches.source_index.clamp(0, len(data.source_train) - 1)  # of dropped items it may be anything
    used, place = anchors.unique(return_inverse=True)
    z_t = encode(teacher, "target", data.target_train.images[rows]).z.float()
    z_s = encode(teacher, "source", data.source_train.images[used]).z.float()
    columns = {
        "rows": rows,
        "source_index": data.source_train_rows[anchors],
        "label": matches.label,
        "confidence": matches.confidence.float(),
        "keep": matches.keep,
        "similarity": torch.stack([(z_t * z_s[column]).sum(1) for column in place.unbind(1)], 1),
    }
    return {name: value.cpu().numpy() for name, value in columns.items()}


def save_arrays(arrays: dict[str, NDArray[Any]], path: Path) -> Path:
    """Write arrays as a compressed .npz, whole or not at all."""
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    durable.write(path, buffer.getvalue())
    return path
