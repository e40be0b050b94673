"""`python -m tests.crash`: disturb short runs in every way, and count how many end otherwise than the undisturbed one.

Each operation on the disk meets each fault, and runs are killed at random moments. Every run is a function of its
number and the seed, so a campaign can be done in pieces: `--first 400 --kills 200` are the runs from number 400 on.
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
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.crash.campaign import Campaign, Result


def jobs(campaign: Campaign, options: argparse.Namespace) -> Iterator[Callable[[], Result]]:
    """The disturbed runs that are asked for."""
    if options.every:
        for fault, at in campaign.faults(options.every):
            yield lambda fault=fault, at=at: campaign.fault(fault, at)  # type: ignore[misc]
    for number in range(options.first, options.first + options.asked):
        yield lambda number=number: campaign.ask(number)  # type: ignore[misc]


def disturbed(campaign: Campaign, work: list[Callable[[], Result]], options: argparse.Namespace) -> Iterator[Result]:
    """What came of each run: of the given ones, then of those that are killed, until it is enough or time is up."""
    end = time.monotonic() + 60 * options.minutes
    number, killed = options.first, 0
    while (work or killed < options.kills) and time.monotonic() < end:
        if work:
            yield work.pop(0)()
        else:
            result = campaign.kill(number)
            number, killed = number + 1, killed + result.kills
            yield result


def table(results: list[Result], seconds: float) -> Table:
    """What was done, and how much of it went wrong."""
    shown = Table(title=f"{len(results)} disturbed runs in {seconds / 60:.1f} min", title_justify="left")
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
    parser.add_argument("--first", type=int, default=0, help="number of the first run that is killed (default: 0)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop when so much time has passed")
    parser.add_argument("--stop", action="store_true", help="end with the first run that ended otherwise")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default: 0)")
    parser.add_argument("--folder", type=Path, default=None, help="where it is done; runs that went wrong stay there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    screen, began = Console(stderr=True, soft_wrap=True), time.monotonic()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="crash-"))).absolute()
    campaign, results = Campaign(folder=folder, seed=options.seed), list[Result]()
    campaign.begin()
    screen.print(
        f"The undisturbed run: {len(campaign.operations)} operations, {campaign.seconds:.2f} s of a processor."
    )
    work = list(jobs(campaign, options))
    random.Random(options.seed).shuffle(work)  # so that a part of them is a sample of all
    with Progress(console=screen, auto_refresh=False) as progress:  # no thread beside the forks
        faults = progress.add_task("faults and signals", total=len(work))
        kills = progress.add_task("random kills", total=options.kills)
        for result in disturbed(campaign, work, options):
            results.append(result)
            for line in result.wrong:
                screen.print(f"{result.name}: {line}", markup=False, highlight=False)
            progress.update(kills if result.kills else faults, advance=result.kills or 1, refresh=True)
            if options.stop and result.wrong:
                break
    Console(width=100).print(table(results, time.monotonic() - began))
    wrong = [result for result in results if result.wrong]
    if wrong:
        screen.print(f"{len(wrong)} ended otherwise; they stay in {folder}.")
    return int(bool(wrong))


if __name__ == "__main__":
    os.environ["WANDB_MODE"] = "disabled"
    sys.exit(main())
