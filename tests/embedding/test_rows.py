"""Embeddings that were kept in a file: matched as if made now, told where pictures are gone, refused if foreign."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from domainmetric.cli import main
from domainmetric.embedding.embedder import Embedder
from domainmetric.embedding.files import Embedding
from domainmetric.embedding.rows import READERS, Rows, rows_of
from domainmetric.errors import DataError
from domainmetric.models.network import DomainName
from tests import tiny

FILE = str(Path(tiny.__file__))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six target images."""
    images = tiny.experiment(Path(), "mmd").data.target.load("test", root=Path(), size=tiny.SIZE).images.numpy()
    (tmp_path / "in").mkdir()
    for row, image in enumerate(images[:6]):
        Image.fromarray(image[:, :, 0]).save(tmp_path / "in" / f"{row}.png")
    return tmp_path / "in"


def silent(*_: int) -> None:
    pass


def kept(embedder: Embedder, pictures: Path, suffix: str, domain: DomainName = "target") -> Path:
    """The embeddings of the pictures as a file."""
    work = Embedding(embedder=embedder, folder=pictures, domain=domain, output=pictures.parent / f"kept{suffix}")
    return work.carry_out(silent, silent)


def read(embedder: Embedder, path: Path, domain: DomainName | None = None) -> Rows:
    return rows_of(embedder, path, domain, "source", silent, silent)


@pytest.mark.parametrize("suffix", READERS)
def test_what_was_kept_comes_back(
    embedder: Embedder, pictures: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(pictures.parent))
    path = kept(embedder, pictures, suffix)
    assert str(pictures.parent).encode() not in path.read_bytes().replace(b"\0", b""), "the home folder is not named"
    found = read(embedder, path)
    made = rows_of(embedder, pictures, "target", "source", silent, silent)
    np.testing.assert_allclose(found.z, made.z, atol=1e-6)
    assert [str(found.folder / name) for name in found.names] == made.names


