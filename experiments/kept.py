"""Long series of runs: what is finished is kept in a JSON file and not run again, so that a series can be interrupted.

A run is a frozen dataclass of plain values. Its record holds these values beside the result, and a record of the same
name with other values is refused, never mixed in.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch

from domainmetric import ConfigError, durable
from domainmetric.training.progress import Progress

Run = TypeVar("Run")
Result = dict[str, Any]


def finish(
    path: Path, runs: Mapping[str, Run], work: Callable[[Run], Result], *, workers: int = 1, title: str = "runs"
) -> dict[str, Result]:
    """The results of `runs` by name, running those that `path` does not have yet.

    With more than one worker each has a process of its own. Every run has one thread, so that its result does not
    depend on the machine. A result appears in the file as soon as it is there.
    """
    records = read(path)
    settings = {name: json.loads(json.dumps(asdict(run))) for name, run in runs.items()}  # type: ignore[call-overload]
    for name in settings.keys() & records.keys():
        if records[name]["settings"] != settings[name]:
            raise ConfigError(
                f"{path} has '{name}' with the settings {records[name]['settings']}, but asked for are "
                f"{settings[name]}. Name another file, or delete this one."
            )
    missing = {name: run for name, run in runs.items() if name not in records}
    with Progress() as progress:
        progress.phase(title, len(runs), len(runs) - len(missing))
        for name, result in results(missing, work, workers):
            records[name] = json.loads(json.dumps({"settings": settings[name], "result": result}))  # as when read
            write(path, records)
            progress.advance()
    return {name: records[name]["result"] for name in runs}


def results(runs: Mapping[str, Run], work: Callable[[Run], Result], workers: int) -> Iterator[tuple[str, Result]]:
    """Name and result of each run, as they come."""
    if workers == 1:
        for name, run in runs.items():
            with one_thread():
                result = work(run)
            yield name, result
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=prepare_worker) as pool:
        names = {pool.submit(work, run): name for name, run in runs.items()}
        try:
            for done in as_completed(names):
                yield names[done], done.result()
        except BaseException:  # also an interrupt: runs that have begun end, the others do not begin
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread for torch inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prepare_worker() -> None:
    """One thread; an interrupt is the parent's to handle."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def read(path: Path) -> dict[str, Result]:
    """The records in a file; none if there is no file."""
    found: dict[str, Result] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def write(path: Path, records: Mapping[str, Result]) -> None:
    """Keep the records sorted by name, the file whole or not at all."""
    lines = [f"{json.dumps(name)}: {json.dumps(records[name])}" for name in sorted(records)]
    durable.make_folder(path.parent)
    durable.write(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
