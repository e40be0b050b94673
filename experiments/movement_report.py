"""Tables and figures of the experiment `triplet_movement`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from domainmetric.diagnostics.field import FirstOrderStep, Move, SecondOrderStep, Shares, StepRule, shares, small_step
from domainmetric.diagnostics.movement import Movement, direction_agreement, joined, mean_arrows
from domainmetric.figures.scatter import ArrowField, Points, movement_arrows, triplet_scatter
from domainmetric.figures.style import save as save_figure
from experiments import tables
from experiments.movement_runs import LOSSES, LR, MINERS, Run, Seen

RULES: dict[str, StepRule] = {"L1": FirstOrderStep(), "L2": SecondOrderStep()}
ENTANGLEMENT = 0.8
"""The larger p of the paper's simulation."""


def report(seen: Mapping[Run, Seen], folder: Path) -> None:
    """Write tables and figures, and print the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    moved, points = list(movement_rows(seen)), list(scatter_rows(seen))
    write_csv(moved, folder / "movement.csv")
    write_csv(points, folder / "scatter.csv")
    text = markdown(moved, points)
    (folder / "table.md").write_text(text)
    print(text)
    for domain in dict.fromkeys(run.domain for run in seen):
        print(save(draw_movement(domain, seen), folder / f"movement_{domain}.png"))
        print(save(draw_scatters(domain, seen), folder / f"scatter_{domain}.png"))


def movement_rows(seen: Mapping[Run, Seen]) -> Iterator[dict[str, Any]]:
    """One row for each run, time, miner and loss of the update."""
    for run, what in seen.items():
        for (step, miner, update), moved in what.movements.items():
            fields = [predicted(moved, update, entanglement) for entanglement in (0.0, ENTANGLEMENT)]
            yield {
                "domain": run.domain,
                "trained_by": run.loss,
                "step": step,
                "triplets": miner,
                "update": update,
                "seed": run.seed,
                "num_triplets": len(moved),
                "hard": moved.before.summary()["hard"],
                "s_ap": moved.before.summary()["s_ap_mean"],
                "s_an": moved.before.summary()["s_an_mean"],
                **moved.shares()._asdict(),
                "d_ap": float(moved.move.ap.mean()),
                "d_an": float(moved.move.an.mean()),
                "gamma": float(moved.gamma.mean()),
                "agreement": direction_agreement(moved.move, fields[0]),
                "agreement_entangled": direction_agreement(moved.move, fields[1]),
                "predicted_down_right": shares(fields[0]).down_right,
                "predicted_down_right_entangled": shares(fields[1]).down_right,
            }


def predicted(moved: Movement, update: str, entanglement: float = 0.0) -> Move:
    """Where the field of a loss takes these triplets, each by itself; per unit of learning rate."""
    at = moved.before
    return small_step(at.s_ap, at.s_an, RULES[update], gamma=moved.gamma, entanglement=entanglement)


def scatter_rows(seen: Mapping[Run, Seen]) -> Iterator[dict[str, Any]]:
    """One row for each run and time."""
    for run, what in seen.items():
        for step, points in what.scatters.items():
            facts = {"domain": run.domain, "loss": run.loss, "n": run.n, "seed": run.seed, "step": step}
            yield {**facts, **points.summary()}


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """All rows, numbers with four digits."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})


def percent(values: Sequence[float]) -> str:
    """Mean and deviation of shares, in percent."""
    return f"{100 * fmean(values):.0f}" + (f" ± {100 * pstdev(values):.0f}" if len(values) > 1 else "")


