"""Tensors and facts in one safetensors file, under a digest that covers every byte of it; and files of JSON."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from domainmetric import durable
from domainmetric.errors import Damaged, RunFolderError

KEY, MARK, DIGITS = "domainmetric", b'"domainmetric":"', 32
"""Where the header keeps the digest and, right behind it, the facts as JSON. One key: several come in any order."""


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    durable.write(path, (json.dumps(value, indent=2, default=str) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file, or raise RunFolderError that names it: NotRead where the disk does not give it."""
    try:
        return json.loads(durable.read(path).decode())
    except FileNotFoundError as error:
        raise RunFolderError(f"{path.parent} is not a run folder: it has no {path.name}.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RunFolderError(f"{path} is damaged: {error}.") from error


def write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any], *, keep: Path | None = None) -> None:
    """Write tensors and facts. The file that bore the name becomes `keep`, once the new one is known to be good."""
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    durable.write(path, seal(save(plain, metadata={KEY: "0" * DIGITS + json.dumps(facts)})), keep=keep)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a file that `write_tensors` wrote, in memory of their own.

    Raises RunFolderError where there is none, NotRead where the disk does not give it, and Damaged where a single byte
    is another.
    """
    try:
        content = durable.read(path)
        if content != seal(content):
            raise Damaged(f"{path} is damaged or no checkpoint of this version: its digest does not fit.")
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        facts = json.loads(header["__metadata__"][KEY][DIGITS:])
        return {name: value.clone() for name, value in load(content).items()}, facts
    except FileNotFoundError as error:
        raise RunFolderError(f"{path} does not exist, so there is nothing to load.") from error
    except (SafetensorError, KeyError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"{path} is damaged or no checkpoint: {error}.") from error


def seal(content: bytes) -> bytes:
    """The content of a file with the digest of all its bytes in its place; what stood there does not count."""
    before, mark, rest = content.partition(MARK)
    blank = b"".join((before, mark, b"0" * DIGITS, rest[DIGITS:]))
    digest = hashlib.blake2b(blank, digest_size=DIGITS // 2).hexdigest()
    return b"".join((before, mark, digest.encode(), rest[DIGITS:]))
