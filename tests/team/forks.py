"""Several processes of one run, forked from the test's own: they need import nothing, and so cost little."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable

from domainmetric.experiment import Runtime
from domainmetric.team.base import Team
from domainmetric.training import runtime

DEADLINE_S = 100


def fork(size: int, work: Callable[[int], None]) -> list[int]:
    """Call `work` with the rank in each of `size` processes that find each other. Returns their exit statuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "NODE_RANK": "0"}

    def begin(rank: int) -> None:
        os.environ.update(place, LOCAL_RANK=str(rank))
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
    return [process.exitcode or 0 for process in processes]


def team(size: int) -> Team:
    """The processes of `fork`, connected."""
    return runtime.assemble(runtime.fabric(Runtime(device="cpu", devices=size)))
