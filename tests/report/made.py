"""Run folders and ablations made by hand: of the form that runs leave, with numbers that tests know, in no time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from domainmetric.figures.embedding import choose_rows
from domainmetric.serialize import to_json, user_names
from domainmetric.training import scatters
from domainmetric.training.checkpoint import write_tensors
from tests import tiny

NAMES = user_names(vars(tiny))
NUM_TEST, NUM_TRAIN = 200, 320
HOSTILE = "<script>alert(1)</script> & *bold* </script><!-- {{ data }}"
CURVE = {"eval/target/accuracy_oracle": (0.5, 0.7, 0.9), "anchors/precision_oracle": (0.4, 0.6, 0.8)}


def run_folder(
    folder: Path,
    *,
    name: str = "tiny",
    seed: int = 0,
    accuracy: float = 0.9,
    matches: bool = True,
    projected: bool = True,
    finished: bool = True,
    labelled: bool = True,
) -> Path:
    """A run of the tiny pair. Its accuracies are made up; its rows, labels and images are those of the pair."""
    experiment = tiny.experiment(folder.parent, "triplet", seed=seed)
    if not labelled:
        experiment = replace(experiment, data=replace(experiment.data, target=tiny.Unlabelled()))
    domains = (experiment.data.source, experiment.data.target)
    hashes = {side: domain.hashes(folder, size=32) for side, domain in zip(("source", "target"), domains, strict=True)}
    machine = {"device": "cpu (1 threads)", "python": "3.11.7", "versions": {"torch": "2.15.0"}, "commit": "abc123"}
    write(
        folder / "experiment.json",
        {"experiment": to_json(experiment) | {"name": name}, "data": hashes, "machine": machine},
    )
    write_log(folder, accuracy, labelled)
    if not finished:
        return folder
    told = report(name, seed, accuracy)
    write(folder / "report.json", told if labelled else without_oracle(told))
    rng = np.random.default_rng(seed)
    label = np.tile(np.arange(NUM_TEST) % 4, 2)
    prediction = np.where(rng.random(len(label)) < accuracy, label, (label + 1) % 4)
    z = np.eye(4, 8)[label] + 0.1 * rng.normal(size=(len(label), 8))
    domain = np.repeat([0, 1], NUM_TEST)
    label = label if labelled else np.where(domain == 0, label, -1)
    np.savez(folder / "embeddings.npz", z=z.astype(np.float32), label=label, prediction=prediction, domain=domain)
    if projected:
        source, target = choose_rows(NUM_TEST, NUM_TEST, seed=seed)
        points = rng.normal(size=(len(source) + len(target), 2))
        rows = {"source_rows": source, "target_rows": target}
        np.savez(folder / "projection.npz", **rows, pca=points, share=np.array([0.5, 0.2]), tsne=3 * points)  # type: ignore[arg-type]
    if matches:
        np.savez(folder / "matches.npz", **matched(seed))  # type: ignore[arg-type]
    points = torch.tensor([[0.9, 0.1], [0.2, 0.4], [0.5, 0.5]], dtype=torch.float64)
    (folder / scatters.FOLDER).mkdir()
    for step in (40, 80, 160):
        write_tensors(folder / scatters.FOLDER / f"{step:08d}.safetensors", {scatters.WITHIN: points}, {"step": step})
    return folder


def matched(seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Matches of forty target training rows with two anchors each, of the matched label; the first is not kept."""
    rng = np.random.default_rng(100 + seed)
    rows = np.linspace(0, NUM_TRAIN - 1, 40).astype(np.int64)
    label = np.where(rng.random(40) < 0.7, rows % 4, (rows + 1) % 4)
    source_index = 4 * rng.integers(0, NUM_TRAIN // 4, (40, 2)) + label[:, None]
    keep = np.arange(40) > 0
    return {
        "rows": rows,
        "source_index": source_index,
        "label": label,
        "confidence": rng.random(40),
        "keep": keep,
        "similarity": rng.random((40, 2)),
    }


def report(name: str, seed: int, accuracy: float) -> dict[str, Any]:
    """What a finished run reports, as far as a page reads it."""
    right = round(50 * accuracy)
    confusion = [[right if a == b else (50 - right) * (b == (a + 1) % 4) for b in range(4)] for a in range(4)]
    choice = {"step": 160, "accuracy_oracle": accuracy - 0.02, "gap_oracle": 0.02}
    return {
        "recipe": name,
        "seed": seed,
        "seconds": 12.0,
        "target_accuracy": accuracy,
        "source_test_accuracy": 0.97,
        "retrieval": {"target_to_source": {"precision_at_1": accuracy - 0.1, "map_at_r": accuracy - 0.2}},
        "selection": {
            "rule": "LastCheckpoint",
            "scores": {"entropy": -0.25, "snd": 3.5},
            **choice,
            "would_choose": {"entropy": choice, "snd": {**choice, "gap_oracle": 0.3}},
        },
        "anchors": {"anchors/precision_oracle": accuracy - 0.05, "anchors/coverage": 0.975, "anchors/hubness": 1.5},
        "confusion": confusion,
    }


def without_oracle(told: dict[str, Any]) -> dict[str, Any]:
    """The report of a run whose target has no labels."""
    plain = {name: value for name, value in told.items() if name not in ("target_accuracy", "confusion")}
    choice = {"step": 160}
    selection = {**told["selection"], "would_choose": {"entropy": choice, "snd": {"step": 120}}}
    selection = {name: value for name, value in selection.items() if not name.endswith("_oracle")}
    anchors = {name: value for name, value in told["anchors"].items() if not name.endswith("_oracle")}
    return {**plain, "retrieval": {}, "selection": selection, "anchors": anchors}


def write_log(folder: Path, accuracy: float, labelled: bool = True) -> None:
    """Three evaluations, a loss at four hundred steps, and a value that is no number."""
    lines = [
        {"kind": "metrics", "step": step, "values": {"loss/total": 1 / step, "loss/triplet": accuracy}}
        for step in range(1, 401)
    ]
    curves = {"score/entropy": (-1.5, -0.5, -0.25), **(CURVE if labelled else {})}
    for at, step in enumerate((100, 200, 400)):
        lines.append({"kind": "metrics", "step": step, "values": {name: values[at] for name, values in curves.items()}})
    lines.append({"kind": "metrics", "step": 400, "values": {"gradient/source/triplet": "NaN"}})
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def ablation_folder(folder: Path, *, variants: tuple[str, ...] = ("pixel", "nearest", HOSTILE)) -> Path:
    """Three variants of two seeds each; of the last one, a run has failed and the other is missing."""
    runs = []
    for at, variant in enumerate(variants):
        for seed in (0, 1):
            name, broken = f"runs/v{at}-s{seed}", at == len(variants) - 1
            if not broken:
                run_folder(folder / name, name=variant, seed=seed, accuracy=0.6 + 0.2 * at + 0.02 * seed)
            elif seed == 0:
                run_folder(folder / name, name=variant, seed=seed, finished=False)
            status = ("failed", "missing")[seed] if broken else "finished"
            error = f"DataError: {HOSTILE}" if status == "failed" else None
            folder_name = None if status == "missing" else name
            runs.append({"variant": variant, "seed": seed, "folder": folder_name, "status": status, "error": error})
    record = {
        "name": HOSTILE,
        "file": "experiments/anchors.py:strategies",
        "command": "domainmetric ablate experiments/anchors.py:strategies --seeds 2",
        "commit": "abc123",
        "baseline": variants[0],
        "seeds": [0, 1],
        "variants": {variant: {} for variant in variants},
        "runs": runs,
        "machine": {"device": "cpu (1 threads)"},
    }
    write(folder / "ablation.json", record)
    (folder / "differences.csv").write_text(f'variant,difference,p\nnearest,0.25,0.0625\n"{HOSTILE}",,\n')
    return folder


def write(path: Path, value: Any) -> None:
    """A JSON file, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
