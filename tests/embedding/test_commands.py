"""Folders embedded and matched from the command line: interrupted and taken up again, and written for people."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from domainmetric.anchors.approximate import CellSearch
from domainmetric.cli import main
from domainmetric.embedding import command, files
from domainmetric.embedding.embedder import Embedder, match
from domainmetric.embedding.files import Embedding
from domainmetric.escaping import csv_cell
from tests import tiny
from tests.training.running import NAMES

FILE = str(Path(tiny.__file__))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten target images, one of them under a name that is markup."""
    images = tiny.experiment(Path(), "mmd").data.target.load("test", root=Path(), size=tiny.SIZE).images.numpy()
    (tmp_path / "in").mkdir()
    for row, image in enumerate(images[:10]):
        Image.fromarray(image[:, :, 0]).save(tmp_path / "in" / (f"{row}.png" if row else "0<b>&.png"))
    return tmp_path / "in"


def silent(*_: int) -> None:
    pass


def decoded(page: str) -> list[np.ndarray]:
    """The pictures of a page, in their order."""
    found = re.findall(r"data:image/png;base64,([\w+/=]+)", page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in found]


def test_an_interrupted_embedding_goes_on_to_the_same_bits(
    folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BATCH", 2)
    monkeypatch.setattr(files, "PART", 4)
    embedder = Embedder.load(folder, names=NAMES)
    work = Embedding(embedder=embedder, folder=pictures, domain="target", output=tmp_path / "out.npz")

    def stop_at(images: int) -> Callable[[int], None]:
        told: list[int] = []

        def advance(more: int) -> None:
            told.append(more)
            if sum(told) == images:
                raise KeyboardInterrupt

        return advance

    with pytest.raises(KeyboardInterrupt):
        work.carry_out(silent, stop_at(6))
    assert not work.output.exists() and len(list(work.parts.iterdir())) == 1, "the second part was not yet kept"
    begun: list[tuple[int, int]] = []
    done: list[int] = []
    work.carry_out(lambda total, before: begun.append((total, before)), done.append)
    assert begun == [(10, 4)] and done == [2, 2, 2] and not work.parts.exists()
    Embedding(embedder=embedder, folder=pictures, domain="target", output=tmp_path / "whole.npz").carry_out(
        silent, silent
    )
    with np.load(work.output) as arrays, np.load(tmp_path / "whole.npz") as whole:
        assert arrays.files == whole.files and all((arrays[name] == whole[name]).all() for name in whole.files)
        names = sorted(path.name for path in pictures.iterdir())
        assert list(arrays["path"]) == names and list(arrays["classes"]) == list(tiny.CLASSES)
        expected = embedder.embed([pictures / name for name in names])
        np.testing.assert_allclose(arrays["z"], expected.z, atol=1e-6)
        assert (arrays["label"] == expected.label).all()


def test_a_part_of_other_files_or_other_weights_is_made_anew(
    folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PART", 5)
    work = Embedding(
        embedder=Embedder.load(folder, names=NAMES), folder=pictures, domain="target", output=tmp_path / "out.npz"
    )

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(files.WRITERS, ".npz", broken)
    with pytest.raises(OSError, match="No space"):
        work.carry_out(silent, silent)
    Image.new("L", (16, 16)).save(pictures / "9.png")
    begun: list[int] = []
    with pytest.raises(OSError, match="No space"):
        work.carry_out(lambda total, before: begun.append(before), silent)
    other = Embedding(embedder=work.embedder, folder=pictures, domain="source", output=work.output)
    with pytest.raises(OSError, match="No space"):
        other.carry_out(lambda total, before: begun.append(before), silent)
    assert begun == [5, 0]


def test_a_parquet_of_embeddings_opens_elsewhere(
    folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.parquet"
    assert main(["embed", str(folder), str(pictures), "-o", str(output), "--file", FILE]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(output)
    table = pq.read_table(output).to_pydict()
    made = Embedder.load(folder, names=NAMES).embed(pictures)
    assert table["label"] == [tiny.CLASSES[label] for label in made.label] and "known" not in table
    np.testing.assert_allclose(table["familiarity"], made.familiarity, atol=1e-6)
    np.testing.assert_allclose(np.array(table["embedding"]), made.z, atol=1e-6)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_with_a_share_to_lose_it_is_told_what_is_known(
    folder: Path, pictures: Path, tmp_path: Path, suffix: str
) -> None:
    embedder, output = Embedder.load(folder, names=NAMES), tmp_path / f"out.{suffix}"
    assert main(["embed", str(folder), str(pictures), "-o", str(output), "--reject", "0.2", "--file", FILE]) == 0
    found = np.load(output)["known"] if suffix == "npz" else pq.read_table(output)["known"].to_numpy()
    expected = embedder.known(embedder.embed(pictures), reject=0.2)
    assert (found == expected).all() and 0 < expected.sum() < len(expected)


def test_matches_are_a_table_and_a_page(
    folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gallery = tmp_path / "gallery.npz"
    assert main(["embed", str(folder), str(pictures), "-o", str(gallery), "--file", FILE]) == 0
    words = ["match", str(folder), str(pictures), str(gallery), "-k", "2", "--html", "page.html", "--file", FILE]
    assert main(words) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[-2:] == ["matches.csv", "page.html"]
    assert "in:  100% (10/10)" in told.err
    with Path("matches.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    z = Embedder.load(folder, names=NAMES).embed(pictures).z
    found = match(z, z, k=2)
    assert len(rows) == 20 and [row["rank"] for row in rows[:2]] == ["1", "2"]
    names = sorted(path.name for path in pictures.iterdir())
    assert [row["match"] for row in rows] == [names[place] for place in found.index.flatten()]
    asked: list[str] = []
    monkeypatch.setattr(command, "CellSearch", lambda: asked.append("cells") or CellSearch(probed=1.0))
    assert main([*words[:6], "-o", "cells.csv", "--search", "cells", "--file", FILE]) == 0
    assert asked == ["cells"] and Path("cells.csv").read_text() == Path("matches.csv").read_text()
    page = Path("page.html").read_text()
    assert "0&lt;b&gt;&amp;.png" in page and "<b>&" not in page
    assert page.count('<div class="row">') == 10 and "no picture" not in page
    kept = [np.asarray(Image.open(pictures / name)) for name in names]
    places = [place for row, few in enumerate(found.index) for place in (row, *few)]
    assert len(kept[0]) == tiny.SIZE and len(decoded(page)) == 30
    assert all((one == kept[place]).all() for one, place in zip(decoded(page), places, strict=True))
    assert "could not be read" not in told.err
    assert "http" not in page.replace("http-equiv", "")


def test_a_name_is_no_formula() -> None:
    assert csv_cell("=1+1.png") == "'=1+1.png" and csv_cell("a=1.png") == "a=1.png"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["embed", "RUN", "in"], "Say where to: domainmetric embed RUN FOLDER -o FILE.npz|FILE.parquet"),
        (["embed", "RUN", "in", "-o", "out.csv"], "The output must end with .npz or .parquet, but is out.csv."),
        (["embed", "RUN", "in", "-o", "none/out.npz"], "There is no folder none for the output out.npz."),
        (["embed", "RUN", "in", "-o", "out.npz", "--domain", "svhn"], "--domain must be source or target"),
        (["embed", "RUN", "-o", "out.npz"], "Usage: domainmetric embed RUN FOLDER"),
        (["embed", "RUN", "nowhere", "-o", "out.npz"], "nowhere cannot be read: No such file or directory."),
        (["match", "RUN", "in", "in", "-k", "few"], "-k must be a whole number, but is 'few'."),
        (["match", "RUN", "in", "in", "--search", "all"], "--search must be exact or cells, but is 'all'."),
        (["embed", "RUN", "in", "-o", "out.npz", "--reject", "half"], "--reject must be a number, but is 'half'."),
        (
            ["embed", "RUN", "in", "-o", "out.npz", "--reject", "0.5"],
            "reject must be one of 0.01, 0.02, 0.05, 0.1, 0.2",
        ),
        (["match", "RUN", "in"], "Usage: domainmetric match RUN QUERIES GALLERY"),
        (["match", "RUN", "in", "in", "--device", "tpu"], "--device must be auto, cpu or cuda, but is 'tpu'."),
        (["embed", "in", "in", "-o", "out.npz"], "in is not a run folder: it has no experiment.json."),
    ],
    ids=lambda value: "" if isinstance(value, list) else value[:30],
)
def test_what_cannot_be_done_is_told(
    folder: Path,
    pictures: Path,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(pictures.parent)
    assert main([str(folder) if word == "RUN" else word for word in words] + ["--file", FILE]) in (1, 2)
    assert message in " ".join(capsys.readouterr().err.split())
    assert {path.name for path in pictures.parent.iterdir()} == {"in"}, "nothing is left behind"
