"""Run folders that travel: whole, in order, verified, and never out of their place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domainmetric.ablation.parcel import Parcel, Piece, Sender, digest, names
from domainmetric.errors import Damaged

FILES = {
    "report.json": b"{}",
    "log.jsonl": b"one\n",
    "model.safetensors": b"\0" * 50,
    "figures/curves.png": b"png",
}


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder)}


def test_a_folder_arrives_as_it_stands(there: Path, here: Path) -> None:
    Sender(there).pack().unpack(here)
    assert contents(here) == FILES


def test_the_report_is_read_first_and_the_log_last(there: Path) -> None:
    read = [piece.name for piece in Sender(there).pack().pieces]
    assert read == ["report.json", "figures/curves.png", "model.safetensors", "log.jsonl"]


def test_the_report_is_written_last_and_the_log_first(there: Path, here: Path) -> None:
    parcel = Sender(there).pack()
    broken = tuple(
        replace(piece, content=b"?") if piece.name.startswith("figures") else piece for piece in parcel.pieces
    )
    with pytest.raises(Damaged, match=r"curves.png did not arrive as it was sent"):
        replace(parcel, pieces=broken).unpack(here)
    assert set(contents(here)) == {"log.jsonl", "model.safetensors"}


def test_only_what_has_changed_is_sent_and_of_what_has_grown_the_end(there: Path, here: Path) -> None:
    sender = Sender(there)
    sender.pack().unpack(here)
    assert sender.pack().pieces == ()
    with (there / "log.jsonl").open("ab") as log:
        log.write(b"two\n")
    (there / "model.safetensors").write_bytes(b"\1" * 60)
    parcel = sender.pack()
    assert {piece.name: (piece.begin, len(piece.content)) for piece in parcel.pieces} == {
        "log.jsonl": (4, 4),
        "model.safetensors": (0, 60),
    }
    parcel.unpack(here)
    assert contents(here) == contents(there)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.binary(max_size=6), max_size=5))
def test_whatever_is_written_over_a_file_arrives(tmp_path_factory: Any, written: list[bytes]) -> None:
    there, here = tmp_path_factory.mktemp("there"), tmp_path_factory.mktemp("here")
    sender = Sender(there)
    for number, content in enumerate(written):
        (there / f"new-{number}").write_bytes(content)
        (there / f"new-{number}").replace(there / "log.jsonl")
        sender.pack().unpack(here)
        assert contents(here) == {"log.jsonl": content}


def test_what_the_receiver_has_is_not_sent_again(there: Path, here: Path) -> None:
    parcel = Sender(there).pack()
    parcel.unpack(here)
    back = Sender(here)
    back.knows(parcel)
    assert back.pack().pieces == ()
    (here / "log.jsonl").write_bytes(b"one\ntwo\n")
    assert [(piece.name, piece.begin) for piece in back.pack().pieces] == [("log.jsonl", 4)]


def test_locks_half_written_files_links_and_what_is_left_out_do_not_travel(there: Path, tmp_path: Path) -> None:
    (there / ".lock").touch()
    (there / ".model.safetensors.7.partial").touch()
    (tmp_path / "secret").write_text("secret")
    (there / "link").symlink_to(tmp_path / "secret")
    parcel = Sender(there, without={"model.safetensors"}).pack()
    assert parcel.names == set(FILES) - {"model.safetensors"}


def test_what_is_gone_is_deleted(there: Path, here: Path) -> None:
    Sender(there).pack().unpack(here)
    (here / ".lock").touch()
    (there / "model.safetensors").unlink()
    Sender(there).pack().sweep(here)
    assert set(contents(here)) == set(FILES) - {"model.safetensors"}
    assert (here / ".lock").exists()


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out", ""])
def test_no_name_leads_out_of_the_folder(name: str, here: Path) -> None:
    piece = Piece(name=name, begin=0, content=b"x", digest=digest(b"x"))
    with pytest.raises(Damaged, match="is no name of a file in"):
        Parcel(pieces=(piece,), names=frozenset({name})).unpack(here)
    assert not here.exists()
