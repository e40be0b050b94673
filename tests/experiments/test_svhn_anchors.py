"""SVHN anchors: a recipe runs, its curves are read, anchors and labels come from where they are said to come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from domainmetric import AnchorContext, Augmentation, Evaluation, Experiment, Mnist, PixelNearest, Runtime, Svhn
from domainmetric.runner import run
from domainmetric.training.folder import REPORT
from experiments import svhn_anchors, svhn_anchors_report
from experiments.svhn_anchors import Grey, TrueLabels
from tests.experiments.made_digits import write_digits

NAMES = [recipe.__name__ for recipe in svhn_anchors.RECIPES]
SOME = {"source_size": 60, "target_size": 60}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_digits(folder)
    return folder


def small(experiment: Experiment, root: Path, runs: Path) -> Experiment:
    """A few steps of a recipe."""
    phases = {
        name: replace(phase, steps=10, source_batch=20, **({"target_batch": 16} if name == "triplets" else {}))
        for name, phase in experiment.phases.items()
    }
    return replace(
        experiment,
        phases=phases,
        data_root=root,
        runs_root=runs,
        banks=replace(experiment.banks, **SOME),
        evaluation=Evaluation(every=5, num_images=40, retrieval_queries=20),
        runtime=Runtime(device="cpu", threads=1),
        tracking=replace(experiment.tracking, wandb="off"),
        augmentation=Augmentation(),
    )


def test_a_run_and_how_its_triplets_went(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(small(svhn_anchors.semantic_anchors(), root, tmp_path))
    assert (folder / REPORT).is_file()
    monkeypatch.setattr(svhn_anchors, "launch", lambda *_: folder)
    report = svhn_anchors.one("semantic_anchors", 0)
    first, last = report["loss/triplet"]
    assert first > 0 and last > 0
    kinds = [report[f"triplets/{kind}"][1] for kind in ("easy", "semi_hard", "hard")]
    assert sum(kinds) == pytest.approx(1, abs=1e-5)
    table = svhn_anchors_report.table(NAMES, {"semantic_anchors": {"0": report}})
    assert f"| {100 * kinds[0]:.2f} |" in table
    assert table.count("not run") == len(svhn_anchors.RECIPES) - 1


def test_the_published_table_is_what_the_kept_results_say() -> None:
    published = svhn_anchors.read(svhn_anchors.RESULTS / "results.json")
    table = svhn_anchors_report.table(NAMES, published)
    assert "not run" not in table
    assert (svhn_anchors.RESULTS / "table.md").read_text().startswith(f"{table}\n\n")


def test_the_label_is_true_and_the_anchor_is_what_the_strategy_picks(root: Path) -> None:
    source, target = (domain.load("train", root=root, size=32) for domain in (Svhn(), Mnist()))
    assert target.labels is not None
    context = AnchorContext(source=source, target=replace(target, labels=None), seed=0, oracle_labels=target.labels)
    rows = torch.tensor([3, 0, 7])
    z, logits = torch.zeros(3, 4), torch.zeros(3, 10)
    picked, labelled = (s.build(context)(rows, z, logits) for s in (PixelNearest(), TrueLabels(inner=PixelNearest())))
    assert torch.equal(labelled.source_index, picked.source_index)
    assert torch.equal(labelled.label, target.labels[rows])


def test_grey_is_the_mean_of_the_channels(root: Path) -> None:
    color, grey = (domain.load("train", root=root, size=32) for domain in (Svhn(), Grey(domain=Svhn())))
    assert grey.images.shape == (*color.images.shape[:3], 1)
    expected = color.images[:3].double().mean(-1, keepdim=True)
    assert (grey.images[:3].double() - expected).abs().max() <= 0.5
    assert color.labels is not None and grey.labels is not None and torch.equal(grey.labels, color.labels)


def test_precision_of_pixels_is_a_share(root: Path) -> None:
    assert 0 <= svhn_anchors_report.pixel_precision_oracle(Svhn(), root, num=50) <= 1
