"""One run in which others' parts do all they can, stopped and continued, and its embedder in others' hands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch.utils.data import DataLoader

from domainmetric import runner
from domainmetric.data.loaders import TorchImages
from domainmetric.embedding.embedder import Embedder, match
from domainmetric.errors import RunFolderError
from domainmetric.experiment import BestScore, Experiment
from domainmetric.serialize import user_names
from domainmetric.terms import Metric, Term
from domainmetric.types import ImageSet
from tests import tiny
from tests.interop import adapted
from tests.interop.adapted import Circle, Confusion, Gap, Mined, Reversed
from tests.training.running import NAMES, after, bare, report, same, short, told, train, weights

KNOWN = {**NAMES, **user_names(vars(adapted))}


def experiment(runs_root: Path) -> Experiment:
    """A tiny transfer by parts of pytorch-adapt and pytorch-metric-learning."""
    whole = short(tiny.experiment(runs_root, "triplet", "dann", "information"))
    terms = {
        **whole.terms,
        "triplet": Term(part=Metric(loss=Circle(), miner=Mined()), weight=0.1),
        "dann": Term(part=Reversed(), weight=0.3),
        "information": Term(part=Confusion()),
    }
    return replace(whole, terms=terms, selection=BestScore(score=Gap()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(experiment(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Embedder:
    return Embedder.load(folder, names=KNOWN)


def load(domain: str, split: str) -> ImageSet:
    side = {"source": tiny.Colored(), "target": tiny.Grey()}[domain]
    return side.load(split, root=Path(), size=tiny.SIZE)  # type: ignore[arg-type]


def test_a_run_with_others_parts_goes_on_bit_by_bit(folder: Path, tmp_path: Path) -> None:
    stopped = train(experiment(tmp_path), after(20))
    with bare(lambda _: False):
        runner.resume(stopped, KNOWN)
    assert same(weights(stopped), weights(folder))
    assert report(stopped) == report(folder) and told(stopped) == told(folder)
    names = {name for _, values in told(folder) for name in values}
    assert names >= {"loss/triplet", "loss/dann", "loss/information"}


def test_their_names_are_needed_to_read_it(folder: Path) -> None:
    with pytest.raises(RunFolderError, match=r"This run used the class '\w+' of a user's file"):
        Embedder.load(folder, names=NAMES)


def test_a_loader_is_embedded_as_its_images_are(embedder: Embedder) -> None:
    images = load("target", "test")
    loader = DataLoader(TorchImages(images), batch_size=64)
    with torch.random.fork_rng():  # a loader draws its seed from the global state
        made = embedder.embed(loader)
    expected = embedder.embed(images.images)
    np.testing.assert_allclose(made.z, expected.z, atol=1e-6)
    assert (made.label == expected.label).all()


@pytest.mark.parametrize("make", [lambda: KNeighborsClassifier(1), lambda: LogisticRegression(C=100)])
def test_estimators_of_scikit_learn_take_embeddings(
    embedder: Embedder, make: Callable[[], KNeighborsClassifier]
) -> None:
    """Fitted on the source, asked of the target."""
    source, target = load("source", "train"), load("target", "test")
    gallery, queries = embedder.embed(source.images, domain="source").z, embedder.embed(target.images).z
    found = make().fit(gallery, source.labels.numpy()).predict(queries)
    assert (found == target.labels.numpy()).mean() > 1.5 / len(tiny.CLASSES)
    if isinstance(make(), KNeighborsClassifier):
        assert (found == source.labels.numpy()[match(queries, gallery, k=1).index[:, 0]]).all()
