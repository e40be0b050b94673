"""Tensors and facts in one safetensors file: written beside and renamed, so a reader sees the old or the new one."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from domainmetric.errors import RunFolderError


def write_bytes(path: Path, payload: bytes) -> None:
    """Write a file so that a crash leaves either the old content or the new. Raises RunFolderError if it cannot."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with beside.open("wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RunFolderError(
            f"Could not write {path}: {error.strerror or error}. What was written before is untouched; make room or "
            f"fix the permissions, then continue with: domainmetric resume {path.parent}"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    write_bytes(path, (json.dumps(value, indent=2, default=str) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file, or raise RunFolderError that names it."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RunFolderError(f"{path.parent} is not a run folder: it has no {path.name}.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{path} is damaged: {error}.") from error


def digest(tensors: dict[str, Tensor]) -> str:
    """A hash over names, shapes, types and bytes."""
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors, facts (as JSON in the header) and their digest."""
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    header = {"facts": json.dumps(facts), "digest": digest(plain)}
    write_bytes(path, save(plain, metadata=header))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a file that `write_tensors` wrote. Raises RunFolderError where it is damaged or absent."""
    if not path.is_file():
        raise RunFolderError(f"{path} does not exist, so there is nothing to load.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        facts = json.loads(header["facts"])
    except (SafetensorError, KeyError, json.JSONDecodeError, OSError) as error:
        raise RunFolderError(f"{path} is damaged or not a checkpoint: {error}.") from error
    if digest(tensors) != header.get("digest"):
        raise RunFolderError(f"{path} is damaged: its content does not agree with its digest.")
    return tensors, facts
