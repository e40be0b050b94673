"""Negatives per update: what is counted equals explicit loops, the arms are what they say, and the series is whole."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from domainmetric import Pairs
from domainmetric.pairs import label_pairs
from domainmetric.randomness import generator
from experiments import negatives_figures, negatives_per_update
from experiments.kept import read
from experiments.negatives_measures import active_share, gradient_at_distances, in_turn, negatives_used
from experiments.negatives_per_update import ARMS, EPHN, HPHN, LRS, TRIPLET, Run, best_lrs
from tests.experiments.made_digits import write_digits

SMALL = ["--seeds", "1", "2", "--steps", "2", "--num-test", "40", "--widths", "4", "4", "4", "--workers", "1"]
SMALL += ["--sizes", "32", "--rounds", "3"]


@pytest.fixture
def pairs() -> Pairs:
    z = torch.randn(12, 4, generator=generator("cpu", 0, "z"))
    return label_pairs(z.double(), torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2]))


def violations(pairs: Pairs, a: int) -> dict[int, int]:
    """By negative of an anchor, for how many positives it violates the margin."""
    d = pairs.sq_chord
    positives, negatives = pairs.positive[a].nonzero()[:, 0], pairs.negative[a].nonzero()[:, 0]
    return {int(n): sum(bool(d[a, p] - d[a, n] + TRIPLET.margin > 0) for p in positives) for n in negatives}


def counted(weights: list[list[float]]) -> tuple[float, float]:
    """With a gradient and effective, as means, from the weights of each anchor's negatives."""
    with_gradient = [sum(w > 0 for w in own) for own in weights]
    effective = [sum(own) ** 2 / sum(w * w for w in own) if any(own) else 0.0 for own in weights]
    return sum(with_gradient) / len(weights), sum(effective) / len(weights)


def test_negatives_of_all_triplets_equal_loops(pairs: Pairs) -> None:
    expected = counted([[float(v) for v in violations(pairs, a).values()] for a in range(12)])
    found = negatives_used(pairs, ARMS["triplet, all"], generator("cpu", 0, "draw"))
    assert found["offered"] == round((3 * 9 + 4 * 8 + 5 * 7) / 12, 2)
    assert (found["with_gradient"], found["effective"]) == pytest.approx(expected, abs=0.006)
    assert found["effective"] < found["with_gradient"] < found["offered"]


def test_negatives_of_nt_xent_equal_loops(pairs: Pairs) -> None:
    s = ((1 - pairs.sq_chord / 2) / 0.1).tolist()
    weights = []
    for a in range(12):
        negatives = [n for n in range(12) if pairs.negative[a, n]]
        total = sum(math.exp(s[a][n]) for n in negatives)
        own = [0.0] * len(negatives)
        for p in range(12):
            if pairs.positive[a, p]:
                own = [w + math.exp(s[a][n]) / (math.exp(s[a][p]) + total) for w, n in zip(own, negatives, strict=True)]
        weights.append(own)
    found = negatives_used(pairs, ARMS["NT-Xent"], generator("cpu", 0, "draw"))
    assert found["with_gradient"] == found["offered"]
    assert found["effective"] == pytest.approx(counted(weights)[1], abs=0.006)


@pytest.mark.parametrize("arm", ["triplet, random", "triplet, HPHN", "triplet, EPHN"])
def test_a_mined_triplet_offers_one_negative(arm: str, pairs: Pairs) -> None:
    found = negatives_used(pairs, ARMS[arm], generator("cpu", 0, "draw"))
    assert found["offered"] == 1
    assert found["effective"] == found["with_gradient"] <= 1


@pytest.mark.parametrize("arm", ARMS)
def test_the_gradient_at_distances_is_that_of_the_loss(arm: str, pairs: Pairs) -> None:
    loss, miner = ARMS[arm]
    triplets = None if miner is None else miner.select(pairs, generator("cpu", 0, "draw"))
    weight = gradient_at_distances(pairs, loss, triplets)
    if triplets is not None:
        weight = weight / len(triplets)

    def gradient(function: Tensor, z: Tensor) -> Tensor:
        return torch.autograd.grad(function, z)[0]

    z = pairs.rows.z.clone().requires_grad_()
    own = gradient(loss.of(label_pairs(z, pairs.rows.labels), triplets).value, z)
    z = pairs.rows.z.clone().requires_grad_()
    by_weights = gradient((label_pairs(z, pairs.rows.labels).sq_chord * weight).sum(), z)
    assert torch.allclose(own, by_weights, atol=1e-9)


