"""The page holds what the folders tell: numbers, rows, images and names, none of them as markup."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from domainmetric.anchors.pixel import grey_vectors
from domainmetric.cli import main
from domainmetric.errors import RunFolderError
from domainmetric.report import anchors, numbers, page
from domainmetric.report.build import Made, make
from domainmetric.report.images import Cells, Sheet, sheet
from domainmetric.report.study import read
from domainmetric.serialize import to_json
from domainmetric.types import ImageSet
from tests import tiny
from tests.report.made import CURVE, HOSTILE, NAMES, NUM_TEST, NUM_TRAIN, ablation_folder, matched, run_folder, write


class Parsed(HTMLParser):
    """The page as a browser's parser sees it: its elements, and what stands in them."""

    def __init__(self, made: Made) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.open = ""
        self.pictures: dict[str, np.ndarray] = {}
        self.feed(made.page.read_text(encoding="utf-8"))
        self.data: dict[str, Any] = json.loads(self.text["script data"])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open = f"{tag} {dict(attrs).get('id') or ''}".strip()

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, text: str) -> None:
        self.text[self.open] = self.text.get(self.open, "") + text

    def cell(self, name: str, cell: int) -> np.ndarray:
        """A thumbnail, cut out of its sheet as the script does."""
        if name not in self.pictures:
            (source,) = [a["src"] for tag, a in self.tags if tag == "img" and a.get("id") == f"sheet-{name}"]
            assert source is not None
            file = io.BytesIO(base64.b64decode(source.partition("base64,")[2]))
            self.pictures[name] = np.asarray(Image.open(file).convert("RGB")).astype(int)
        side, columns = self.data["sheets"][name]["cell"], self.data["sheets"][name]["columns"]
        y, x = cell // columns * side, cell % columns * side
        return self.pictures[name][y : y + side, x : x + side]

    def shows(self, name: str, cell: int, images: np.ndarray) -> int:
        """The row of the image that a thumbnail shows, by far more than any other."""
        apart = np.abs(images - self.cell(name, cell)).mean((1, 2, 3))
        first, second = np.argsort(apart)[:2]
        assert apart[first] < 0.7 * apart[second], (apart[first], apart[second])
        return int(first)


def domain_images(side: str, split: str) -> np.ndarray:
    domain = getattr(tiny.pair(), side)
    return domain.load(split, root=Path(), size=tiny.SIZE).images.numpy().astype(int)


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(ablation_folder(tmp_path_factory.mktemp("ablation")), names=NAMES)


@pytest.fixture(scope="module")
def parsed(ablation: Made) -> Parsed:
    return Parsed(ablation)


