"""Files that are whole or not there, and say so when they are neither."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from domainmetric.errors import RunFolderError
from domainmetric.training import checkpoint
from domainmetric.training.checkpoint import digest, read_json, read_tensors, write_bytes, write_json, write_tensors

TENSORS = {"a/b": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3), "half": torch.ones(2, dtype=torch.bfloat16)}


def test_tensors_and_facts_come_back(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"step": 3, "best": None, "log": [[1, {"a": 0.1}]]})
    tensors, facts = read_tensors(path)
    assert tensors.keys() == TENSORS.keys()
    assert all(
        torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype for name, value in TENSORS.items()
    )
    assert facts == {"step": 3, "best": None, "log": [[1, {"a": 0.1}]]}


def test_tensors_that_share_memory_or_are_not_contiguous_are_written_as_they_look(tmp_path: Path) -> None:
    x = torch.arange(12.0).reshape(3, 4)
    write_tensors(tmp_path / "x", {"x": x, "turned": x.T, "again": x}, {})
    assert torch.equal(read_tensors(tmp_path / "x")[0]["turned"], x.T)


@pytest.mark.parametrize(
    "changed",
    [
        {"a": torch.zeros(2, 3)},
        {"b": torch.zeros(6)},
        {"a": torch.zeros(6, dtype=torch.int32)},
        {"a": torch.full((6,), -0.0)},
    ],
    ids=["shape", "name", "type", "bits"],
)
def test_a_digest_sees_names_shapes_types_and_bits(changed: dict[str, torch.Tensor]) -> None:
    assert digest({"a": torch.zeros(6)}) == digest({"a": torch.zeros(6)})
    assert digest(changed) != digest({"a": torch.zeros(6)})


@pytest.mark.parametrize("content", [b"", b"nothing", None])
def test_what_is_no_checkpoint_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunFolderError, match="does not exist" if content is None else "damaged or not a checkpoint"):
        read_tensors(path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe"])
def test_damaged_json_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"a\.json is damaged"):
        read_json(tmp_path / "a.json")
    with pytest.raises(RunFolderError, match=r"is not a run folder: it has no b\.json"):
        read_json(tmp_path / "b.json")


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(RunFolderError, match=r"No space left on device.*domainmetric resume"):
        write_bytes(path, b"new")
    assert read_json(path) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]
