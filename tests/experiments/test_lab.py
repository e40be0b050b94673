"""The bench of the laboratory: it trains, the same seed twice alike, and its tasks keep their images apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from domainmetric import ConfigError, ImageSet, Pairs
from domainmetric.data.digits import DIGIT_CLASSES
from domainmetric.losses.base import LossValue
from domainmetric.pairs import label_pairs
from experiments import kept
from experiments.kept import finish
from experiments.lab import Encoder, Recipe, Task, data_root, digits, embed, scores, train, validation
from tests.experiments.made_digits import made_digits, write_digits

TINY = Recipe(num_classes=4, per_class=4, steps=12, dim=8, widths=(4, 8, 8))


@pytest.fixture
def task() -> Task:
    return Task(name="made", train=made_digits(400, seed=0), test=made_digits(100, seed=1))


def test_training_is_repeatable_and_learns(task: Task) -> None:
    first, second = (train(task, replace(TINY, steps=60, lr=3e-3)) for _ in range(2))
    assert first.loss == second.loss
    for name, weight in first.encoder.state_dict().items():
        assert torch.equal(weight, second.encoder.state_dict()[name])
    assert train(task, replace(TINY, seed=1)).loss != first.loss[:12]
    untrained = scores(task, train(task, replace(TINY, steps=0)).encoder)
    assert scores(task, first.encoder)["map_at_r"] > untrained["map_at_r"] + 0.1


def test_watch_sees_every_step_before_its_update(task: Task) -> None:
    seen: list[int] = []

    def watch(step: int, encoder: Encoder, z: Tensor, labels: Tensor, value: LossValue) -> None:
        seen.append(step)
        assert z.shape == (16, 8)
        assert labels.unique().numel() == 4
        if step == 0:
            start = train(task, replace(TINY, steps=0)).encoder
            assert torch.equal(encoder.project.weight, start.project.weight)

    trained = train(task, TINY, watch=watch)
    assert seen == list(range(12))
    assert len(trained.loss) == len(trained.used) == len(trained.active) == 12


def test_own_pairs_are_what_the_loss_sees(task: Task) -> None:
    def without_positives(z: Tensor, labels: Tensor) -> Pairs:
        pairs = label_pairs(z, labels)
        return replace(pairs, positive=torch.zeros_like(pairs.positive))

    assert train(task, TINY, pairs_of=without_positives).used == [0.0] * 12


def test_embedding_leaves_the_mode_and_judges_in_evaluation_mode(task: Task) -> None:
    encoder = train(task, TINY).encoder
    assert encoder.training
    z = embed(encoder, task.test)
    assert encoder.training
    assert torch.equal(z, embed(encoder, task.test, chunk=7)) or torch.allclose(z, embed(encoder, task.test, chunk=7))
    assert torch.allclose(z.norm(dim=1), torch.ones(100))


def test_digits_hold_classes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_digits(tmp_path)
    held_out = digits("svhn", tmp_path, held_out=True, num_train=50, num_test=20)
    assert held_out.train.labels is not None and held_out.test.labels is not None
    assert set(held_out.train.labels.tolist()) == {0, 1, 2, 3, 4}
    assert set(held_out.test.labels.tolist()) == {5, 6, 7, 8, 9}
    assert (len(held_out.train), len(held_out.test)) == (50, 20)
    assert len(digits("svhn", tmp_path, num_test=None).train) == 400
    monkeypatch.setenv("DOMAINMETRIC_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.delenv("DOMAINMETRIC_DATA")
    assert data_root() == Path("data")


def test_validation_touches_no_test_image(task: Task) -> None:
    inner = validation(task, 90)
    assert torch.equal(torch.cat([inner.train.images, inner.test.images]), task.train.images)
    assert len(inner.test) == 90


@dataclass(frozen=True, kw_only=True)
class Square:
    """A run for the tests of series."""

    x: int


def square(run: Square) -> dict[str, Any]:
    if run.x < 0:
        raise ValueError("negative")
    return {"square": run.x**2, "threads": torch.get_num_threads(), "by": {1: run.x}}


def test_a_series_keeps_what_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.json"
    runs = {"two": Square(x=2), "bad": Square(x=-1), "three": Square(x=3)}
    with pytest.raises(ValueError, match="negative"):
        finish(path, runs, square)
    assert list(kept.read(path)) == ["two"]

    def work(run: Square) -> dict[str, Any]:
        assert run.x != 2, "finished runs are not run again"
        return square(run)

    found = finish(path, {"two": Square(x=2), "three": Square(x=3)}, work)
    assert {name: result["square"] for name, result in found.items()} == {"two": 4, "three": 9}
    assert found["three"] == {"square": 9, "threads": 1, "by": {"1": 3}}, "as it will be read"
    assert kept.read(path)["two"]["settings"] == {"x": 2}


def test_a_series_refuses_other_settings(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    finish(path, {"run": Square(x=2)}, square)
    with pytest.raises(ConfigError, match=r"'run' with the settings \{'x': 2\}.*\{'x': 3\}.*Name another file"):
        finish(path, {"run": Square(x=3)}, square)


@pytest.mark.slow
def test_workers_give_the_same_results(tmp_path: Path) -> None:
    runs = {str(x): Square(x=x) for x in range(3)}
    assert finish(tmp_path / "a.json", runs, square) == finish(tmp_path / "b.json", runs, square, workers=2)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_made_digits_are_images(task: Task) -> None:
    assert isinstance(task.train, ImageSet)
    assert task.train.classes == DIGIT_CLASSES
