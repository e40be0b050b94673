"""The machine a run uses: device, precision, threads and order of sums, and the record of them.

On a CPU, a run with the same seed and number of threads gives the same bits each time. A GPU adds up in an order of its
own, so that two runs of one seed drift apart from the last bit on, in: the gradients of convolutions (cuDNN) and of
picking rows (`x[rows]`); sums into rows (`index_add_`, `index_put_`, `scatter_add_`: triplets' gradients, class means,
votes of neighbors); running sums (`cumsum`: sorting losses, miners that draw); matrix products on several streams
(cuBLAS). `Runtime.deterministic` takes ordered versions of all of these. On a CPU it changes no bit and costs nothing
that could be measured (1.00 ± 0.03 of the processor time, five pairs of tiny runs); on a GPU it has not been run.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision, Precision

from domainmetric.errors import ConfigError
from domainmetric.experiment import Runtime
from domainmetric.serialize import without_home
from domainmetric.team.base import ALONE, Team

PACKAGES = (
    "domainmetric",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "lightning-fabric",
    "pytorch-adapt",
    "albumentations",
    "POT",
)
WHERE_INSTALLED = (
    *("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    *("albucore", "faiss-cpu", "timm", "pytorch-metric-learning"),
)
"""Extras, and what another package brings under one of several names."""
CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
TRAINING_FLOORS = (
    *("data", "models", "anchors", "miners", "losses", "alignment", "team", "training", "metrics", "alarms"),
    "experiment",
)


class Bfloat16(MixedPrecision):
    """Fabric's bfloat16 autocast, whose gradients may be asked for one by one, as the terms' shares are.

    A precision with a backward pass of its own has Fabric refuse every other one, but that is for the scaling of
    losses, which bfloat16 goes without.
    """

    backward = Precision.backward


def fabric(runtime: Runtime) -> Fabric:
    """Lightning Fabric on the chosen device. Raises ConfigError where a GPU is asked for and there is none."""
    available = torch.cuda.is_available()
    if runtime.device == "cuda" and not available:
        raise ConfigError("runtime.device is 'cuda', but torch finds no GPU. Use --runtime.device=cpu, or 'auto'.")
    accelerator = "cuda" if available and runtime.device != "cpu" else "cpu"
    precision = Bfloat16("bf16-mixed", accelerator) if runtime.precision == "bf16" else Precision()
    devices, nodes = processes(runtime)
    if devices * nodes == 1:
        return Fabric(accelerator=accelerator, devices=1, plugins=precision)
    if accelerator == "cuda" and devices > torch.cuda.device_count():
        raise ConfigError(
            f"runtime.devices is {devices}, but torch finds {torch.cuda.device_count()} GPUs. Ask for fewer, or for "
            "processes on the CPU with --runtime.device=cpu."
        )
    from domainmetric.team.ranks import STEP
    from domainmetric.team.strategy import Divided

    strategy = Divided(timeout=STEP)
    return Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, plugins=precision, strategy=strategy)


def lacks_bfloat16(device: torch.device) -> bool:
    """Whether it is a CPU that has no instructions for bfloat16, so far as torch can tell: float32 is faster there."""
    able: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.10 has no such function
    return device.type == "cpu" and bool(able) and not any(has for name, has in able.items() if "bf16" in name)


def check_compiler(device: torch.device) -> None:
    """Raise ConfigError where torch.compile lacks what it compiles with: a C++ compiler, and Triton for a GPU."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    lacks = [] if any(map(shutil.which, names)) else ["a C++ compiler (g++, or another one in CXX)"]
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        lacks.append("Triton")
    if lacks:
        raise ConfigError(
            f"runtime.compile needs {' and '.join(lacks)}, but found none here. Install it, or leave compile out."
        )


def processes(runtime: Runtime) -> tuple[int, int]:
    """Processes on each machine, and machines: those that torchrun has started, or else those that are asked for.

    Raises ConfigError where torchrun's variables are no numbers.
    """
    if not torch.distributed.is_torchelastic_launched():
        return runtime.devices, runtime.num_nodes
    named = {name: os.environ.get(name, "") for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE")}
    if not all(value.isdecimal() and int(value) > 0 for value in named.values()):
        came = " and ".join(f"{name}={value!r}" for name, value in named.items())
        raise ConfigError(
            f"torchrun's variables must be numbers of processes, but are {came}. Start the run by torchrun, or unset "
            "TORCHELASTIC_RUN_ID."
        )
    here, everywhere = (int(value) for value in named.values())
    return here, everywhere // here


def assemble(fabric: Fabric) -> Team:
    """The processes of a run, all started and connected. Raises ProcessLost where they do not find each other."""
    if fabric.world_size == 1:
        return ALONE
    from domainmetric.team.ranks import connect

    return connect(fabric)


@contextmanager
def arithmetic(runtime: Runtime) -> Iterator[None]:
    """Torch's CPU threads and order of sums as the experiment wants them, restored afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    workspace = os.environ.get(CUBLAS_WORKSPACE)
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    if runtime.deterministic:
        torch.use_deterministic_algorithms(True)
        os.environ[CUBLAS_WORKSPACE] = workspace or ":4096:8"  # cuBLAS reads it when the first product is computed
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        if runtime.deterministic and workspace is None:
            del os.environ[CUBLAS_WORKSPACE]


def description(device: torch.device, processes: int = 1) -> dict[str, Any]:
    """What a reader must know of machine and software to repeat a run."""
    return {
        "device": device_name(device),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "processor": processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "versions": versions(),
        "commit": commit(),
        "code": code_hash(),
        "command": shlex.join([Path(sys.argv[0]).name, *map(without_home, sys.argv[1:])]),
    }


def versions() -> dict[str, str]:
    """Versions of the libraries that compute a run's numbers."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    for name in WHERE_INSTALLED:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def processor() -> str:
    """The processor's name and its number of cores, as far as the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def device_name(device: torch.device) -> str:
    """`cpu (2 threads)`, or the GPU's name."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"


def commit() -> str | None:
    """The commit of the checkout that the package is installed from, with `+` where it has uncommitted changes."""
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + (
            "+" if git("status", "--porcelain", "--", str(folder.parent)) else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def code_hash() -> str:
    """A hash of the code that training depends on: a finished phase is reused only by the same code."""
    package = Path(__file__).parents[1]
    files = [*package.glob("*.py"), *(f for floor in TRAINING_FLOORS for f in (package / floor).glob("*.py"))]
    total = hashlib.blake2b(digest_size=10)
    for file in sorted(files):
        total.update(file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


def peak_memory_mb(device: torch.device) -> dict[str, float]:
    """Largest resident memory of this process so far, and of the GPU's allocator, in MB."""
    scale = 1024 if platform.system() == "Linux" else 1024 * 1024
    peak = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale}
    if device.type == "cuda":
        peak["device"] = torch.cuda.max_memory_allocated(device) / 2**20
    return peak
