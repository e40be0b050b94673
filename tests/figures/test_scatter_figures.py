"""The squares of triplets: the numbers that were given, in the right places, with or without anything to show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from domainmetric.figures.curves import loss_curves
from domainmetric.figures.scatter import CELLS, ArrowField, Points, movement_arrows, triplet_scatter
from domainmetric.figures.style import save

ROW = {"early": Points(np.array([0.2, 0.9, 0.5]), np.array([0.6, 0.1, 0.5])), "late": Points(np.zeros(0), np.zeros(0))}


def field(**changes: Any) -> ArrowField:
    given: dict[str, Any] = {
        "s_ap": np.array([0.15, 0.25]),
        "s_an": np.array([0.15, 0.15]),
        "d_ap": np.array([2e-6, 0.0]),
        "d_an": np.array([0.0, -1e-6]),
        "num_triplets": np.array([5, 10]),
        "caption": "down-right 40%",
    }
    return ArrowField(**(given | changes))


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes if axes.axison]


def cells(figure: Figure, image: int) -> set[tuple[int, int]]:
    """The (row, column) of the cells of one cloud in the first square that are not empty."""
    alpha = np.asarray(figure.axes[0].images[image].get_array())[..., 3]
    return {(int(r), int(c)) for r, c in np.argwhere(alpha > 0)}


def test_points_lie_in_their_cells_by_correct_and_hard() -> None:
    figure = triplet_scatter({"L1": ROW}, title="test")
    assert figure.axes[0].get_xlim()[0] < 0 < 1 < figure.axes[0].get_xlim()[1]
    assert cells(figure, 0) == {(int(0.1 * CELLS), int(0.9 * CELLS))}
    assert cells(figure, 1) == {(int(0.6 * CELLS), int(0.2 * CELLS)), (CELLS // 2, CELLS // 2)}
    assert titles(figure) == ["early: 66.7% of 3 hard", "late: no triplets"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["correct: S_ap > S_an", "hard: S_ap <= S_an"]
    assert figure.axes[0].get_xlabel() == "S_ap, similarity to the positive"
    assert figure.axes[0].get_ylabel() == "L1\n\nS_an, similarity to the negative"


def test_points_beyond_the_axes_are_drawn_at_the_border() -> None:
    points = Points(np.append(np.full(5000, 0.5), -0.9), np.append(np.zeros(5000), 0.2))
    figure = triplet_scatter({"": {"": points}}, title="test")
    assert figure.axes[0].get_ylim()[0] == pytest.approx(-0.02)
    assert {column for _, column in cells(figure, 1)} == {0}


def test_all_squares_have_the_same_axes() -> None:
    low = {"early": Points(np.array([-0.6]), np.array([0.1]))}
    figure = triplet_scatter({"one": ROW, "two": low}, title="test")
    assert {axes.get_xlim() for axes in figure.axes if axes.axison} == {(-0.785, 1.035)}
    assert len(titles(figure)) == 3


def test_arrows_are_the_moves_drawn_a_cell_and_a_half_long() -> None:
    predicted = (np.array([3.0, 0.0]), np.array([0.0, 3.0]))
    figure = movement_arrows({"L1": {"early": field(predicted=predicted)}}, title="test")
    below, above = (part for part in figure.axes[0].collections if isinstance(part, Quiver))
    np.testing.assert_allclose(np.stack([above.U, above.V]) / above.scale, [[0.15, 0.0], [0.0, -0.075]])
    np.testing.assert_allclose(np.stack([below.U, below.V]) / below.scale, [[0.15, 0.0], [0.0, 0.15]])
    assert titles(figure) == ["early\ndown-right 40%"]
    assert len(figure.legends[0].get_texts()) == 3


def test_arrows_without_a_prediction_or_a_move(tmp_path: Path) -> None:
    still, empty = np.zeros(2), np.zeros(0)
    row = {
        "measured": field(),
        "still": field(d_ap=still, d_an=still),
        "nothing": ArrowField(empty, empty, empty, empty, empty.astype(int)),
    }
    figure = movement_arrows({"L2": row}, title="test")
    drawn = [sum(isinstance(part, Quiver) for part in axes.collections) for axes in figure.axes]
    assert drawn == [1, 0, 0]
    assert [text.get_text() for text in figure.axes[2].texts] == ["no triplets"]
    assert len(figure.legends[0].get_texts()) == 2
    save(figure, tmp_path / "arrows.png")


def test_nothing_to_show_says_so(tmp_path: Path) -> None:
    figure = triplet_scatter({}, title="test")
    assert [text.get_text() for text in figure.axes[0].texts] == ["no triplets were looked at"]
    save(figure, tmp_path / "scatter.png")


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (save(triplet_scatter({"L1": ROW}, title="test"), tmp_path / f"{i}.png") for i in range(2))
    assert first.read_bytes() == second.read_bytes()


def test_curves_show_the_shares_of_triplets_and_the_collapse_measures() -> None:
    names = ["used", "active", "active_share", "easy", "semi_hard", "hard"]
    history = {f"{group}/{name}": ([0, 1], [0.2, 0.1]) for group in ("triplets", "source_triplets") for name in names}
    history |= {f"collapse/target_{name}": ([0, 1], [0.2, 0.3]) for name in ("mean_cosine", "effective_rank")}
    figure = loss_curves(history)
    assert titles(figure) == [
        "Triplets used, across the domains",
        "Triplets used, source",
        "Collapse: target_effective_rank",
        "Collapse: target_mean_cosine",
    ]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["active_share", "easy", "hard", "semi_hard"]