def test_active_shares_equal_loops(pairs: Pairs) -> None:
    d = pairs.sq_chord
    active = sum(sum(violations(pairs, a).values()) for a in range(12))
    triplets = sum(int(pairs.positive[a].sum() * pairs.negative[a].sum()) for a in range(12))
    assert active_share(pairs, TRIPLET, None) == pytest.approx(active / triplets, abs=1e-4)
    hard = easy = 0
    for a in range(12):
        d_an = min(float(d[a, n]) for n in range(12) if pairs.negative[a, n])
        positives = [float(d[a, p]) for p in range(12) if pairs.positive[a, p]]
        hard += max(positives) - d_an + TRIPLET.margin > 0
        easy += min(positives) - d_an + TRIPLET.margin > 0
    assert active_share(pairs, TRIPLET, HPHN) == pytest.approx(hard / 12, abs=1e-4)
    assert active_share(pairs, TRIPLET, EPHN) == pytest.approx(easy / 12, abs=1e-4)


def test_arms_take_turns() -> None:
    order: list[str] = []
    times = in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    assert order == ["a", "b"] * 3
    assert [len(values) for values in times.values()] == [2, 2], "the first round does not count"


def test_equal_time_reads_the_dearer_arm_earlier() -> None:
    curve = {"recall": {"0": 0.0, "100": 0.5, "200": 0.6}}
    times = {"whole step, 128": {"cheap": [9.0, 10.0, 11.0], "dear": [19.0, 20.0, 21.0]}}
    reached = negatives_figures.after_equal_time({"cheap": [curve], "dear": [curve, curve]}, times)
    assert reached == {"cheap": [60.0], "dear": [50.0, 50.0]}


def test_steps_are_compared_round_by_round() -> None:
    times = {"whole step, 128": {"one": [1.0, 10.0, 100.0], "two": [2.0, 20.0, 500.0]}}
    assert negatives_figures.paired(times, "two") == 2
    assert negatives_figures.paired(times, "one") == 1


def test_each_arm_gets_its_best_learning_rate() -> None:
    common = {"seed": 0, "steps": 1, "domain": "svhn", "held_out": False, "num_test": 1, "widths": (1, 1, 1)}
    runs = [Run(arm=arm, lr=lr, validate=True, **common) for arm in ARMS for lr in LRS]  # type: ignore[arg-type]
    results = {run.name: {"recall_at_1": 0.5} for run in runs}
    results[next(run.name for run in runs if run.arm == "SupCon" and run.lr == LRS[2])] = {"recall_at_1": 0.6}
    assert best_lrs(results, runs) == {**dict.fromkeys(ARMS, LRS[0]), "SupCon": LRS[2]}


@pytest.mark.slow
def test_the_series_runs_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_digits(tmp_path)
    monkeypatch.setenv("DOMAINMETRIC_DATA", str(tmp_path))
    monkeypatch.setattr(negatives_per_update, "PER_CLASS", 4)
    command = [*SMALL, "--held-out", "--domain", "mnist", "--results", str(tmp_path / "out")]
    assert negatives_per_update.main(command) == 0
    (path,) = (tmp_path / "out").glob("*.json")
    assert len(read(path)) == 1 + len(ARMS) * (len(LRS) + 2)
    assert sorted(p.name.removeprefix(path.stem) for p in path.parent.glob("*.png")) == [
        "_active.png",
        "_negatives.png",
        "_recall.png",
    ]
    printed = capsys.readouterr().out
    assert path.with_suffix(".md").read_text() == printed
    assert printed.count("\n") == 2 + len(ARMS)
    monkeypatch.setattr(negatives_per_update, "work", None)
    assert negatives_per_update.main(command) == 0


def test_the_published_table_is_what_the_kept_results_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(negatives_per_update, "work", None)
    shutil.copy(negatives_per_update.RESULTS / "svhn_ordinary.json", tmp_path)
    assert negatives_per_update.main(["--results", str(tmp_path), "--workers", "1"]) == 0
    published = (negatives_per_update.RESULTS / "svhn_ordinary.md").read_text()
    assert (tmp_path / "svhn_ordinary.md").read_text() == published
