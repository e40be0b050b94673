"""The scatters that a run keeps: when, of what, without a target label, through a resume, and drawn at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from domainmetric.experiment import Experiment
from domainmetric.metrics.selection import Evidence
from domainmetric.pairs import Roles
from domainmetric.reporting import draw_scatters
from domainmetric.runner import run
from domainmetric.terms import Classify, Metric, Term
from domainmetric.training import scatters
from domainmetric.training.tracking import history, read_log
from domainmetric.types import Matches
from tests import tiny
from tests.reference import labels, unit
from tests.training.running import after, go_on, same, short, train

SOURCE_TRIPLETS = Term(part=Metric(roles=(Roles(anchor="source", positive="source", negative="source"),)))


def evidence() -> Evidence:
    return Evidence(
        target_z=unit(0, 30),
        target_logits=unit(1, 30),
        source_z=unit(2, 40),
        source_logits=unit(3, 40),
        source_labels=labels(4, 40),
        target_neighbors=torch.zeros(30, 0, dtype=torch.int64),
    )


def matches() -> Matches:
    return Matches(
        source_index=torch.zeros(30, 1, dtype=torch.int64),
        label=labels(5, 30),
        confidence=torch.ones(30),
        keep=torch.arange(30) % 3 != 0,
    )


def source_triplets(root: Path, *, adapt: bool) -> Experiment:
    plain = tiny.experiment(root, *(["mmd"] if adapt else []), source_steps=100)
    phases = dict(plain.phases)
    phases["source"] = replace(phases["source"], terms=("classify", "source"))
    return replace(plain, terms={**plain.terms, "source": SOURCE_TRIPLETS}, phases=phases)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda root: tiny.full(root, adapt_steps=200), [("adapt", 40), ("adapt", 120), ("adapt", 200)]),
        (lambda root: tiny.full(root, adapt_steps=90), [("adapt", 40), ("adapt", 80), ("adapt", 90)]),
        (lambda root: tiny.full(root, adapt_steps=60), [("adapt", 40), ("adapt", 60)]),
        (lambda root: tiny.full(root, adapt_steps=10), [("adapt", 10)]),
        (lambda root: source_triplets(root, adapt=True), [("source", 40), ("source", 80), ("source", 100)]),
        (lambda root: tiny.experiment(root, "mmd"), []),
    ],
    ids=["whole", "uneven end", "two", "one", "source triplets", "no triplets"],
)
def test_looks_are_the_first_the_middle_and_the_last(make: Any, expected: Any, tmp_path: Path) -> None:
    assert scatters.looks(make(tmp_path)) == expected


def nearest(rows: Tensor, y: Tensor, columns: Tensor, ys: Tensor, *, same_set: bool) -> list[tuple[float, float]]:
    found = []
    for i in range(len(rows)):
        s = {True: [-2.0], False: [-2.0]}
        for j in range(len(columns)):
            if not (same_set and i == j):
                s[bool(y[i] == ys[j])].append(float(rows[i] @ columns[j]))
        found.append((max(s[True]), max(s[False])))
    return found


def test_scatters_are_of_kept_target_items_by_their_matched_labels() -> None:
    seen, match = evidence(), matches()
    found = scatters.measure(seen, match)
    z, y = seen.target_z[match.keep], match.label[match.keep]
    within = nearest(z, y, z, y, same_set=True)
    across = nearest(z, y, seen.source_z, seen.source_labels, same_set=False)
    assert set(found) == {scatters.WITHIN, scatters.ACROSS}
    torch.testing.assert_close(found[scatters.WITHIN], torch.tensor(within).double(), check_dtype=False)
    torch.testing.assert_close(found[scatters.ACROSS], torch.tensor(across).double(), check_dtype=False)


def test_without_matches_the_scatter_is_the_sources() -> None:
    seen = evidence()
    z, y = seen.source_z, seen.source_labels
    expected = torch.tensor(nearest(z, y, z, y, same_set=True)).double()
    torch.testing.assert_close(scatters.measure(seen, None)[scatters.SOURCE], expected, check_dtype=False)


def kept(folder: Path) -> dict[str, Tensor]:
    return {f"{step} {kind}": points for step, found in scatters.kept(folder).items() for kind, points in found.items()}


def test_a_run_keeps_them_without_target_labels_and_through_a_resume(tmp_path: Path) -> None:
    experiment = short(tiny.experiment(tmp_path, "triplet"), source=4, adapt=24)
    folder = train(experiment)
    assert set(scatters.kept(folder)) == {4 + 8, 4 + 16, 4 + 24}
    assert all(len(points) > 20 for points in kept(folder).values())
    assert same(kept(folder), kept(train(tiny.with_noise(experiment, 1))))
    resumed = go_on(train(replace(experiment, runs_root=tmp_path / "resumed"), after(4 + 19)))
    assert same(kept(folder), kept(resumed))


def test_a_run_of_source_triplets_keeps_the_sources(tmp_path: Path) -> None:
    experiment = short(source_triplets(tmp_path, adapt=False), source=8)
    assert list(kept(train(experiment))) == [f"8 {scatters.SOURCE}"]


def test_a_run_without_triplets_keeps_none(tmp_path: Path) -> None:
    plain = tiny.experiment(tmp_path)
    assert plain.terms == {"classify": Term(part=Classify())}
    folder = train(short(plain, source=3))
    assert not scatters.kept(folder)
    assert not (folder / scatters.FOLDER).exists()


def test_the_figure_shows_them_side_by_side_and_says_what_became_of_the_hard_ones(tmp_path: Path) -> None:
    for step, shift in ((100, 0.5), (300, -0.5)):
        seen = evidence()
        points = torch.tensor([[0.5, 0.5 + shift], [0.2, 0.1]]).double()
        scatters.keep(tmp_path, step, seen, matches())
        path = tmp_path / scatters.FOLDER / f"{step:08d}.safetensors"
        scatters.write_tensors(path, {scatters.WITHIN: points}, {"step": step})
    figure = draw_scatters(scatters.kept(tmp_path), "tiny, seed 0")
    title = " ".join(figure.get_suptitle().split())
    assert title == ("tiny, seed 0: hard triplets 50.0% to 0.0% target among target (target items by matched label)")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "step 100: 50.0% of 2 hard",
        "step 300: 0.0% of 2 hard",
    ]
    assert "oracle" not in title


def test_a_run_draws_it_beside_the_others_and_logs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domainmetric.reporting.embedding_map", lambda *_, **__: Figure())  # which takes seconds,
    monkeypatch.setattr("domainmetric.figures.embedding._tsne", lambda *_: np.zeros((0, 2)))  # and so does this
    folder = run(short(tiny.experiment(tmp_path, "triplet"), source=2, adapt=8))
    figures = {record["name"]: record["path"] for record in read_log(folder) if record["kind"] == "figure"}
    assert figures["triplet_scatter"] == "figures/triplet_scatter.png"
    assert (folder / figures["triplet_scatter"]).is_file()
    assert {"triplets/easy", "triplets/semi_hard", "triplets/hard", "triplets/active_share"} <= history(folder).keys()