def test_the_page_asks_for_nothing_and_runs_its_own_script_alone(parsed: Parsed) -> None:
    for tag, attributes in parsed.tags:
        assert tag not in ("link", "iframe", "object", "base", "form"), tag
        assert (attributes.get("src") or "data:").startswith("data:")
        assert not any(name.startswith("on") for name in attributes)
    assert len([tag for tag, _ in parsed.tags if tag == "script"]) == 2  # the data, and the script
    (policy,) = [a["content"] for tag, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and page.sha256(parsed.text["script"]) in policy and "'unsafe-eval'" not in policy
    assert "default-src 'none'" in policy and re.search(r"script-src 'sha256-[^' ]+'$", policy)


def test_hostile_names_stay_text(parsed: Parsed) -> None:
    assert parsed.data["name"] == HOSTILE and parsed.data["variants"][-1] == HOSTILE
    assert HOSTILE in parsed.data["runs"][-2]["error"]
    assert parsed.data["tables"][0]["rows"][-1][0] == HOSTILE
    assert "<" not in parsed.text["script data"]
    assert parsed.text["title"] == f"{HOSTILE} · domainmetric"


def test_the_script_never_writes_markup() -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", page.script())
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|fetch\(|XMLHttpRequest|import\(", page.script())


def test_numbers_are_those_of_the_reports(parsed: Parsed) -> None:
    titles = [column["title"] for column in parsed.data["columns"]]
    values = [dict(zip(titles, run["values"], strict=True)) for run in parsed.data["runs"]]
    assert [value["target accuracy"] for value in values] == [0.6, 0.62, 0.8, 0.82, None, None]
    assert values[2]["match precision (oracle)"] == 0.75 and values[2]["oracle gap"] == 0.02
    assert [run["status"] for run in parsed.data["runs"]] == ["finished"] * 4 + ["failed", "missing"]
    assert parsed.data["runs"][0]["confusion"][1] == [0, 30, 20, 0]
    assert parsed.data["baseline"] == "pixel" and parsed.data["shown"] == [0, 2]
    assert ["command", "domainmetric ablate experiments/anchors.py:strategies --seeds 2"] in parsed.data["how"]
    assert {"commit", "device", "version of torch", "source data, spec"} <= {name for name, _ in parsed.data["how"]}


def test_gaps_name_each_score(parsed: Parsed) -> None:
    gaps = parsed.data["gaps"]
    assert gaps["scores"] == ["entropy", "snd"]
    assert [[score["gap"] for score in row["scores"]] for row in gaps["rows"]] == [[0.02, 0.3]] * 4


def test_curves_of_every_run_even_an_unfinished_one(parsed: Parsed) -> None:
    accuracy = parsed.data["curves"]["eval/target/accuracy_oracle"]
    assert [curve["run"] for curve in accuracy] == [0, 1, 2, 3, 4]
    assert accuracy[0]["x"] == [100, 200, 400] and accuracy[0]["y"] == list(CURVE["eval/target/accuracy_oracle"])
    assert parsed.data["curves"]["gradient/source/triplet"][0]["y"] == [None]
    loss = parsed.data["curves"]["loss/total"][0]
    assert len(loss["x"]) == len(loss["y"]) == numbers.CURVE_POINTS
    assert parsed.data["phases"] == {"source": 0, "adapt": 80}


def test_thinned_curves_are_means_of_bins() -> None:
    steps, values = np.arange(1.0, 501), np.random.default_rng(0).normal(size=500)
    x, y = numbers.thin(steps, values)
    edges = [round(500 * i // numbers.CURVE_POINTS) for i in range(numbers.CURVE_POINTS + 1)]
    for at, (low, high) in enumerate(pairwise(edges)):
        assert x[at] == pytest.approx(np.mean([steps[i] for i in range(low, high)]))
        assert y[at] == pytest.approx(np.mean([values[i] for i in range(low, high)]))
    assert numbers.thin(steps[:5], values[:5])[1] is not None and len(numbers.thin(steps[:5], values[:5])[0]) == 5


def test_scatters_of_the_first_and_the_last_look(parsed: Parsed) -> None:
    mine = [scatter for scatter in parsed.data["scatters"] if scatter["run"] == 2]
    assert [scatter["step"] for scatter in mine] == [40, 160]
    assert mine[0]["points"] == [900, 100, 200, 400, 500, 500]
    assert mine[0]["total"] == 3 and mine[0]["hard"] == pytest.approx(2 / 3, abs=1e-4)


def test_every_point_of_the_map_is_its_own_image_and_label(parsed: Parsed) -> None:
    chart = parsed.data["map"]
    images = [domain_images(side, "test") for side in ("source", "target")]
    assert parsed.data["sheets"]["map"]["count"] == 2 * NUM_TEST == len(chart["items"]["row"])
    for variant in chart["variants"]:
        assert sorted(variant["cells"]) == list(range(2 * NUM_TEST))
        for at in range(0, 2 * NUM_TEST, 23):
            cell = variant["cells"][at]
            side, row, label = (chart["items"][name][cell] for name in ("side", "row", "label"))
            assert label == row % 4
            assert parsed.shows("map", cell, images[side]) == row


def test_map_coordinates_and_predictions_belong_to_the_rows(parsed: Parsed, ablation: Made) -> None:
    folder = ablation.page.parent / "runs/v1-s0"
    kept, placed = np.load(folder / "embeddings.npz"), np.load(folder / "projection.npz")
    variant = parsed.data["map"]["variants"][1]
    assert variant["run"] == 2
    points = np.array(variant["tsne"]).reshape(-1, 2)
    assert points.min() == 0 and points.max() == 10_000
    given = placed["tsne"]
    scale = (given.max(0) - given.min(0)).max() / 10_000
    np.testing.assert_allclose((points - points[0]) * scale, given - given[0], atol=2 * scale)
    rows = np.concatenate([placed["source_rows"], placed["target_rows"] + NUM_TEST])
    assert variant["prediction"] == kept["prediction"][rows].tolist()


def test_a_run_without_a_kept_projection_is_shown_by_pca(tmp_path: Path) -> None:
    made = make(run_folder(tmp_path / "run", projected=False), names=NAMES)
    (variant,) = Parsed(made).data["map"]["variants"]
    assert variant["tsne"] is None and len(variant["pca"]) == 4 * NUM_TEST


def test_the_anchor_browser_shows_each_strategys_anchors(parsed: Parsed) -> None:
    found = parsed.data["anchors"]
    source, target = domain_images("source", "train"), domain_images("target", "train")
    assert [strategy["run"] for strategy in found["strategies"]] == [0, 2]
    rows = matched(0)["rows"]
    assert found["targets"]["row"] == rows.tolist() and found["targets"]["label"] == (rows % 4).tolist()
    for strategy in found["strategies"]:
        kept = matched(0)
        assert strategy["label"] == kept["label"].tolist() and strategy["keep"][:2] == [0, 1]
        np.testing.assert_allclose(strategy["similarity"], kept["similarity"], atol=0.0051)
        for at in range(0, 40, 7):
            for rank, cell in enumerate(strategy["cells"][at]):
                row = kept["source_index"][at, rank]
                assert found["row"][cell] == row and found["label"][cell] == row % 4
                assert parsed.shows("anchors", cell, source) == row
    for at in range(0, 40, 9):
        assert parsed.shows("anchors", found["targets"]["cell"][at], target) == rows[at]


def test_pixel_nearest_images_agree_with_a_plain_search(parsed: Parsed) -> None:
    found = parsed.data["anchors"]
    source, target = (torch.from_numpy(domain_images(side, "train").astype(np.uint8)) for side in ("source", "target"))
    for at in range(0, 40, 11):
        query = grey_vectors(target[found["targets"]["row"][at]][None])[0]
        likeness = [float(query @ grey_vectors(image[None])[0]) for image in source]
        nearest = np.argsort(likeness)[::-1][: anchors.NUM_PIXEL]
        assert [found["row"][cell] for cell in found["pixel"]["cells"][at]] == nearest.tolist()
        np.testing.assert_allclose(found["pixel"]["similarity"][at], np.array(likeness)[nearest], atol=0.0051)


def test_runs_that_matched_other_rows_are_left_out_and_named(tmp_path: Path) -> None:
    folder = ablation_folder(tmp_path / "a")
    other = dict(matched(0)) | {"rows": matched(0)["rows"][::-1].copy()}
    np.savez(folder / "runs/v1-s0/matches.npz", **other)  # type: ignore[arg-type]
    made = make(folder, names=NAMES)
    assert [strategy["run"] for strategy in Parsed(made).data["anchors"]["strategies"]] == [0]
    assert any("other images: nearest" in note for note in made.notes)


def test_fewer_targets_where_strategies_are_many(tmp_path: Path) -> None:
    run = read(run_folder(tmp_path / "run")).runs[0]
    rows = {"rows": np.arange(5000), "source_index": np.zeros((5000, 9), int)}
    for strategies, count in ((1, anchors.MAX_TARGETS), (24, anchors.MAX_PICTURES // (1 + anchors.NUM_PIXEL + 24 * 4))):
        chosen = anchors.choose([(run, rows)] * strategies)
        assert len(chosen) == count and chosen[0] == 0 and chosen[-1] == 4999 and (np.diff(chosen) > 0).all()


def test_a_run_without_matches_says_so(tmp_path: Path) -> None:
    made = make(run_folder(tmp_path / "run", matches=False), names=NAMES)
    data = Parsed(made).data
    assert data["anchors"] is None and "anchors" not in data["sheets"] and data["kind"] == "run"
    assert made.notes == tuple(data["notes"]) and "did not keep their matches" in made.notes[0]


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def altered(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:60] + bytes(byte ^ 255 for byte in content[60:200]) + content[200:])


def of_other_arrays(path: Path) -> None:
    np.savez(path, other=np.zeros(3))


@pytest.mark.parametrize("damage", [cut_off, emptied, altered, of_other_arrays])
def test_a_damaged_file_costs_its_part_of_the_page_alone(damage: Callable[[Path], None], tmp_path: Path) -> None:
    folder = ablation_folder(tmp_path / "a")
    for name in ("v0-s0/matches.npz", "v0-s0/projection.npz", "v1-s0/embeddings.npz"):
        damage(folder / "runs" / name)
    made = make(folder, names=NAMES)
    data = Parsed(made).data
    assert [strategy["run"] for strategy in data["anchors"]["strategies"]] == [2]
    (variant,) = data["map"]["variants"]
    assert variant["run"] == 0 and variant["tsne"] is None
    for start, end in (
        ("matches.npz of pixel, seed 0, cannot be read (", "), so the anchor browser lacks it."),
        ("projection.npz of pixel, seed 0, cannot be read (", "), so its map is by PCA."),
        ("embeddings.npz of nearest, seed 0, cannot be read (", "), so the embedding map lacks it."),
    ):
        assert sum(note.startswith(start) and note.endswith(end) for note in made.notes) == 1
    assert data["notes"] == list(made.notes)


def test_images_that_are_not_those_of_the_run_are_not_shown(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    written = json.loads((folder / "experiment.json").read_text())
    written["data"]["target"]["spec"] = "another"
    write(folder / "experiment.json", written)
    made = make(folder, names=NAMES)
    assert any("'grey'" in note and "its hashes differ" in note for note in made.notes)
    data = Parsed(made).data
    assert data["sheets"] == {} and len(data["map"]["items"]["row"]) == 2 * NUM_TEST  # the points stay


def test_a_users_domain_needs_its_file(tmp_path: Path) -> None:
    made = make(run_folder(tmp_path / "run"))
    assert any("--file FILE" in note for note in made.notes)
    assert Parsed(made).data["classes"] == ["0", "1", "2", "3"]


def test_a_target_without_labels(tmp_path: Path) -> None:
    made = make(run_folder(tmp_path / "run", labelled=False), names=NAMES)
    data = Parsed(made).data
    assert set(data["anchors"]["targets"]["label"]) == {None} and data["runs"][0]["values"][0] is None
    (row,) = data["gaps"]["rows"]
    assert (row["values"], [score["step"] for score in row["scores"]]) == ([-0.25, 3.5], [160, 120])
    assert made.embeddings is not None
    table = pq.read_table(made.embeddings)
    right = {
        side: set(table.filter(pc.field("domain") == side)["correct"].to_pylist()) for side in ("source", "target")
    }
    assert right == {"source": {True, False}, "target": {None}}


def test_runs_by_several_versions_of_the_code_are_told(tmp_path: Path, ablation: Made) -> None:
    folder = ablation_folder(tmp_path / "a")
    for variant, code in ((0, "one"), (1, "two")):
        for seed in (0, 1):
            file = folder / f"runs/v{variant}-s{seed}/experiment.json"
            written = json.loads(file.read_text())
            write(file, written | {"machine": written["machine"] | {"code": code}})
    assert "made by 2 versions of the code" in Parsed(make(folder, names=NAMES)).data["notes"][0]
    assert not any("versions" in note for note in ablation.notes)


def test_an_unfinished_run_has_a_page(tmp_path: Path) -> None:
    made = make(run_folder(tmp_path / "run", finished=False), names=NAMES)
    data = Parsed(made).data
    assert data["runs"][0]["status"] == "unfinished" and data["map"] is None and made.embeddings is None
    assert "loss/total" in data["curves"]


def test_an_ablation_whose_runs_are_all_missing_has_a_page(tmp_path: Path) -> None:
    entry = {"variant": "a", "seed": 0, "folder": "runs/gone", "status": "finished", "error": None}
    write(tmp_path / "a" / "ablation.json", {"name": "a", "variants": {"a": {}}, "runs": [entry]})
    data = Parsed(make(tmp_path / "a")).data
    assert [run["status"] for run in data["runs"]] == ["missing"] and data["shown"] == []


@pytest.mark.parametrize(
    ("record", "message"),
    [(None, "is neither a run folder"), ({"variants": []}, "is not an ablation's record: KeyError")],
)
def test_a_folder_that_is_neither(tmp_path: Path, record: Any, message: str) -> None:
    if record is not None:
        write(tmp_path / "ablation.json", record)
    with pytest.raises(RunFolderError, match=message):
        make(tmp_path)


def test_the_table_of_embeddings(ablation: Made) -> None:
    assert ablation.embeddings is not None and ablation.embeddings.name == "embeddings.parquet"
    table = pq.read_table(ablation.embeddings)
    assert table.num_rows == 2 * 2 * NUM_TEST
    rows = table.slice(2 * NUM_TEST).to_pylist()  # of the second variant
    kept = np.load(ablation.page.parent / "runs/v1-s0/embeddings.npz")
    images = [domain_images(side, "test") for side in ("source", "target")]
    for row in rows[::31]:
        side = ("source", "target").index(row["domain"])
        at = row["row"] + side * NUM_TEST
        np.testing.assert_array_equal(row["embedding"], kept["z"][at])
        assert row["label"] == tiny.CLASSES[kept["label"][at]] and row["split"] == "test"
        assert row["prediction"] == tiny.CLASSES[kept["prediction"][at]]
        assert (
            row["correct"] == (row["label"] == row["prediction"]) and row["variant"] == "nearest" and row["seed"] == 0
        )
        picture = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))
        np.testing.assert_array_equal(picture.reshape(16, 16, -1), images[side][row["row"]])
    assert {row["dataset"] for row in rows} == {"Colored", "Grey"} and {row["projection"] for row in rows} == {"t-SNE"}


def test_equal_images_are_written_once(ablation: Made) -> None:
    assert ablation.embeddings is not None
    group = pq.ParquetFile(ablation.embeddings).metadata.row_group(0)
    sizes = {group.column(i).path_in_schema: group.column(i).total_compressed_size for i in range(group.num_columns)}
    png = sum(len(row["bytes"]) for row in pq.read_table(ablation.embeddings)["image"].to_pylist())
    assert sizes["image.bytes"] < 0.6 * png


def test_a_sheet_holds_grey_and_colored_images_of_any_size() -> None:
    grey = torch.arange(5, dtype=torch.uint8).mul(40).view(5, 1, 1, 1).expand(5, 60, 60, 1).contiguous()
    colored = torch.tensor([250, 20, 90], dtype=torch.uint8).expand(2, 10, 10, 3).contiguous()
    made: Sheet = sheet([grey, colored])
    picture = np.asarray(Image.open(io.BytesIO(made.webp)).convert("RGB")).astype(int)
    assert (made.cell, made.columns, made.count) == (48, 3, 7) and picture.shape == (144, 144, 3)
    centers = [picture[24 + 48 * (i // 3), 24 + 48 * (i % 3)] for i in range(7)]
    expected = [[40 * i] * 3 for i in range(5)] + [[250, 20, 90]] * 2
    np.testing.assert_allclose(centers, expected, atol=6)


def test_cells_number_each_image_once() -> None:
    cells, images = Cells(), ImageSet(images=torch.zeros(9, 8, 8, 1, dtype=torch.uint8), labels=None, classes=("a",))
    cells.want("source", images, np.array([5, 2, 5]))
    cells.want("target", images, np.array([1]))
    cells.want("source", images, np.array([[7, 2]]).ravel())
    assert cells.of("source", np.array([2, 5, 7])).tolist() == [0, 1, 2] and cells.of(
        "target", np.array([1])
    ).tolist() == [3]
    found = cells.sheet()
    assert found is not None and found.count == 4
    cells.want("other", None, np.array([0]))
    assert cells.sheet() is None


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder(tmp_path / "run")
    output = tmp_path / "out" / "page.html"
    assert main(["report", str(folder), "-o", str(output), "--file", str(Path(tiny.__file__))]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(output.parent / "embeddings.parquet"), str(output)] and printed.err == ""
    assert Parsed(Made(page=output, embeddings=None, notes=())).data["classes"] == list(tiny.CLASSES)
    assert main(["report", str(tmp_path)]) == 1
    assert "is neither a run folder" in " ".join(capsys.readouterr().err.split())
    assert main(["report"]) == 2


def test_where_the_data_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from domainmetric.report.images import Images

    folder = run_folder(tmp_path / "run")
    written = json.loads((folder / "experiment.json").read_text())
    run = read(folder).runs[0]
    monkeypatch.setenv("DOMAINMETRIC_DATA", "/from/the/environment")
    assert Images(data_root=None, names={}, notes=[]).root(run) == Path("/from/the/environment")
    written["experiment"]["data_root"] = to_json(Path("/from/the/record"))
    write(folder / "experiment.json", written)
    run = read(folder).runs[0]
    assert Images(data_root=None, names={}, notes=[]).root(run) == Path("/from/the/record")
    assert Images(data_root=Path("/given"), names={}, notes=[]).root(run) == Path("/given")
    monkeypatch.setenv("HOME", str(tmp_path))
    written["experiment"]["data_root"] = to_json(tmp_path / "data")
    assert written["experiment"]["data_root"] == {"path": "~/data"}
    write(folder / "experiment.json", written)
    assert Images(data_root=None, names={}, notes=[]).root(read(folder).runs[0]) == tmp_path / "data"


def test_sizes_agree_with_the_tiny_pair() -> None:
    assert len(domain_images("source", "train")) == NUM_TRAIN and len(domain_images("target", "test")) == NUM_TEST
