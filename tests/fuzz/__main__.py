"""`make fuzz`: damaged inputs for every reader, in processes with limits; what is found is kept, and shown at the end.

With atheris, where it is installed, inputs are guided by the coverage of the code; else they are drawn at random, each
from its number. An input that takes more than five seconds of processor time, or 512 MB of memory, or ends the process,
is a finding, as is any error that was not promised; but scipy may crash, since a process of its own contains it. Begun
again, the command goes on where it was.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.fuzz.damage import damaged
from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import CONTAINED, REACHED

READERS = tuple(TARGETS)


def main() -> int:
    """The exit status: 1 where there are findings."""
    options = _parser().parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    guided = not options.random and importlib.util.find_spec("atheris") is not None
    print(
        "Inputs are guided by coverage (atheris)."
        if guided
        else "No atheris here: inputs are drawn at random, unguided."
    )
    for name in options.readers:
        fuzz(name, options.count, folder, guided=guided)
    for path in folder.glob("*.contained"):
        print(f"{path.stem}: {len(path.read_text().split())} crashes within the process that is there to contain them.")
    findings = sorted(path for path in folder.iterdir() if path.suffix == ".input")
    for path in findings:
        print(f"{path}: {path.with_suffix('.why').read_text().strip().splitlines()[-1]}")
    print(f"{len(findings)} finding{'s' * (len(findings) != 1)} in {folder}.")
    return 1 if findings else 0


def fuzz(name: str, count: int, folder: Path, *, guided: bool) -> None:
    """Give a reader `count` inputs in all, those of earlier calls included."""
    kept = folder / f"{name}.json"
    done = json.loads(kept.read_text()) if kept.is_file() else 0
    began, before = time.monotonic(), done
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(name, total=count, completed=done)
        while done < count:
            part = min(50_000, count - done)
            done += run(name, done, part, folder, guided=guided)
            kept.write_text(json.dumps(done))
            bar.update(task, completed=done)
    print(f"{name}: {done:,} inputs, {done - before:,} of them now, in {time.monotonic() - began:.0f} s.")


def run(name: str, first: int, count: int, folder: Path, *, guided: bool) -> int:
    """Give a reader inputs in a process of its own. Returns how many; one that ended the process is the last."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        module = "tests.fuzz.guided" if guided else "tests.fuzz.worker"
        command = [sys.executable, "-m", module, name, str(first), str(count), place]
        command += [str(folder / f"corpus-{name}")] if guided else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if (Path(place) / CONTAINED).is_file():
            with (folder / f"{name}.contained").open("a") as file:
                file.write((Path(place) / CONTAINED).read_text())
        if done.returncode == 0:
            return count
        reached = Path(place) / REACHED
        if not reached.is_file():
            sys.exit(f"The process that reads could not begin:\n{done.stderr}")
        number = int.from_bytes(reached.read_bytes(), "little")
        why = done.stderr if done.returncode > 0 else f"ended by signal {-done.returncode}"
        culprit = Path(place) / "culprit"
        content = culprit.read_bytes() if culprit.is_file() else damaged(TARGETS[name].seeds, number)
        (folder / f"{name}-{number}.input").write_bytes(content)
        (folder / f"{name}-{number}.why").write_text(why)
        return number - first + 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Damaged inputs for every reader.")
    parser.add_argument("readers", nargs="*", default=READERS, metavar="READER", help=", ".join(READERS))
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs for each reader (default: a million)")
    parser.add_argument("--folder", type=Path, default=Path("runs/fuzz"), help="what was done and found (runs/fuzz)")
    parser.add_argument("--random", action="store_true", help="draw inputs at random, even where there is atheris")
    return parser


if __name__ == "__main__":
    sys.exit(main())
