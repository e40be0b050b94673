"""Where does one gradient step take a triplet? The simulation of "Extreme Triplet Learning", its misprints corrected.

Question: over all pairs of similarities (S_ap, S_an), which triplets move as a triplet loss wants it (S_ap up and S_an
down: down-right in the figures), and does the second-order loss L2 move more of them so than the first-order L1 or
vanilla FaceNet? Command: `python -m experiments.vector_field [--lr 0.1] [--out FOLDER]`, about 15 s on one core.

Finding (lr 0.1; shares of a square's area at gamma 0.2 / 0.5 / 0.8; every number is in `results/vector_field/`):

* No loss moves a triplet up-left here. L1 moves 99 / 97 / 89% of [0, 1] down-right without entanglement (p = 0), and
  68 / 63 / 57% at p = 0.8; vanilla is within 2 points of that. Entanglement harms L1 more than gamma does.
* L2 sends *more* of [0, 1] up-right than L1, at every gamma and p: 4 / 12 / 21% against 0 / 1 / 5% at p = 0, and
  20 / 31 / 46% against 14 / 17 / 20% at p = 0.8. At p = 0, 88% of it or more lies below S_an = 0.5, where its push is
  weak. On [-1, 1] it is 54 / 61 / 75% (p = 0), since L2 draws negatives from below up to S_an = 0 by design.
* L2 helps in the hard corner, [0.8, 1]. L1's up-right share grows with p there, to 31 / 34 / 37% at p = 0.8; L2 has
  4 / 3 / 2%. But it does not move them as wanted either: there it sends 94 / 96 / 97% down-left (L1 41 / 42 / 43%),
  and 3 / 1 / 1% down-right (L1 28 / 24 / 20%). It leaves the corner along the diagonal and loses the positive with the
  negative: on average S_an falls three times as fast as by L1 (gamma 0.5, p = 0.8: -.168 against -.055 per unit of lr),
  while S_ap - S_an grows half as fast, at every gamma and p (there .043 against .085). So it escapes a collapse, and
  does not mend the order of hard triplets faster.
* The law of small steps is exact to first order in lr. At lr 0.1 all shares of L1 and L2 are within 5.3 points of their
  limits for lr -> 0; vanilla, whose steps are some four times as long, is off by up to 15 points in the hard corner.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from domainmetric.diagnostics.field import (
    FirstOrderStep,
    Move,
    SecondOrderStep,
    Shares,
    StepRule,
    VanillaStep,
    predicted_move,
    shares,
    small_step,
    square,
)
from domainmetric.errors import ConfigError
from domainmetric.figures.field import Boundary, Field, field_grid, law_figure, share_bars
from domainmetric.figures.style import save as save_figure

RULES: dict[str, StepRule] = {"L1": FirstOrderStep(), "L2": SecondOrderStep(), "vanilla": VanillaStep()}
GAMMAS = (0.2, 0.5, 0.8)
ENTANGLEMENTS = (0.0, 0.4, 0.8)
SQUARES = {"[0, 1]": (0.0, 1.0), "hard corner [0.8, 1]": (0.8, 1.0), "[-1, 1]": (-1.0, 1.0)}
"""Where S_ap and S_an lie.

[0, 1] is the main one: triplets with the nearest positive and the nearest negative, whom the paper is about, lie there
once a network has any structure, and the entanglement acts there alone. Below S_an = 0, L2 draws negatives to S_an = 0
on purpose, so [-1, 1] counts as up-right what does no harm; it is given for completeness.
"""
CELLS = 400
RESULTS = Path(__file__).parent / "results" / "vector_field"
LIMIT = "limit"
"""What stands for the learning rate where the law of small steps was taken."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The shares of the directions over one square."""

    square: str
    gamma: float
    entanglement: float
    lr: str
    loss: str
    shares: Shares
    mean: tuple[float, float]
    """Of the change of S_ap and of S_an, over lr."""


def move_over(name: str, rule: StepRule, gamma: float, entanglement: float, lr: float | None, cells: int) -> Move:
    """The moves over a named square; by the law of small steps where `lr` is None."""
    s_ap, s_an = square(*SQUARES[name], cells)
    if lr is None:
        return small_step(s_ap, s_an, rule, gamma=gamma, entanglement=entanglement)
    return predicted_move(s_ap, s_an, rule, gamma=gamma, lr=lr, entanglement=entanglement)