def markdown(moved: Sequence[Mapping[str, Any]], points: Sequence[Mapping[str, Any]]) -> str:
    """Both tables; shares in percent, mean and deviation over seeds."""
    keys = ("domain", "trained_by", "step", "triplets", "update")
    parts = ("hard", "down_right", "up_right", "down_left", "up_left")
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in moved:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    head = [*keys, "triplets in all", "S_ap", "S_an", *(f"{s.replace('_', '-')} %" for s in parts), "agreement"]
    about_moves = []
    for key, rows in groups.items():
        numbers = [
            str(sum(r["num_triplets"] for r in rows)),
            *(f"{fmean(r[s] for r in rows):.2f}" for s in ("s_ap", "s_an")),
        ]
        numbers += [percent([r[s] for r in rows]) for s in parts] + [f"{fmean(r['agreement'] for r in rows):.2f}"]
        about_moves.append([*key, *numbers])
    about_points = []
    for row in points:
        spread = [f"{row[f'{s}_mean']:.2f} ± {row[f'{s}_std']:.2f}" for s in ("s_ap", "s_an")]
        about_points.append([row["domain"], row["loss"], row["n"], row["step"], f"{100 * row['hard']:.1f}", *spread])
    text = [
        f"Where one update (lr {LR:g}) moves disjoint triplets; shares over seeds, mean ± deviation.",
        "Agreement: mean cosine between the measured and the predicted direction of a triplet.\n",
        tables.markdown(head, about_moves),
        "\nNearest positive and nearest negative of each test image; 100 - hard is Recall@1.\n",
        tables.markdown(["domain", "loss", "n", "step", "hard %", "S_ap", "S_an"], about_points),
    ]
    return "\n".join(text) + "\n"


def save(figure: Figure, path: Path) -> Path:
    """The figure with 64 colors, since the results are kept in the repository: a third of the bytes."""
    with Image.open(save_figure(figure, path)) as image:
        small = image.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    return path


def draw_movement(domain: str, seen: Mapping[Run, Seen]) -> Figure:
    """Mean arrows, of all seeds together: a row for each loss, a column for each miner and time."""
    rows: dict[str, dict[str, ArrowField]] = {}
    right: dict[str, list[float]] = {}
    for loss in LOSSES:
        runs = [what for run, what in seen.items() if (run.domain, run.loss) == (domain, loss) and what.movements]
        arms = [arm for arm in runs[0].movements if arm[2] == loss]
        for step, miner, _ in sorted(arms, key=lambda arm: (list(MINERS).index(arm[1]), arm[0])):
            moved = joined([what.movements[step, miner, loss] for what in runs])
            rows.setdefault(f"trained and moved by {loss}", {})[f"{miner}, step {step}"] = arrows(moved, loss)
            right.setdefault(f"{loss} {miner}", []).append(moved.shares().down_right)
    told = ", ".join(f"{name} {values[0]:.0%} to {values[-1]:.0%}" for name, values in right.items())
    return movement_arrows(rows, title=f"{domain.upper()}: share moved down-right, early to late: {told}")


def arrows(moved: Movement, update: str) -> ArrowField:
    """Measured and predicted mean arrows of cells with three triplets at least."""
    found = mean_arrows(moved.before, moved.move, at_least=3)
    field = mean_arrows(moved.before, predicted(moved, update), at_least=3)
    return ArrowField(
        s_ap=found.s_ap.numpy(),
        s_an=found.s_an.numpy(),
        d_ap=found.move.ap.numpy(),
        d_an=found.move.an.numpy(),
        num_triplets=found.count.numpy(),
        predicted=(field.move.ap.numpy(), field.move.an.numpy()),
        caption=caption(moved.shares()),
    )


def caption(part: Shares) -> str:
    """The four shares in two short lines."""
    right = f"down-right {part.down_right:.0%}, up-right {part.up_right:.0%}"
    return f"{right}\ndown-left {part.down_left:.0%}, up-left {part.up_left:.0%}"


def draw_scatters(domain: str, seen: Mapping[Run, Seen]) -> Figure:
    """A row for each loss and n, a column for each time."""
    rows: dict[str, dict[str, Points]] = {}
    last = []
    for run, what in seen.items():
        if run.domain == domain and what.scatters:
            row = {f"step {s}": Points(p.s_ap.numpy(), p.s_an.numpy()) for s, p in what.scatters.items()}
            rows[f"{run.loss}, n = {run.n}"] = row
            last.append(f"{run.loss} n = {run.n} {what.scatters[run.steps].summary()['hard']:.1%}")
    return triplet_scatter(
        rows, title=f"{domain.upper()} test images, EPHN: hard triplets at the end: {', '.join(last)}"
    )