@pytest.mark.parametrize("suffix", READERS)
def test_pictures_that_are_gone_are_told(
    folder: Path,
    embedder: Embedder,
    pictures: Path,
    suffix: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = str(kept(embedder, pictures, suffix))
    monkeypatch.chdir(pictures.parent)
    (pictures / "3.png").unlink()
    assert main(["match", str(folder), path, path, "-k", "6", "--html", "page.html", "--file", FILE]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[-2:] == ["matches.csv", "page.html"]
    note = f"7 of 42 pictures could not be read for the page. The first: There is no image {pictures / '3.png'}."
    assert told.err.splitlines()[-1] == note
    page = Path("page.html").read_text()
    assert page.count("no picture") == 7 and page.count("data:image/png") == 35
    assert "7 of 42 pictures could not be read." in page and str(pictures.parent) not in page


@pytest.mark.parametrize("suffix", READERS)
def test_a_name_that_is_no_utf8_is_shown_and_matched(
    folder: Path, embedder: Embedder, pictures: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.parent)
    try:
        os.rename(pictures / "0.png", os.fsencode(pictures) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    words = ["match", str(folder), "in", str(kept(embedder, pictures, suffix)), "-k", "1", "--html", "page.html"]
    assert main([*words, "--query-domain", "target", "--file", FILE]) == 0
    page = Path("page.html").read_text()
    assert "in/caf\\udce9.png" in page
    assert page.count("no picture") == (1 if suffix == ".parquet" else 0), "Parquet cannot hold such a path"
    with Path("matches.csv").open(newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["query"] == "in/caf\\udce9.png"]
    assert row["match"] == "caf\\udce9.png" and float(row["similarity"]) > 0.999


@pytest.mark.parametrize("suffix", READERS)
def test_what_another_network_or_another_side_embedded_is_refused(
    folder: Path, embedder: Embedder, pictures: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kept(replace(embedder, weights="0123abcd"), pictures, suffix)
    with pytest.raises(DataError, match=rf"another network .* 0123abcd, not {embedder.weights}\)"):
        read(embedder, path)
    path = kept(embedder, pictures, suffix)
    assert (read(embedder, path, "target").z == read(embedder, path).z).all()
    assert main(["match", str(folder), str(path), "in", "--query-domain", "source", "--file", FILE]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "embedded as those of the target, but is named as of the source. Leave that out, or embed them with" in said


def rewritten(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """The same .npz with other arrays."""
    with np.load(path) as arrays:
        columns = dict(arrays)
    change(columns)
    np.savez(path, **columns)  # type: ignore[arg-type]


def single() -> bytes:
    """One array, as `numpy.save` writes it."""
    payload = io.BytesIO()
    np.save(payload, np.zeros(3))
    return payload.getvalue()


SPOILED: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "noise": lambda path: path.write_bytes(b"noise" * 100),
    "a folder's name": lambda path: path.write_text("in"),
}
SPOILED_NPZ: dict[str, Callable[[Path], object]] = {
    "fewer paths": lambda path: rewritten(path, lambda arrays: arrays.update(path=arrays["path"][:-1])),
    "nan": lambda path: rewritten(path, lambda arrays: arrays["z"].fill(np.nan)),
    "one vector": lambda path: rewritten(path, lambda arrays: arrays.update(z=arrays["z"][0])),
    "words": lambda path: rewritten(path, lambda arrays: arrays.update(z=arrays["path"][:, None])),
    "one path": lambda path: rewritten(path, lambda arrays: arrays.update(path=arrays["path"][0])),
    "no weights": lambda path: rewritten(path, lambda arrays: arrays.pop("weights")),
    "other": lambda path: np.savez(path, a=np.zeros(3)),
    "single": lambda path: path.write_bytes(single()),
    "pickle": lambda path: rewritten(path, lambda arrays: arrays.update(z=np.array([{}]))),
}
LONGER = pa.array([[1.0, 2.0], [1.0]])
SPOILED_PARQUET: dict[str, Callable[[Path], object]] = {
    "no metadata": lambda path: pq.write_table(pq.read_table(path).replace_schema_metadata(None), path),
    "other metadata": lambda path: pq.write_table(
        pq.read_table(path).replace_schema_metadata({"domainmetric": "[]"}), path
    ),
    "no embedding": lambda path: pq.write_table(pq.read_table(path).drop_columns(["embedding"]), path),
    "lengths differ": lambda path: pq.write_table(pa.table({"path": ["a", "b"], "embedding": LONGER}), path),
    "numbers": lambda path: pq.write_table(pa.table({"path": ["a"], "embedding": [1.0]}), path),
    "no rows": lambda path: pq.write_table(pq.read_table(path)[:0], path),
}


@pytest.mark.parametrize(
    ("suffix", "spoil"),
    [
        *[(suffix, spoil) for suffix in READERS for spoil in SPOILED.values()],
        *[(".npz", spoil) for spoil in SPOILED_NPZ.values()],
        *[(".parquet", spoil) for spoil in SPOILED_PARQUET.values()],
    ],
    ids=[
        *[f"{suffix} {name}" for suffix in READERS for name in SPOILED],
        *[f".npz {name}" for name in SPOILED_NPZ],
        *[f".parquet {name}" for name in SPOILED_PARQUET],
    ],
)
def test_what_is_damaged_or_something_else_is_refused(
    embedder: Embedder, pictures: Path, suffix: str, spoil: Callable[[Path], object]
) -> None:
    path = kept(embedder, pictures, suffix)
    read(embedder, path)
    spoil(path)
    with pytest.raises(DataError, match=rf"kept\{suffix} is no file of embeddings, .* Embed its images anew\."):
        read(embedder, path)


def test_a_file_that_is_not_there_is_told(embedder: Embedder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no file .*gone\.npz"):
        read(embedder, tmp_path / "gone.npz")