def measure(lr: float, cells: int) -> Iterator[Row]:
    """The shares of all squares, gammas, entanglements and losses, at the learning rate and in the limit."""
    for name in SQUARES:
        for gamma in GAMMAS:
            for p in ENTANGLEMENTS:
                for loss, rule in RULES.items():
                    for rate in (lr, None):
                        move = move_over(name, rule, gamma, p, rate, cells)
                        mean = float(move.ap.mean()) / (rate or 1), float(move.an.mean()) / (rate or 1)
                        label = LIMIT if rate is None else f"{rate:g}"
                        yield Row(
                            square=name,
                            gamma=gamma,
                            entanglement=p,
                            lr=label,
                            loss=loss,
                            shares=shares(move),
                            mean=mean,
                        )


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Every row with all its shares, as fractions."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["square", "gamma", "p", "lr", "loss", *Shares._fields, "mean_d_ap_per_lr", "mean_d_an_per_lr"])
        for row in rows:
            values = (f"{value:.5f}" for value in (*row.shares, *row.mean))
            writer.writerow([row.square, row.gamma, row.entanglement, row.lr, row.loss, *values])


def write_markdown(rows: Sequence[Row], path: Path, lr: float, cells: int) -> None:
    """The table of the learning rate for people: shares in percent, one line for each square, gamma and p."""
    lines = [
        f"# Shares of the directions of one step, in % of the square (lr {lr:g}, {cells} x {cells} cells)",
        "",
        "UR: up-right, both similarities grow. DR: down-right, as it should be. DL: down-left, both fall.",
        f"Up-left, positive lost and negative nearer: {max(row.shares.up_left for row in rows):.1%} at most.",
        "",
        "| square | gamma | p | " + " | ".join(f"{loss} UR | DR | DL" for loss in RULES) + " |",
        "|---|---|---|" + "---|" * (3 * len(RULES)),
    ]
    table = {(r.square, r.gamma, r.entanglement, r.loss): r.shares for r in rows if r.lr != LIMIT}
    for name in SQUARES:
        for gamma in GAMMAS:
            for p in ENTANGLEMENTS:
                found = (table[name, gamma, p, loss] for loss in RULES)
                values = (f"{100 * v:.1f}" for s in found for v in (s.up_right, s.down_right, s.down_left))
                lines.append(f"| {name} | {gamma} | {p} | " + " | ".join(values) + " |")
    path.write_text("\n".join(lines) + "\n")


def field(title: str, name: str, move: Move, cells: int) -> Field:
    """A move over a square as a picture, its shares under the title."""
    s_ap, s_an = square(*SQUARES[name], cells)
    part = shares(move)
    words = f"{title}\nUR {part.up_right:.0%}, DR {part.down_right:.0%}, DL {part.down_left:.0%}"
    return Field(title=words, s_ap=s_ap[0].numpy(), s_an=s_an[:, 0].numpy(), d_ap=move.ap.numpy(), d_an=move.an.numpy())


def span(rows: Sequence[Row], share: Callable[[Shares], float]) -> str:
    """The smallest and the largest of a share, in percent."""
    values = [share(row.shares) for row in rows]
    return f"{100 * min(values):.0f} to {100 * max(values):.0f}%"


def up_right(part: Shares) -> float:
    """Both similarities grow."""
    return part.up_right


def down_right(part: Shares) -> float:
    """As a triplet loss wants it."""
    return part.down_right


def down_left(part: Shares) -> float:
    """Both similarities fall."""
    return part.down_left


def save(figure: Figure, path: Path) -> Path:
    """The figure with 128 colors, since the results are kept in the repository: a third of the bytes."""
    with Image.open(save_figure(figure, path)) as image:
        small = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    return path


def draw_fields(rows: Sequence[Row], folder: Path, lr: float, cells: int) -> Iterator[Path]:
    """One figure for each entanglement: losses by gammas over [0, 1]; and the whole square for p = 0."""
    for name, p in (*(("[0, 1]", p) for p in ENTANGLEMENTS), ("[-1, 1]", 0.0)):
        mine = [r for r in rows if r.square == name and r.entanglement == p and r.lr != LIMIT]
        parts = (f"{loss} {span([r for r in mine if r.loss == loss], up_right)}" for loss in RULES)
        title = f"S in {name}, entanglement p = {p:g}, lr {lr:g};\nmoved up-right: {', '.join(parts)}"
        fields = [
            [field(f"$\\gamma$ = {g}", name, move_over(name, rule, g, p, lr, cells), cells) for g in GAMMAS]
            for rule in RULES.values()
        ]
        ending = f"p{p:g}" if name == "[0, 1]" else "whole_square"
        yield save(field_grid(fields, title=title, rows=list(RULES)), folder / f"field_{ending}.png")


