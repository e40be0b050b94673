"""Fields as pictures: the right colors at the right places, arrows that point where the moves do, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from domainmetric.errors import DataError
from domainmetric.figures.field import DIRECTIONS, TINT, Boundary, Field, field_grid, law_figure, share_bars
from domainmetric.figures.style import new_figure, save

MIDDLES = np.array([0.125, 0.375, 0.625, 0.875])


def some_field(**changes: np.ndarray) -> Field:
    """S_ap grows left of 0.5 and falls right of it; S_an grows above 0.5 and falls below."""
    x, y = np.meshgrid(MIDDLES, MIDDLES)
    given = {"d_ap": 0.5 - x, "d_an": y - 0.5} | changes
    return Field(title="some", s_ap=MIDDLES, s_an=MIDDLES, **given)


def some_grid() -> Figure:
    return field_grid([[some_field(), some_field()]] * 2, title="test", rows=["L1", "L2"])


def some_bars() -> Figure:
    bars = {"L1, p 0": np.array([0.7, 0.1, 0.2, 0.0]), "L2, p 0": np.array([0.5, 0.0, 0.25, 0.0])}
    return share_bars({"[0, 1]": bars, "[-1, 1]": bars}, title="test")


def some_law() -> Figure:
    falls = some_field().d_ap < 0
    boundary = Boundary(
        title="b",
        s_ap=MIDDLES,
        s_an=MIDDLES,
        falls=falls,
        rises=~falls,
        law_falls=some_field().d_ap,
        law_rises=some_field().d_an,
    )
    lr = np.logspace(-3, 0, 4)
    return law_figure(lr, {"L1": lr, "L2": 2 * lr}, [boundary], title="test")


def test_each_direction_has_its_color_in_its_corner() -> None:
    (image,) = some_grid().axes[0].images
    pixels = np.asarray(image.get_array())
    for name, row, column in (
        ("down_right", 0, 0),
        ("down_left", 0, 3),
        ("up_right", 3, 0),
        ("up_left", 3, 3),
    ):  # the first row is the lowest S_an
        expected = 1 - TINT * (1 - np.array(to_rgb(DIRECTIONS[name][1])))
        np.testing.assert_allclose(pixels[row, column], expected)
    assert image.origin == "lower" and tuple(image.get_extent()) == pytest.approx((0.0, 1.0, 0.0, 1.0))


def test_what_does_not_move_is_white() -> None:
    still = some_field(d_an=np.zeros((4, 4)))
    (image,) = field_grid([[still]], title="test", rows=["L1"]).axes[0].images
    assert np.all(np.asarray(image.get_array()) == 1)


def test_arrows_point_where_the_moves_do_and_lengths_are_roots() -> None:
    field = some_field(d_ap=np.full((4, 4), 0.03), d_an=np.linspace(-0.16, 0.0, 4)[:, None] * np.ones((1, 4)))
    (quiver,) = (c for c in field_grid([[field]], title="test", rows=["L1"]).axes[0].collections if _is_quiver(c))
    u, v = quiver.U.reshape(4, 4), quiver.V.reshape(4, 4)
    np.testing.assert_allclose(np.arctan2(v, u), np.arctan2(field.d_an, field.d_ap))
    lengths = np.hypot(u, v)
    assert lengths.max() == pytest.approx(1 / 4)  # as far as the arrows are apart
    roots = np.sqrt(np.hypot(field.d_ap, field.d_an))
    np.testing.assert_allclose(lengths / lengths.max(), roots / roots.max())
    assert quiver.angles == "xy" and quiver.scale_units == "xy" and quiver.scale == 1


def _is_quiver(artist: object) -> bool:
    return isinstance(artist, Quiver)


def test_a_field_that_stands_still_can_be_drawn(tmp_path: Path) -> None:
    still = some_field(d_ap=np.zeros((4, 4)), d_an=np.zeros((4, 4)))
    assert save(field_grid([[still]], title="test", rows=["vanilla"]), tmp_path / "still.png").exists()


def test_the_legend_names_up_left_only_where_it_occurs() -> None:
    def words(figure: Figure) -> str:
        return " ".join(text.get_text() for text in figure.legends[0].get_texts())

    assert "up-left" in words(some_grid())
    assert "up-left" not in words(field_grid([[some_field(d_ap=np.ones((4, 4)))]], title="test", rows=["L1"]))
    assert "up-left" not in words(some_bars())


def test_bars_begin_where_the_one_before_ends() -> None:
    axes = some_bars().axes[0]
    found = {(round(bar.get_y() + bar.get_height() / 2), bar.get_x(), bar.get_width()) for bar in axes.patches}
    assert {(0, 0.0, 70.0), (0, 80.0, 20.0), (1, 50.0, 25.0)} <= {(y, round(x, 6), round(w, 6)) for y, x, w in found}


@pytest.mark.parametrize("figure", [some_grid, some_bars, some_law])
def test_the_same_numbers_give_the_same_bytes(tmp_path: Path, figure: object) -> None:
    assert callable(figure)
    first, second = (save(figure(), tmp_path / f"{i}.png").read_bytes() for i in range(2))
    assert first == second


def test_a_law_without_boundaries_is_one_panel() -> None:
    assert len(law_figure(np.array([0.1, 1.0]), {}, [], title="test").axes) == 1
    figure = new_figure(2, 2)
    assert len(some_law().axes) == 2 and not figure.axes


def test_shapes_that_do_not_fit_are_refused(unchecked_shapes: None) -> None:
    with pytest.raises(DataError, match=r"4 similarities S_ap and 4 S_an .* \(4, 4\), but they came with \(3, 4\)"):
        some_field(d_ap=np.zeros((3, 4)))
    with pytest.raises(DataError, match="rows of one length"):
        field_grid([[some_field()], []], title="test", rows=["L1", "L2"])
    with pytest.raises(DataError, match="each with a name"):
        field_grid([[some_field()]], title="test", rows=[])
