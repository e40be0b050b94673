"""What a finished run writes down: the report as one JSON object, and the figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np
import torch

from domainmetric.experiment import BestScore
from domainmetric.figures.anchors import anchor_sheet
from domainmetric.figures.confusion import confusion_matrix
from domainmetric.figures.curves import loss_curves
from domainmetric.figures.embedding import embedding_map, project
from domainmetric.figures.scatter import Points, triplet_scatter
from domainmetric.figures.style import save
from domainmetric.training import scatters
from domainmetric.training.final import EMBEDDINGS, Final, labels_of, save_arrays
from domainmetric.training.phases import first_step
from domainmetric.training.runtime import peak_memory_mb
from domainmetric.training.session import Record, Session
from domainmetric.training.tracking import history, read_log
from domainmetric.types import Matches

ORACLE = "eval/target/accuracy_oracle"
SHEET_ROWS = 24
PROJECTION = "projection.npz"
"""Where the test embeddings that the map shows lie in the plane: their rows, and both projections."""

Matched = tuple[torch.Tensor, Matches] | None


def summarize(
    session: Session, record: Record, final: Final, matched: dict[str, float], machine: dict[str, Any]
) -> dict[str, Any]:
    """The report: what `domainmetric show --json` prints. `matched` is how good the final matches are, if any."""
    experiment = session.experiment
    report: dict[str, Any] = {
        "recipe": experiment.name,
        "seed": experiment.seed,
        "device": machine["device"],
        "seconds": sum(record.seconds.values()),
        **final.classification(),
        "retrieval": final.retrieval(),
        "selection": selection(session, record),
        "anchors": {**last_look(session), **matched} if matched else {},
        **final.gap(),
        "gradient_share": gradient_share(session),
        "alarms": alarms(session),
        **({} if (confusion := final.confusion()) is None else {"confusion": confusion}),
        "phases": {
            name: {"steps": phase.steps, "seconds": record.seconds[name], "reused": name in record.reused}
            for name, phase in experiment.phases.items()
        },
        "peak_memory_mb": peak_memory_mb(session.fabric.device),
    }
    return report


def selection(session: Session, record: Record) -> dict[str, Any]:
    """Which checkpoint is reported and why; what each score would have chosen; and what choosing so cost (oracle)."""
    rule = session.experiment.selection
    values = history(session.folder)
    begin = first_step(session.experiment, len(session.experiment.phases) - 1)
    assert record.selected_step is not None
    chosen = begin + record.selected_step
    result: dict[str, Any] = {
        "rule": type(rule).__name__ + (f"({type(rule.score).__name__})" if isinstance(rule, BestScore) else ""),
        "step": chosen,
        "scores": {n.removeprefix("score/"): at(values[n], chosen) for n in values if n.startswith("score/")},
    }
    curve = since(values[ORACLE], begin) if ORACLE in values else {}

    def oracle(step: int) -> dict[str, float]:
        return {"accuracy_oracle": curve[step], "gap_oracle": max(curve.values()) - curve[step]} if curve else {}

    choices = {n.removeprefix("score/"): choice(since(values[n], begin)) for n in values if n.startswith("score/")}
    would_choose = {name: {"step": step, **oracle(step)} for name, step in choices.items() if step is not None}
    return {**result, **oracle(chosen), "would_choose": would_choose}


def choice(scores: Mapping[int, float]) -> int | None:
    """The first step with the highest score, as a run selects; what is no number is never chosen."""
    numbers = {step: score for step, score in scores.items() if not math.isnan(score)}
    return max(numbers, key=lambda step: (numbers[step], -step)) if numbers else None


def since(series: tuple[list[int], list[float]], begin: int) -> dict[int, float]:
    """The last value written for each step from `begin` on: those of the last phase, its start included."""
    return {step: value for step, value in zip(*series, strict=True) if step >= begin}


def last_look(session: Session) -> dict[str, float]:
    """Every measure of the anchors at the last look of the run, times and agreement with the look before included."""
    return {name: values[-1] for name, (_, values) in history(session.folder).items() if name.startswith("anchors/")}


def at(series: tuple[list[int], list[float]], step: int) -> float:
    """The last value written for a step."""
    return dict(zip(*series, strict=True))[step]


def gradient_share(session: Session) -> dict[str, dict[str, float]]:
    """Each term's share of the summed gradient norms at the embeddings, averaged over the last phase."""
    begin = first_step(session.experiment, len(session.experiment.phases) - 1)
    shares: dict[str, dict[str, float]] = {}
    for name, (steps, values) in history(session.folder).items():
        if name.startswith("gradient/"):
            _, where, term = name.split("/")
            inside = [value for step, value in zip(steps, values, strict=True) if step >= begin]
            if inside:
                shares.setdefault(where, {})[term] = fmean(inside)
    return shares


