"""How long the command line takes to say how it is used, beside a Python that does nothing.

Command: `python -m experiments.benchmarks.startup`, or `make bench`. Both take turns, each in a new process; told are
medians. What keeps it short is that nothing heavy is imported before a command needs it, which a test counts
(`tests/test_cli.py`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch

from experiments.benchmarks.adapt_loop import of_children
from experiments.benchmarks.machine import facts
from experiments.benchmarks.matching import HERE, Clock, publish
from experiments.tables import markdown

BAR_S = 0.5
WORDS = {
    "domainmetric --help": [str(Path(sys.executable).with_name("domainmetric")), "--help"],
    "python -c pass": [sys.executable, "-c", "pass"],
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write it down; the exit status is 1 where help takes longer than it may."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.startup", description="Start-up.")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the results")
    chosen = parser.parse_args(arguments)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in WORDS}
    for _ in range(chosen.repeats):
        for name, words in WORDS.items():
            clock, cpu = Clock(), of_children()
            clock(lambda: subprocess.run(words, check=True, capture_output=True))  # noqa: B023 (called at once)
            times[name].append((clock.wall, of_children() - cpu))
    rows = {name: [median(column) for column in zip(*found, strict=True)] for name, found in times.items()}
    cells = [(f"`{name}`", f"{wall:.3f}", f"{cpu:.3f}") for name, (wall, cpu) in rows.items()]
    told = {**facts(torch.device("cpu")), "repeats": chosen.repeats}
    text = f"{markdown(('', 'wall, s', 'CPU, s'), cells)}\n\n"
    text += f"To be reached: {BAR_S} s. {', '.join(f'{what} {value}' for what, value in told.items())}.\n"
    found = [{"what": name, "wall_s": wall, "cpu_s": cpu} for name, (wall, cpu) in rows.items()]
    publish(chosen.results, "startup", text, {**told, "rows": found})
    return int(rows["domainmetric --help"][0] > BAR_S)


if __name__ == "__main__":
    sys.exit(main())
