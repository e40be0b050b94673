"""Images that stay where they are stored: they are the same, in a batch, and in a whole run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from domainmetric.data.domain import SPLITS
from domainmetric.data.framing import Framing, Pad
from domainmetric.data.pair import Pair
from domainmetric.data.store import write_store
from domainmetric.data.stored import Stored
from domainmetric.data.streamed import Ahead, Streamed
from domainmetric.errors import ConfigError
from domainmetric.experiment import Experiment
from domainmetric.serialize import user_names
from domainmetric.training import batches
from domainmetric.training.batches import Batches, load
from tests import tiny
from tests.training import running
from tests.training.running import same, short, train, weights

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Kept(Stored):
    """The strokes of `tiny` in a store."""

    framing: Framing = field(default_factory=Pad)
    which: str = "colored"

    @property
    def name(self) -> str:
        return f"kept_{self.which}"

    @property
    def channels(self) -> int:
        return 3 if self.which == "colored" else 1

    @property
    def classes(self) -> tuple[str, ...]:
        return tiny.CLASSES


def stored(tmp_path: Path, data: str) -> Experiment:
    original = tiny.full(tmp_path / data)
    for which, domain in (("colored", original.data.source), ("grey", original.data.target)):
        if not (tmp_path / "data" / f"kept_{which}").exists():
            splits = {split: domain.load(split, root=tmp_path, size=tiny.SIZE) for split in SPLITS}
            write_store(tmp_path / "data", f"kept_{which}", splits, sources=[])
    pair = Pair(source=Kept(), target=Kept(which="grey"))
    runtime = replace(original.runtime, data=data)  # type: ignore[arg-type]
    return short(replace(original, data=pair, runtime=runtime, data_root=tmp_path / "data"), source=4, adapt=6)


@pytest.mark.parametrize("on_disk", [True, False], ids=["file", "memory"])
def test_it_answers_as_the_images_would(on_disk: bool, tmp_path: Path) -> None:
    whole = torch.randint(256, (20, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "x.npy", whole.numpy())
    rows = torch.arange(19, 2, -1)
    images, expected = Streamed(tmp_path / "x.npy" if on_disk else whole, rows, CPU), whole[rows]
    assert images.shape == expected.shape and images.dtype == torch.uint8 and len(images) == 17
    some = torch.tensor([3, 0, 3, 16])
    assert torch.equal(images[some], expected[some]) and type(images[some]) is torch.Tensor
    assert torch.equal(images[expected[:, 0, 0, 0] > 99], expected[expected[:, 0, 0, 0] > 99])
    assert isinstance(images[2:9], Streamed) and torch.equal(images[2:9][some[:2]], expected[2:9][some[:2]])
    parts = images.split(6)
    assert [len(part) for part in parts] == [6, 6, 5] and all(isinstance(part, Streamed) for part in parts)
    assert torch.equal(parts[1].permute(0, 3, 1, 2).float(), expected[6:12].permute(0, 3, 1, 2).float())
    assert torch.equal(images[:, :2], expected[:, :2]) and torch.equal(images[4], expected[4])


def test_what_is_read_ahead_is_used_only_where_the_guess_was_right(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.arange(10, dtype=torch.uint8)[:, None, None, None]
    images, asked = Streamed(whole, torch.arange(10), CPU), []
    read = Streamed.read
    monkeypatch.setattr(Streamed, "read", lambda self, rows: (asked.append(rows.tolist()), read(self, rows))[1])
    ahead = Ahead(images)
    for now, following in (([1, 2], [3, 4]), ([3, 4], [5, 6]), ([7, 8], [9, 0])):
        assert ahead(torch.tensor(now), torch.tensor(following)).flatten().tolist() == now
    ahead.close()
    assert asked.count([3, 4]) == 1 and [7, 8] in asked


def test_batches_are_the_same_from_disk(tmp_path: Path) -> None:
    experiments = [stored(tmp_path, data) for data in ("device", "stored")]
    one, other = (Batches(e, "adapt", e.phases["adapt"], load(e, tmp_path / "data", CPU)) for e in experiments)
    assert isinstance(other.data.source_train.images, Streamed) and isinstance(other.data.target_train.images, Streamed)
    assert not isinstance(one.data.source_train.images, Streamed)
    for step in (0, 1, 5):
        a, b = one.target(step), other.target(step)
        assert torch.equal(a.images, b.images) and torch.equal(a.clean, b.clean) and torch.equal(a.rows, b.rows)
        assert torch.equal(one.source(step).images, other.source(step).images)
        rows = a.rows % len(one.data.source_train)
        assert torch.equal(one.matched(step, rows), other.matched(step, rows))
    other.close()


def test_images_without_room_stay_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = stored(tmp_path, "auto")
    needed = 320 * tiny.SIZE**2 * 4
    for free, stays in ((2 * needed + 100, False), (2 * needed - 100, True), (None, False)):
        monkeypatch.setattr(batches, "free_memory", lambda device, free=free: free)
        data = load(experiment, tmp_path / "data", CPU)
        assert isinstance(data.source_train.images, Streamed) == stays


def test_images_that_lie_in_memory_anyway_cannot_stay_on_disk(tmp_path: Path) -> None:
    experiment = tiny.full(tmp_path)
    experiment = replace(experiment, runtime=replace(experiment.runtime, data="stored"))
    with pytest.raises(ConfigError, match="the training images of the source and the target are made or changed"):
        load(experiment, tmp_path, CPU)


@pytest.mark.slow
def test_a_run_from_disk_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "NAMES", user_names({**vars(tiny), "Kept": Kept}))
    one, other = (weights(train(stored(tmp_path, data))) for data in ("device", "stored"))
    assert same(one, other)
