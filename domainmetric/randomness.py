"""Where every random number comes from: a seed and a name, never global state.

A generator is derived anew for each (seed, name, step), so nothing has to be saved for a run to resume exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed that depends on `seed` and on every name, in order."""
    digest = hashlib.blake2b("\0".join(map(str, (seed, *names))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(device: torch.device | str, seed: int, *names: str | int) -> torch.Generator:
    """A generator on `device`, seeded by `derive`."""
    return torch.Generator(device).manual_seed(derive(seed, *names))


@contextmanager
def isolated(seed: int, *names: str | int) -> Iterator[None]:
    """Seed torch's global generators inside the block (weight initialization, dropout) and restore them after it."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive(seed, *names))
        yield
