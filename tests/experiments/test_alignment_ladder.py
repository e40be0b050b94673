"""Reading finished runs: accuracy under the best permutation, shares of the predicted classes, table and figure."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.alignment_ladder import RECIPES, draw, facts, found, table


def report(confusion: list[list[int]]) -> dict[str, Any]:
    return {"confusion": confusion, "gap/mmd": 0.21, "gap/proxy_a_distance": 1.8}


def test_a_permutation_of_classes_is_told_from_a_scattering() -> None:
    permuted = facts(report([[0, 9, 1], [1, 0, 9], [9, 1, 0]]))
    assert (permuted["accuracy"], permuted["best permutation"]) == (0, 90)
    scattered = facts(report([[0, 5, 5], [5, 0, 5], [5, 5, 0]]))
    assert (scattered["accuracy"], scattered["best permutation"]) == (0, 50)


def test_shares_are_those_of_the_predicted_classes() -> None:
    one = facts(report([[2, 8], [0, 10]]))
    assert one["rarest class"] == pytest.approx(10) and one["commonest class"] == pytest.approx(90)


def test_table_and_figure_show_every_seed() -> None:
    results = {name: {"11": report([[9, 1], [1, 9]]), "12": report([[1, 9], [9, 1]])} for name in RECIPES}
    assert "| DANN | 90.0, 10.0 | 90.0, 90.0 | 50.0, 50.0 | 50.0, 50.0 | 0.21, 0.21 | 1.80, 1.80 |" in table(
        found(results)
    )
    accuracies, gap, confusion = draw(results).axes
    assert [len(axes.collections) for axes in (accuracies, gap)] == [8, 4]
    assert confusion.images[0].get_array().shape == (2, 2)  # type: ignore[union-attr]