def alarms(session: Session) -> list[dict[str, Any]]:
    """What the alarms said, in order, at the steps of the run."""
    told = (record for record in read_log(session.folder) if record["kind"] == "alarm")
    return [{name: value for name, value in record.items() if name not in ("kind", "time")} for record in told]


def draw(session: Session, final: Final, matched: Matched) -> None:
    """Every figure of a run, into its folder `figures/` and its log."""
    experiment, data = session.experiment, session.data
    classes, folder = data.source_train.classes, session.folder / "figures"
    run = f"{experiment.name}, seed {experiment.seed}"
    phases = {name: first_step(experiment, index) for index, name in enumerate(experiment.phases)}
    confusion = final.confusion()
    labelled = confusion is not None
    z_source, z_target = (part.z.float().cpu().numpy() for part in (final.source_test, final.target_test))
    projection = project(z_source, z_target, seed=experiment.seed)
    save_arrays({name: np.asarray(value) for name, value in vars(projection).items()}, session.folder / PROJECTION)
    figures = {
        "embedding_map": embedding_map(
            z_source,
            labels_of(data.source_test).cpu().numpy(),
            z_target,
            (final.target_labels() if labelled else final.target_test.logits.argmax(1)).cpu().numpy(),
            classes,
            seed=experiment.seed,
            target_colors="true class (oracle)" if labelled else "predicted class",
            projection=projection,
        ),
        "loss_curves": loss_curves(history(session.folder), phases=phases, title=run),
    }
    if confusion is not None:
        title = f"{run}: target test images"
        figures["confusion_matrix"] = confusion_matrix(np.array(confusion), classes, title)
    kept = scatters.kept(session.folder)
    if kept:
        figures["triplet_scatter"] = draw_scatters(kept, run)
    if matched is not None:
        figures["anchors"] = draw_anchors(session, *matched)
    for name, figure in figures.items():
        session.log.figure(name, save(figure, folder / f"{name}.png"))
    if confusion is not None:
        session.log.confusion("confusion", confusion, classes)
    session.log.table("embeddings", session.folder / EMBEDDINGS)


def draw_scatters(kept: dict[int, dict[str, torch.Tensor]], run: str) -> Any:
    """The triplets of each kept look, side by side; the title says what became of the hard ones."""
    kinds: dict[str, dict[str, Points]] = {}
    for step, found in kept.items():
        for kind, points in found.items():
            kinds.setdefault(kind, {})[f"step {step}"] = Points(*points.T.numpy())
    told = []
    for kind, row in kinds.items():
        hard = [(points.s_ap <= points.s_an).mean() for points in row.values() if len(points.s_ap)]
        told += [f"{hard[0]:.1%} to {hard[-1]:.1%} {kind}"] if hard else []
    labels = "" if list(kinds) == [scatters.SOURCE] else " (target items by matched label)"
    return triplet_scatter(kinds, title=f"{run}: hard triplets {', '.join(told) or 'not found'}{labels}")


def draw_anchors(session: Session, rows: torch.Tensor, matches: Matches) -> Any:
    """A sheet of evenly spaced target training images with the source images that stand for them."""
    data = session.data
    chosen = torch.linspace(0, len(rows) - 1, min(SHEET_ROWS, len(rows))).long().to(rows.device)
    anchors = matches.source_index[chosen]
    oracle = data.target_train_labels_oracle
    return anchor_sheet(
        data.target_train.images[rows[chosen]].cpu().numpy(),
        None if oracle is None else oracle[rows[chosen]].cpu().numpy(),
        data.source_train.images[anchors].cpu().numpy(),
        labels_of(data.source_train)[anchors].cpu().numpy(),
        matches.confidence[chosen].float().cpu().numpy(),
        matches.keep[chosen].cpu().numpy(),
        classes=data.source_train.classes,
    )
