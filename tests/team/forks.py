"""Several processes of one run, forked from the test's own: they need import nothing, and so cost little."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from domainmetric.experiment import Runtime
from domainmetric.team.base import Team
from domainmetric.training import runtime

DEADLINE_S = 100


def fork(size: int, work: Callable[[int], None], nodes: int = 1) -> list[int]:
    """Call `work` with the rank in each of `size` processes that find each other. Returns their exit statuses.

    They are told that they are on so many machines. A process that has not ended in time is killed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}

    def begin(rank: int) -> None:
        node, local = divmod(rank, size // nodes)
        os.environ.update(place, NODE_RANK=str(node), LOCAL_RANK=str(local))
        work(rank)

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=begin, args=(rank,)) for rank in range(size)]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(DEADLINE_S)
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [-1 if process.exitcode is None else process.exitcode for process in processes]


def team(size: int, nodes: int = 1) -> Team:
    """The processes of `fork`, connected."""
    return runtime.assemble(runtime.fabric(Runtime(device="cpu", devices=size // nodes, num_nodes=nodes)))


def in_each(
    size: int, folder: Path, find: Callable[[Team], Mapping[str, Tensor]], nodes: int = 1
) -> list[dict[str, Tensor]]:
    """What `find` gives in each of `size` processes."""

    def work(rank: int) -> None:
        found = {name: value.detach().contiguous().clone() for name, value in find(team(size, nodes)).items()}
        save_file(found, folder / f"{size}-{rank}.safetensors")

    assert fork(size, work, nodes) == [0] * size
    return [load_file(folder / f"{size}-{rank}.safetensors") for rank in range(size)]


def worst(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[float, str]:
    """The largest difference between tensors of one name, as a share of the largest number of its kind; and the name.

    A kind is what stands before a slash.
    """
    assert found.keys() == wanted.keys()
    largest: dict[str, float] = {}
    for name, value in wanted.items():
        kind = name.partition("/")[0]
        largest[kind] = max(largest.get(kind, 0.0), float(value.detach().abs().max()) if value.numel() else 0.0)
    off = {
        name: float((found[name].double() - value.detach().double()).abs().max()) / largest[name.partition("/")[0]]
        for name, value in wanted.items()
        if value.numel()
    }
    return max((share, name) for name, share in off.items())
