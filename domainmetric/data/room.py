"""Whether there is memory and disk for what is asked: estimated before it starts, since a full machine stops others.

What the system does not tell is not guessed: then nothing is refused.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import torch

from domainmetric.errors import ConfigError

GIB = 2**30


def available_memory() -> int | None:
    """Bytes of memory that can be had without swapping, as Linux and a control group tell; None where they do not."""
    limits = []
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(1024 * int(line.split()[1]))
    with suppress(OSError, ValueError):  # the limit of a container; "max" where there is none
        group = Path("/sys/fs/cgroup")
        limits.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return max(0, min(limits)) if limits else None


def free_memory(device: torch.device) -> int | None:
    """Bytes that a device has free, the host's memory where it is the CPU; None where the system does not tell."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()


def check_memory(needed: int, what: str, instead: str) -> None:
    """Raise ConfigError where `what` needs more bytes of memory than there are; `instead` says what to do."""
    there = available_memory()
    if there is not None and needed > there:
        raise ConfigError(f"{what} needs {size(needed)} of memory, but {size(there)} are available. {instead}")


def check_disk(needed: int, folder: Path, what: str, instead: str) -> None:
    """Raise ConfigError where `what` needs more bytes than the disk of `folder`, which may not exist yet, has free."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    with suppress(OSError):
        free = shutil.disk_usage(place).free
        if needed > free:
            raise ConfigError(f"{what} needs {size(needed)} in {folder}, but {size(free)} are free. {instead}")


def size(number: int) -> str:
    """Bytes for people."""
    return f"{number / GIB:,.1f} GiB" if number >= 0.1 * GIB else f"{number / 2**20:,.1f} MiB"
