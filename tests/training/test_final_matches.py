"""`matches.npz`: who stood for whom at the end of a run, found again in the sets as their domains load them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from domainmetric.training.banks import fill
from domainmetric.training.evaluation import encode
from domainmetric.training.final import final_matches, matches_table, save_arrays
from domainmetric.types import Matches
from tests import tiny
from tests.training.running import short, train, wired


def test_rows_lead_to_the_images_and_similarities_equal_loops() -> None:
    experiment = tiny.experiment(Path("runs"), "triplet")
    experiment = replace(experiment, anchors=replace(tiny.Nearest(), num_anchors=2))
    state, batches = wired(experiment, "adapt")
    batches.close()
    data, (teacher, matcher) = batches.data, (state.teacher, state.matcher)
    assert teacher is not None and matcher is not None
    matcher.refresh(fill(teacher, "source", data.source_train, torch.arange(len(data.source_train))), None)
    found = final_matches(state, data)
    assert found is not None
    rows, matches = found
    table = matches_table(rows, matches, teacher, data)
    whole = experiment.data.source.load("train", root=Path(), size=tiny.SIZE)
    assert table["source_index"].shape == table["similarity"].shape == (len(rows), 2)
    assert table["source_index"].max() >= len(data.source_train), "rows of the whole split, not of what is left of it"
    for place, (row, anchors) in enumerate(zip(rows[::7], matches.source_index[::7], strict=True)):
        z_t = encode(teacher, "target", data.target_train.images[row][None]).z[0]
        for rank, anchor in enumerate(anchors):
            image = data.source_train.images[anchor]
            assert torch.equal(whole.images[table["source_index"][7 * place, rank]], image)
            cosine = float(z_t @ encode(teacher, "source", image[None]).z[0])
            assert abs(cosine - table["similarity"][7 * place, rank]) < 1e-5


def test_dropped_items_may_hold_anything() -> None:
    state, batches = wired(tiny.experiment(Path("runs"), "triplet"), "adapt")
    batches.close()
    assert state.teacher is not None
    matches = Matches(
        source_index=torch.tensor([[-1], [10**6]]),
        label=torch.tensor([0, 0]),
        confidence=torch.zeros(2),
        keep=torch.zeros(2, dtype=torch.bool),
    )
    table = matches_table(torch.tensor([0, 1]), matches, state.teacher, batches.data)
    assert not table["keep"].any() and np.isfinite(table["similarity"]).all()


def test_every_run_with_anchors_writes_them_and_no_other(tmp_path: Path) -> None:
    with_anchors = train(short(tiny.experiment(tmp_path, "triplet")))
    without = train(short(tiny.experiment(tmp_path, "mmd")))
    written = np.load(with_anchors / "matches.npz")
    assert {name: written[name].dtype.name for name in written.files} == {
        "rows": "int64",
        "source_index": "int64",
        "label": "int64",
        "confidence": "float32",
        "keep": "bool",
        "similarity": "float32",
    }
    assert written["rows"].tolist() == list(range(320)) and abs(written["similarity"]).max() <= 1.0001
    assert not (without / "matches.npz").exists() and (without / "embeddings.npz").exists()


def test_arrays_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = save_arrays({"rows": np.arange(3)}, tmp_path / "matches.npz")
    assert np.load(path)["rows"].tolist() == [0, 1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["matches.npz"]
