"""`make faults`: every injected fault and what caught it; then healthy runs, in which nothing may be raised.

`python -m tests.faults [--only NAME] [--healthy 300] [--part I/N] [--folder FOLDER]`. Healthy runs that were done are
kept in the folder and not done again; parts can run side by side, and the whole is told of all parts there are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.kept import finish, read
from tests.faults.behavior import BEHAVIOR
from tests.faults.healthy import Healthy, carry_out, false_alarms
from tests.faults.suite import SUITE
from tests.faults.wiring import WIRING

FAULTS = (*WIRING, *BEHAVIOR, *SUITE)
OUT = Console(highlight=False, soft_wrap=True)


def try_faults(only: str) -> bool:
    """Try each fault and tell what caught it. Returns whether enough were: all but two, and all of the wiring."""
    chosen, missed = [fault for fault in FAULTS if only in fault.name], []
    for number, fault in enumerate(chosen, start=1):
        began, caught = time.monotonic(), fault.try_it()
        if caught is None:
            missed.append(fault)
        OUT.print(
            f"{number:3}/{len(chosen)} {fault.name}: {caught or 'NOT CAUGHT'} ({time.monotonic() - began:.1f} s)",
            markup=False,
        )
    wiring = sum(fault.wiring for fault in chosen)
    OUT.print(f"{len(chosen) - len(missed)} of {len(chosen)} faults caught; {wiring} are of wiring or gradients.")
    return len(missed) <= 2 and not any(fault.wiring for fault in missed)


def healthy_runs(count: int, part: str, folder: Path) -> bool:
    """Do the healthy runs that are missing, and tell the false alarms. Returns whether there was none."""
    index, _, parts = part.partition("/")
    folder.mkdir(parents=True, exist_ok=True)
    runs = {f"run {number}": Healthy(number=number) for number in range(int(index) - 1, count, int(parts))}
    finish(folder / f"healthy-{index}-of-{parts}.json", runs, carry_out, title="healthy runs")
    files = folder.glob(f"healthy-*-of-{parts}.json")
    results = {name: record["result"] for file in files for name, record in read(file).items()}
    false = {name: found for name, result in results.items() if (found := false_alarms(result))}
    hints = sum(any(a.startswith("below_source") for a in result["alarms"]) for result in results.values())
    for name, found in false.items():
        OUT.print(f"{name}: {'; '.join(found)}", markup=False)
    OUT.print(f"{len(false)} of {len(results)} healthy runs with a false alarm; {hints} with the hint below_source.")
    return not false


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="faults whose name contains this, and no healthy runs")
    parser.add_argument("--healthy", type=int, default=300, help="number of healthy runs (default: 300)")
    parser.add_argument("--part", default="1/1", help="the I-th of N parts of the healthy runs alone, 1/N to N/N")
    parser.add_argument("--folder", type=Path, default=Path("runs/faults"), help="where results are kept")
    asked = parser.parse_args(arguments)
    caught = try_faults(asked.only) if asked.part == "1/1" else True
    quiet = asked.only or healthy_runs(asked.healthy, asked.part, asked.folder)
    return 0 if caught and quiet else 1


if __name__ == "__main__":
    sys.exit(main())
