"""What a benchmark tells of the machine beside its numbers, and the most memory that its process has held."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from domainmetric.training import runtime
from experiments.benchmarks.matching import load


def absent(device: str) -> bool:
    """Whether there is no such device here, which is then told."""
    missing = device == "cuda" and not torch.cuda.is_available()
    if missing:
        print("There is no CUDA here, so that nothing was measured: torch finds no GPU.")
    return missing


def named(benchmark: str, device: str) -> str:
    """The name of a benchmark's results, which tells another device than the CPU."""
    return benchmark if device == "cpu" else f"{benchmark}_{device}"


def facts(device: torch.device) -> dict[str, Any]:
    """For the line below a table."""
    return {
        "torch": torch.__version__,
        "device": runtime.device_name(device),
        "processor": runtime.processor(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "load": load(),
    }


def reset_high_water(device: torch.device) -> None:
    """From now on, the most memory counts anew. What is free goes back to the system first, where glibc does so."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def high_water_mb(device: torch.device) -> float:
    """The most memory that this process has held since then: of the GPU's allocator, or resident.

    Not `ru_maxrss`, which a child begins with its parent's.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def in_a_process(module: str, *words: str) -> dict[str, Any]:
    """What a module tells as JSON on the last line, when it is run in a process of its own, whose memory is its own."""
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
