"""Files of tensors that say so when a single byte of them is another; and files of JSON."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from domainmetric.errors import Damaged, RunFolderError
from domainmetric.training.checkpoint import read_json, read_tensors, seal, write_tensors

TENSORS = {"a/b": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3), "half": torch.ones(2, dtype=torch.bfloat16)}
FACTS = {"step": 3, "best": None, "log": [[1, {"a": 0.1}]], "quoted": '"domainmetric":"'}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"w": torch.arange(3.0), "n": torch.tensor(3)}, {"step": 3})
    return path


def test_tensors_and_facts_come_back(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, FACTS)
    tensors, facts = read_tensors(path)
    assert tensors.keys() == TENSORS.keys()
    assert all(
        torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype for name, value in TENSORS.items()
    )
    assert facts == FACTS


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_tensors(tmp_path / name, TENSORS, FACTS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_tensors_that_share_memory_or_are_not_contiguous_are_written_as_they_look(tmp_path: Path) -> None:
    x = torch.arange(12.0).reshape(3, 4)
    write_tensors(tmp_path / "x", {"x": x, "turned": x.T, "again": x, "none": x[:0]}, {})
    tensors = read_tensors(tmp_path / "x")[0]
    assert torch.equal(tensors["turned"], x.T)
    assert tensors["none"].shape == (0, 4)


def test_what_is_read_lies_where_the_arithmetic_would_have_put_it(tmp_path: Path) -> None:
    """Vector instructions may add in another order where memory is not aligned as the allocator aligns it."""
    write_tensors(tmp_path / "x", {f"{n}": torch.ones(n, dtype=torch.uint8) for n in range(1, 20)}, {})
    assert all(value.data_ptr() % 64 == 0 for value in read_tensors(tmp_path / "x")[0].values())


def test_every_flipped_byte_is_detected(small: Path) -> None:
    content = small.read_bytes()
    for place in range(len(content)):
        for bits in (0x01, 0x20, 0xFF):
            damaged = bytearray(content)
            damaged[place] ^= bits
            assert seal(bytes(damaged)) != bytes(damaged), f"byte {place} of {len(content)}"
        small.write_bytes(damaged)
        with pytest.raises(Damaged, match="its digest does not fit"):
            read_tensors(small)


def test_every_truncation_and_what_is_added_is_detected(small: Path) -> None:
    content = small.read_bytes()
    for length in range(len(content)):
        small.write_bytes(content[:length])
        with pytest.raises(Damaged):
            read_tensors(small)
    small.write_bytes(content + b" ")
    with pytest.raises(Damaged):
        read_tensors(small)


@pytest.mark.parametrize("content", [b"", b"nothing", None])
def test_what_is_no_checkpoint_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunFolderError, match="does not exist" if content is None else "damaged or no checkpoint"):
        read_tensors(path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe"])
def test_damaged_json_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"a\.json is damaged"):
        read_json(tmp_path / "a.json")
    with pytest.raises(RunFolderError, match=r"is not a run folder: it has no b\.json"):
        read_json(tmp_path / "b.json")
