"""The experiment on the vector field: it runs in seconds, and its table says what explicit vectors do."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from domainmetric.diagnostics.field import moved, place, square
from experiments.vector_field import ENTANGLEMENTS, GAMMAS, LIMIT, RULES, SQUARES, main

CELLS = 24


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("field") / "results"
    assert main(["--out", str(folder), "--cells", str(CELLS)]) == 0
    return folder


@pytest.mark.slow
def test_figures_and_tables_are_written(results: Path) -> None:
    pictures = {path.name for path in results.glob("*.png")}
    assert pictures == {
        *("field_p0.png", "field_p0.4.png", "field_p0.8.png", "field_whole_square.png"),
        *("hard_corner.png", "shares.png", "small_step_law.png"),
    }
    for name in pictures:
        assert (results / name).stat().st_size < 300_000
        with Image.open(results / name) as picture:
            assert picture.size[0] > 800
    table = (results / "shares.md").read_text()
    assert table.count("\n| ") == 1 + len(SQUARES) * len(GAMMAS) * len(ENTANGLEMENTS)


@pytest.mark.slow
def test_the_table_says_what_explicit_vectors_do(results: Path) -> None:
    with (results / "shares.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(SQUARES) * len(GAMMAS) * len(ENTANGLEMENTS) * len(RULES)
    found = {(r["square"], r["gamma"], r["loss"]): r for r in rows if r["lr"] == "0.1" and r["p"] == "0.0"}
    assert {r["lr"] for r in rows} == {"0.1", LIMIT}
    for name, bounds in SQUARES.items():
        s_ap, s_an = square(*bounds, CELLS)
        for loss, rule in RULES.items():
            a, p, n = moved(place(s_ap, s_an, 0.8), rule, lr=0.1)
            d_ap, d_an = (a * p).sum(-1) - s_ap, (a * n).sum(-1) - s_an
            row = found[name, "0.8", loss]
            assert float(row["up_right"]) == pytest.approx(float(((d_ap > 0) & (d_an > 0)).double().mean()), abs=1e-5)
            assert float(row["down_left"]) == pytest.approx(float(((d_ap < 0) & (d_an < 0)).double().mean()), abs=1e-5)
            assert float(row["mean_d_an_per_lr"]) == pytest.approx(float(d_an.mean()) / 0.1, abs=1e-5)


@pytest.mark.slow
def test_the_finding_of_the_docstring_holds(results: Path) -> None:
    """L2 has more up-right area than L1 on [0, 1], less in the hard corner, where it goes down-left."""
    with (results / "shares.csv").open() as file:
        rows = {(r["square"], r["gamma"], r["p"], r["loss"]): r for r in csv.DictReader(file) if r["lr"] != LIMIT}
    for gamma in map(str, GAMMAS):
        for p in map(str, ENTANGLEMENTS):
            l1, l2 = (rows["[0, 1]", gamma, p, loss] for loss in ("L1", "L2"))
            assert float(l2["up_right"]) > float(l1["up_right"])
            assert float(l2["down_right"]) < float(l1["down_right"])
            l1, l2 = (rows["hard corner [0.8, 1]", gamma, p, loss] for loss in ("L1", "L2"))
            assert float(l2["up_right"]) <= float(l1["up_right"])
            assert float(l2["down_left"]) > 0.4
            assert float(l2["down_right"]) < float(l1["down_right"])
            gaps = [float(r["mean_d_ap_per_lr"]) - float(r["mean_d_an_per_lr"]) for r in (l1, l2)]
            assert 0.4 < gaps[1] / gaps[0] < 0.6
    assert all(float(r["up_left"]) == 0 for r in rows.values())


def test_a_step_of_no_size_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--lr", "0", "--out", str(tmp_path / "never")])
    assert "learning rate must be positive" in capsys.readouterr().err
    assert not (tmp_path / "never").exists()
