"""What runs need of a cluster, and what there is: whether it answers, and how many have room."""

from __future__ import annotations

import math
import socket
from collections.abc import Mapping, Sequence

from domainmetric.errors import ConfigError
from domainmetric.experiment import Runtime

REACH_S = 5.0
"""Seconds until a cluster must answer."""


def reach(address: str) -> None:
    """Raise ConfigError unless somebody answers at this address."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(
            f"The address of a Ray cluster is HOST:PORT, as `ray start --head` prints it, but came as '{address}'."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"No Ray cluster answers at {address} ({error}). Start one with `ray start --head` and give the address "
            "that it prints, or leave out --address for a Ray on this machine alone."
        ) from error


def check_gpus(gpus: float) -> None:
    """Raise ConfigError unless a run can be given so many GPUs."""
    if not (0 <= gpus <= 1 or (gpus > 1 and gpus.is_integer())):
        raise ConfigError(f"A run is given a fraction of a GPU, or whole ones, but --gpus-per-run is {gpus:g}.")


def cpus(settings: Runtime) -> int:
    """CPUs that a run keeps busy."""
    assert settings.threads is not None, "every job says how many"
    return settings.threads * settings.devices


def check_device(settings: Runtime, gpus: float) -> None:
    """Raise ConfigError where a run and its share of GPUs do not go together, or a run takes several nodes."""
    if settings.num_nodes > 1:
        raise ConfigError(
            f"On Ray a run has one node, but runtime.num_nodes is {settings.num_nodes}. Start such a run with torchrun."
        )
    if settings.device == "cuda" and not gpus:
        raise ConfigError("runtime.device is 'cuda', but a run on Ray is given no GPU. Say how much: --gpus-per-run 1.")
    if settings.device == "cpu" and gpus:
        raise ConfigError(f"runtime.device is 'cpu', so --gpus-per-run {gpus:g} would be of no use. Leave it out.")


def room(nodes: Sequence[Mapping[str, float]], need: int, gpus: float) -> int:
    """Runs of so many CPUs and GPUs that fit into nodes of these resources. Raises ConfigError where none does."""
    fit = [min(node.get("CPU", 0.0) / need, node.get("GPU", 0.0) / gpus if gpus else math.inf) for node in nodes]
    places = sum(math.floor(places + 1e-6) for places in fit)
    if not places:
        have = "; ".join(f"{node.get('CPU', 0.0):g} CPUs and {node.get('GPU', 0.0):g} GPUs" for node in nodes)
        raise ConfigError(
            f"A run needs {need} CPUs and {gpus:g} GPUs, but no node of the cluster has as much; they have {have}. "
            "Ask for less with --runtime.threads and --gpus-per-run."
        )
    return places
