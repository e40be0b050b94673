"""A training step of SVHN -> MNIST by several processes of one thread against one process with as many threads.

Command: `python -m experiments.benchmarks.devices` (`--processes 4`, `--recipes quick_full`), on a machine that does
nothing else and has that many cores: processes wait for each other some twenty times in a step, so that whatever takes
a core from one of them takes it from all. It needs the prepared data (`python -m data_prep svhn mnist`).

Both train the last phase of the recipe from its start, with everything that a run does between two evaluations (bank
refreshes, gradient shares, alarms), on the same batches. Blocks of steps take turns, each in fresh processes that are
forked once the data is there; the first steps of a block are not timed. Told is the median of the ratios of neighbors,
and their range.

Finding (AMD EPYC, 2 cores, quiet virtual machine, four blocks of 30 steps): two processes reach 0.99 of one process'
throughput in `full`, 0.86 in `quick_full` and 0.80 in `quick_dann_mmd`; 0.9 are asked for. A step has some 14 messages
(five batch normalizations there and back, embeddings, gradients), of which a good one takes 0.3 ms and some take 4,
whatever the networks; terms are computed by each process for the whole batch.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import torch

from domainmetric.errors import Interrupted
from domainmetric.experiment import Experiment, Runtime
from domainmetric.runner import data_root
from domainmetric.training import runtime
from domainmetric.training.alarm_board import AlarmBoard
from domainmetric.training.batches import RunData, load
from domainmetric.training.loop import Watch, train
from domainmetric.training.phases import build, new_network
from experiments import svhn_to_mnist
from experiments.benchmarks.machine import facts
from experiments.benchmarks.matching import HERE, publish
from experiments.tables import markdown

RECIPES = ("full", "quick_full", "quick_dann_mmd")
WARM_UP = 5


@dataclass(frozen=True, kw_only=True)
class Row:
    """Milliseconds of a step of one recipe, in each block."""

    recipe: str
    alone_ms: list[float]
    """One process with a thread for each core."""
    together_ms: list[float]
    """One process for each core."""

    @property
    def ratios(self) -> list[float]:
        """Throughput of the processes over that of the one, block by block."""
        return [one / many for one, many in zip(self.alone_ms, self.together_ms, strict=True)]


def step_ms(experiment: Experiment, data: RunData, steps: int) -> float:
    """The mean time of a step of the last phase, as this process sees it."""
    fabric = runtime.fabric(experiment.runtime)
    team = runtime.assemble(fabric)
    name, phase = list(experiment.phases.items())[-1]
    with runtime.arithmetic(experiment.runtime):
        state, batches = build(experiment, new_network(experiment, fabric.device), data, name, phase, team)
        began = [0.0]

        def advance(step: int, loss: float | None) -> None:
            if step == WARM_UP:
                began[0] = time.perf_counter()

        board = AlarmBoard(
            alarms=experiment.alarms,
            phase=name,
            steps=phase.steps,
            num_classes=len(experiment.data.classes),
            state=state,
            folder=Path(os.devnull),
            tell=lambda told: None,
        )
        watch = Watch(
            log=lambda step, values: None,
            event=lambda name, text: None,
            evaluate=lambda step: None,
            checkpoint=lambda seconds: None,
            advance=advance,
            stopping=lambda: state.step >= WARM_UP + steps,
            alarms=board,
        )
        with closing(batches), suppress(Interrupted):
            train(fabric, experiment, phase, batches, state, watch, 0.0)
        return 1e3 * (time.perf_counter() - began[0]) / (state.step - WARM_UP)


def block(experiment: Experiment, data: RunData, steps: int) -> float:
    """The same in fresh processes, as many as the experiment says: the time of the first of them."""
    size = experiment.runtime.devices
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "NODE_RANK": "0"}
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def begin(rank: int) -> None:
        if size > 1:
            os.environ.update(place, LOCAL_RANK=str(rank))
        found = step_ms(experiment, data, steps)
        if rank == 0:
            answers.put(found)

    processes = [context.Process(target=begin, args=(rank,)) for rank in range(size)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("A process failed; what it said stands above.")
    found: float = answers.get()
    return found


def measure(recipe: str, processes: int, blocks: int, steps: int, data: RunData | None = None) -> Row:
    """Blocks of both, in turn; `data` is loaded where it is not given."""
    experiment: Experiment = getattr(svhn_to_mnist, recipe)()
    sets = data or load(experiment, data_root(experiment), torch.device("cpu"))
    alone = replace(experiment, runtime=Runtime(device="cpu", threads=processes))
    together = replace(experiment, runtime=Runtime(device="cpu", threads=1, devices=processes))
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(blocks):
        for found, one in zip(times, (alone, together), strict=True):
            found.append(block(one, sets, steps))
    return Row(recipe=recipe, alone_ms=times[0], together_ms=times[1])


def table(rows: Sequence[Row], processes: int) -> str:
    """Markdown."""
    head = ("recipe", f"one process, {processes} threads: step, ms", f"{processes} processes of one thread: step, ms")
    cells = (
        (
            f"`{row.recipe}`",
            f"{median(row.alone_ms):.0f}",
            f"{median(row.together_ms):.0f}",
            f"{median(row.ratios):.2f} ({min(row.ratios):.2f} to {max(row.ratios):.2f})",
        )
        for row in rows
    )
    return markdown((*head, "throughput of the processes over that of the one (range)"), cells)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.devices", description="Several processes.")
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES), help="of svhn_to_mnist.py")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=4, help="of each, in turn")
    parser.add_argument("--steps", type=int, default=30, help="timed in each block")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the results")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # a thread pool does not survive the fork
    rows = [measure(recipe, chosen.processes, chosen.blocks, chosen.steps) for recipe in chosen.recipes]
    told = facts(torch.device("cpu"))
    text = f"{table(rows, chosen.processes)}\n\n{', '.join(f'{name} {value}' for name, value in told.items())}; gloo.\n"
    publish(chosen.results, "devices", text, {**told, "rows": [{**asdict(row), "ratios": row.ratios} for row in rows]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