def draw_corner(rows: Sequence[Row], folder: Path, lr: float, cells: int) -> Path:
    """The hard corner, where positive and negative lie near the anchor: losses by entanglements, gamma 0.5."""
    name, gamma = "hard corner [0.8, 1]", 0.5
    mine = [r for r in rows if r.square == name and r.gamma == gamma and r.lr != LIMIT]
    of_l1, of_l2 = ([r for r in mine if r.loss == loss] for loss in ("L1", "L2"))
    title = (
        f"Hard corner, gamma {gamma}, lr {lr:g}; moved up-right: L1 {span(of_l1, up_right)}, L2 "
        f"{span(of_l2, up_right)};\nmoved down-left: L1 {span(of_l1, down_left)}, L2 {span(of_l2, down_left)}"
    )
    fields = [
        [field(f"p = {p:g}", name, move_over(name, rule, gamma, p, lr, cells), cells) for p in ENTANGLEMENTS]
        for rule in RULES.values()
    ]
    return save(field_grid(fields, title=title, rows=list(RULES)), folder / "hard_corner.png")


def draw_shares(rows: Sequence[Row], folder: Path, lr: float) -> Path:
    """The shares of all squares at gamma 0.5."""
    bars: dict[str, dict[str, np.ndarray]] = {name: {} for name in SQUARES}
    mine = [row for row in rows if row.gamma == 0.5 and row.lr != LIMIT]
    for row in mine:
        part = row.shares
        values = np.array([part.down_right, part.up_right, part.down_left, part.up_left])
        bars[row.square][f"{row.loss}, p {row.entanglement:g}"] = values
    wanted = (f"{loss} {span([r for r in mine if r.loss == loss], down_right)}" for loss in RULES)
    title = f"gamma 0.5, lr {lr:g}; moved down-right, as they should: {', '.join(wanted)}"
    return save(share_bars(bars, title=title), folder / "shares.png")


def law_errors(rates: Sequence[float], gamma: float) -> dict[str, np.ndarray]:
    """The largest deviation of a step over lr from its limit, on [-1, 1]."""

    def error(rule: StepRule, lr: float) -> float:
        law = move_over("[-1, 1]", rule, gamma, 0.0, None, 100)
        move = move_over("[-1, 1]", rule, gamma, 0.0, lr, 100)
        return max(float((m / lr - limit).abs().max()) for m, limit in zip(move, law, strict=True))

    return {name: np.array([error(rule, lr) for lr in rates]) for name, rule in RULES.items()}


def boundary(lr: float, gamma: float, cells: int) -> Boundary:
    """Where an L1 step lowers S_ap or raises S_an, beside the law of the sines."""
    s_ap, s_an = square(*SQUARES["[0, 1]"], cells)
    move = move_over("[0, 1]", RULES["L1"], gamma, 0.0, lr, cells)

    def sine(s: Tensor) -> Tensor:
        return (1 - s.square()).sqrt()

    return Boundary(
        title=f"L1, $\\gamma$ = {gamma}, lr {lr:g}",
        s_ap=s_ap[0].numpy(),
        s_an=s_an[:, 0].numpy(),
        falls=(move.ap < 0).numpy(),
        rises=(move.an > 0).numpy(),
        law_falls=(2 * sine(s_ap) - gamma * sine(s_an)).numpy(),
        law_rises=(gamma * sine(s_ap) - 2 * sine(s_an)).numpy(),
    )


def draw_law(folder: Path, cells: int) -> Path:
    """The error of the small-step law by learning rate, and its boundaries beside those of a small and a large step."""
    rates = np.logspace(-5, 0, 11)
    errors = law_errors(rates.tolist(), 0.5)
    title = (
        "Small steps of L1 turn just where the law says (lr 0.01), large ones do not (lr 1);\n"
        "the law's error is proportional to the learning rate (gamma 0.5)"
    )
    panels = [boundary(lr, 0.8, cells) for lr in (0.01, 1.0)]
    return save(law_figure(rates, errors, panels, title=title), folder / "small_step_law.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, draw, write, and say where. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.vector_field", description="The field of a triplet.")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate of the step (default: 0.1)")
    parser.add_argument("--cells", type=int, default=CELLS, help=f"cells of a square's side (default: {CELLS})")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for figures and tables")
    given = parser.parse_args(arguments)
    try:
        rows = list(measure(given.lr, given.cells))
    except ConfigError as error:
        parser.error(str(error))
    given.out.mkdir(parents=True, exist_ok=True)
    write_csv(rows, given.out / "shares.csv")
    write_markdown(rows, given.out / "shares.md", given.lr, given.cells)
    figures = [
        *draw_fields(rows, given.out, given.lr, given.cells),
        draw_corner(rows, given.out, given.lr, given.cells),
        draw_shares(rows, given.out, given.lr),
        draw_law(given.out, given.cells),
    ]
    print((given.out / "shares.md").read_text())
    print("\n".join(f"  {path}" for path in (given.out / "shares.csv", *figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
