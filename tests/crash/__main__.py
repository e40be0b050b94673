"""`python -m tests.crash`: disturb short runs in every way, and count how many end otherwise than the undisturbed one.

Each operation on the disk meets each fault, and runs are killed at random moments. Every run is a function of its name
and the seed. Results are kept in the folder and not made again, unless the code has changed: then another folder is
needed. Parts can run side by side, and the whole is told of all parts there are.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from domainmetric.training.runtime import code_hash
from experiments import kept
from tests.crash.campaign import Campaign, Result

MEMORY = Path("/dev/shm")
"""Runs are made here, where it is: the disk that fails is a simulated one, and real flushes would only take time."""


class Done:
    """What came of the runs of one part, kept in a file. Raises SystemExit where that is of another code or seed."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.settings = path, {"code": code_hash(), "seed": seed}
        self.records = kept.read(path)
        if any(record["settings"] != self.settings for record in self.records.values()):
            sys.exit(f"{path} was made by another code or with another seed. Delete it, or name another --folder.")

    @property
    def results(self) -> dict[str, Result]:
        """The results by name."""
        return {name: Result(**record["result"]) for name, record in self.records.items()}

    def add(self, result: Result) -> None:
        """Keep a result."""
        self.records[result.name] = {"settings": self.settings, "result": asdict(result)}
        kept.write(self.path, self.records)


def jobs(campaign: Campaign, options: argparse.Namespace, part: slice) -> dict[str, Callable[[], Result]]:
    """The disturbed runs of this part that are asked for, by name, and in such an order that a few are a sample."""
    work: dict[str, Callable[[], Result]] = {
        f"asked-{number}": lambda number=number: campaign.ask(number)  # type: ignore[misc]
        for number in range(options.asked)
    }
    for fault, at in campaign.faults(options.every) if options.every else ():
        work[campaign.name(fault, at)] = lambda fault=fault, at=at: campaign.fault(fault, at)  # type: ignore[misc]
    names = sorted(work)
    random.Random(options.seed).shuffle(names)
    return {name: work[name] for name in names[part]}


def disturbed(
    campaign: Campaign, work: dict[str, Callable[[], Result]], done: Done, options: argparse.Namespace, part: slice
) -> Iterator[Result]:
    """What came of each run that is missing: of the given ones and of those that are killed, in turn."""
    end = time.monotonic() + 60 * options.minutes
    enough = -(-options.kills // part.step)
    killed = sum(result.kills for result in done.results.values())
    missing = [make for name, make in work.items() if name not in done.records]
    numbers = (n for n in range(part.start, sys.maxsize, part.step) if f"kill-{n}" not in done.records)
    while (missing or killed < enough) and time.monotonic() < end:
        if missing:
            yield missing.pop(0)()
        if killed < enough:
            result = campaign.kill(next(numbers))
            killed += result.kills
            yield result


def table(results: list[Result]) -> Table:
    """What was done, and how much of it went wrong."""
    shown = Table(title=f"{len(results)} disturbed runs", title_justify="left")
    for name in ("disturbed by", "runs", "SIGKILLs", "of them in a resume", "ended otherwise"):
        shown.add_column(name, justify="left" if name == "disturbed by" else "right")
    for kind, runs in Counter(result.kind for result in results).items():
        mine = [result for result in results if result.kind == kind]
        numbers = (runs, sum(r.kills for r in mine), sum(r.in_resume for r in mine), sum(bool(r.wrong) for r in mine))
        shown.add_row(kind, *map(str, numbers))
    return shown


def main() -> int:
    """Do the campaign. Returns 1 where a run ended otherwise than the undisturbed one."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="SIGKILLs at random moments (default: 1000)")
    parser.add_argument("--asked", type=int, default=50, help="runs that get SIGTERM and SIGINT (default: 50)")
    parser.add_argument("--every", type=int, default=1, help="faults at every so many operations; 0: none (default: 1)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop when so much time has passed")
    parser.add_argument("--stop", action="store_true", help="end with the first run that ended otherwise")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default: 0)")
    parser.add_argument("--part", default="1/1", help="the I-th of N parts of all this, 1/N to N/N")
    parser.add_argument("--folder", type=Path, default=Path("runs/crash"), help="where results are kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    campaign = Campaign(folder=scratch(), seed=options.seed)
    results = carry_out(campaign, options)
    Console(width=100).print(table(results))
    wrong = sum(bool(result.wrong) for result in results)
    if wrong:
        stay = f"; those of this part stay in {campaign.folder}" if campaign.folder.exists() else ""
        Console(stderr=True, soft_wrap=True).print(f"{wrong} ended otherwise{stay}.")
    return int(bool(wrong))


def scratch() -> Path:
    """A new folder, in memory where there is such a place."""
    return Path(tempfile.mkdtemp(prefix="crash-", dir=MEMORY if MEMORY.is_dir() else None))


def carry_out(campaign: Campaign, options: argparse.Namespace) -> list[Result]:
    """Do what is missing of this part. Returns the results of all parts that there are."""
    index, _, parts = options.part.partition("/")
    part = slice(int(index) - 1, None, int(parts))
    done = Done(options.folder / f"crash-{index}-of-{parts}.json", options.seed)
    screen = Console(stderr=True, soft_wrap=True)
    campaign.begin()
    screen.print(f"The undisturbed run: {len(campaign.operations)} operations, {campaign.seconds:.2f} s of processor.")
    work = jobs(campaign, options, part)
    with Progress(console=screen, auto_refresh=False) as progress:  # no thread beside the forks
        faults = progress.add_task("faults and signals", total=len(work), completed=len(work.keys() & done.records))
        killed = sum(result.kills for result in done.results.values())
        kills = progress.add_task("random kills", total=-(-options.kills // part.step), completed=killed)
        for result in disturbed(campaign, work, done, options, part):
            done.add(result)
            for line in result.wrong:
                screen.print(f"{result.name}: {line}", markup=False, highlight=False)
            progress.update(kills if result.kills else faults, advance=result.kills or 1, refresh=True)
            if options.stop and result.wrong:
                break
    campaign.end()
    others = (Done(path, options.seed) for path in options.folder.glob(f"crash-*-of-{parts}.json"))
    return [result for part_done in others for result in part_done.results.values()]


if __name__ == "__main__":
    os.environ["WANDB_MODE"] = "disabled"
    sys.exit(main())
