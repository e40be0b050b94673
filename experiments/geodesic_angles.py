"""How far the gradients of the distances differ: by formula at given angles, and measured on batches of digits.

A part of `experiments.geodesic_or_chord`. The formulas are those of `domainmetric.diagnostics.gradients`; what is
measured answers whether triplets of a real batch lie where the formulas differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric import MarginTriplet
from domainmetric.diagnostics.gradients import FORMS, angle, gradient_angle, gradient_norms, tangential
from domainmetric.geometry import TINY, FromPairwise, normalize
from experiments.geodesic_runs import DISTANCES, RIGHT_ANGLE, DigitRun, pairs_of, tasks, train
from experiments.lab import Encoder

THETAS = (0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
"""Angles between two points, in radians."""
CORNER = (0.2, 1.5)
"""A near positive and a far negative: the angles of the worked example."""
GAMMAS = (0.0, 0.5, 0.9)
LOOK_AT = (0, 10, 30, 100)
"""Steps at which a run is looked at, beside its last one."""
SHARE, LR = 0.25, 0.003
"""Margin as a share of the distance of orthogonal vectors, and the learning rate of the runs that are looked at."""

Row = dict[str, Any]


def by_formula() -> list[Row]:
    """The length of each distance's gradient along the sphere, and how much of the raw one that is."""
    theta = torch.tensor(THETAS)
    rows = []
    for name, form in FORMS.items():
        norms = gradient_norms(form, theta)
        for k, value in enumerate(THETAS):
            raw, along = float(norms.raw[k]), float(norms.tangential[k])
            rows.append({"distance": name, "theta": value, "raw": raw, "tangential": along, "kept": along / raw})
    return rows


def at_the_corner() -> list[Row]:
    """Degrees between the anchor's gradient of each distance and the geodesic's, for a near positive, far negative."""
    theta_p, theta_n = (torch.tensor([value]) for value in CORNER)
    return [
        {"distance": name, "gamma": gamma, "degrees": float(
            gradient_angle(form, FORMS["geodesic"], theta_p=theta_p, theta_n=theta_n, gamma=gamma)
        )}
        for name, form in FORMS.items()
        if name != "geodesic"
        for gamma in GAMMAS
    ]  # fmt: skip


def angle_map(
    first: str, second: str, gamma: float, side: int = 60
) -> tuple[Float[Tensor, " s"], Float[Tensor, "s s"]]:
    """Degrees between the anchor's gradients over a grid of angles: the grid, and rows of theta_n by theta_p."""
    grid = torch.linspace(0.02, torch.pi - 0.02, side)
    theta_n, theta_p = torch.meshgrid(grid, grid, indexing="ij")
    degrees = gradient_angle(
        FORMS[first], FORMS[second], theta_p=theta_p.flatten(), theta_n=theta_n.flatten(), gamma=gamma
    )
    return grid, degrees.reshape(side, side)


def work(run: DigitRun, root: Path) -> Row:
    """Train once, and at some steps compare the gradients that all distances would give at that moment."""
    looks: list[Row] = []
    steps = {*LOOK_AT, run.steps - 1}

    def watch(step: int, encoder: Encoder, raw: Tensor, labels: Tensor) -> None:
        if step in steps:
            looks.append({"step": step, **look(encoder, raw, labels)})

    train(run, tasks(root)[0], watch)
    return {"looks": looks}


def look(encoder: Encoder, raw: Float[Tensor, "b d"], labels: Int64[Tensor, " b"]) -> Row:
    """Of one batch: its angles, and each distance's gradient against the geodesic's."""
    own = {name: gradients(name, encoder, raw, labels) for name in DISTANCES}
    pairs = pairs_of(normalize(raw.detach()), labels)
    theta = DISTANCES["geodesic"].matrix(pairs)
    result: Row = {
        "theta_p": rounded(theta[pairs.positive].median()),
        "theta_n": rounded(theta[pairs.negative].median()),
    }
    at_raw, at_weights, _ = own["geodesic"]
    for name, (vectors, weights, kept) in own.items():
        moved = (vectors.norm(dim=1) > 0) & (at_raw.norm(dim=1) > 0)
        between = degrees(vectors[moved], at_raw[moved])
        result[name] = {
            "item": rounded(between.median()) if len(between) else None,
            "weights": rounded(degrees(weights[None], at_weights[None])[0]),
            "kept": rounded(kept),
        }
    return result


def gradients(
    name: str, encoder: Encoder, raw: Float[Tensor, "b d"], labels: Int64[Tensor, " b"]
) -> tuple[Float[Tensor, "b d"], Float[Tensor, " w"], Float[Tensor, ""]]:
    """A distance's gradient at the raw vectors and at all weights, and the share of it that lies along the sphere."""
    margin = SHARE * RIGHT_ANGLE[name]
    loss = MarginTriplet(margin=margin, distance=DISTANCES[name])
    (vectors,) = torch.autograd.grad(loss.of(pairs_of(normalize(raw), labels)).value, raw, retain_graph=True)
    weights = torch.autograd.grad(raw, list(encoder.parameters()), vectors, retain_graph=True)
    free = normalize(raw.detach()).requires_grad_()
    plain = replace(loss, distance=FromPairwise(function=FORMS[name]))
    (whole,) = torch.autograd.grad(plain.of(pairs_of(free, labels)).value, free)
    kept = tangential(whole, free.detach()).norm() / whole.norm().clamp_min(TINY)
    return vectors, torch.cat([one.flatten() for one in weights]), kept


def degrees(x: Float[Tensor, "t d"], y: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
    """The angle between directions, in degrees."""
    return angle(normalize(x), normalize(y)) * (180 / torch.pi)


def rounded(value: Float[Tensor, ""]) -> float:
    """A number for a record."""
    return round(float(value), 3)


def measured(found: Mapping[str, Row]) -> list[Row]:
    """The looks of all runs, a row for each step and distance, as means over the runs."""
    rows = []
    runs = [record["looks"] for record in found.values()]
    for looks in zip(*runs, strict=True):
        for name in DISTANCES:
            row = {"step": looks[0]["step"], "distance": name}
            row |= {key: mean([look[key] for look in looks]) for key in ("theta_p", "theta_n")}
            rows.append(row | {key: mean([look[name][key] for look in looks]) for key in ("item", "weights", "kept")})
    return rows


def mean(values: list[float | None]) -> float:
    """Mean of the values that are there; NaN if none is."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else float("nan")
