"""`make mutants`: does a test fail when the code is changed? Mutants drawn by a seed, against the tests nearby.

Works in a copy of the repository in a temporary folder, in one process that has imported what the tests import and
forks for each mutant. Verdicts are kept in a file, so that the command goes on where it was stopped; a changed file's
mutants are tried anew, and with `--again` those that survived. Parts can run side by side (`--part 1/4`) and keep their
verdicts in one file, so that the last one tells the whole. Ends with 1 where fewer than `--least` percent were killed.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from tests.mutation.operators import sites

ROOT = Path(__file__).parents[2]
COPIED = ("domainmetric", "data_prep", "experiments", "tests", "pyproject.toml")
TESTS = {
    "losses": ("tests/losses", "tests/contracts/test_losses_and_miners.py"),
    "miners": ("tests/miners", "tests/contracts/test_losses_and_miners.py"),
    "anchors": ("tests/anchors", "tests/contracts/test_anchors.py", "tests/contracts/test_anchors_at_the_edge.py"),
    "metrics": ("tests/metrics", "tests/interop/test_adapt_score.py"),
    "geometry.py": ("tests/test_geometry.py", "tests/test_pairs.py", "tests/losses/test_formulas.py"),
}
"""The code that is checked, and the tests that must notice; its own tests first (`nearby_tests`)."""
OWN = ("tests", "domainmetric", "data_prep", "experiments")
IMPORTED = "imported.json"
"""File of the modules that the last tests had imported."""
NO_TESTS, MISLED = 5, 70


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file."""

    file: str
    index: int
    line: int
    source: str
    """Hash of the file that it changes."""

    @property
    def key(self) -> str:
        """What a verdict is kept under."""
        return f"{self.file}:{self.line}:{self.index}:{self.source}"

    def text(self) -> str:
        """The changed file."""
        tree = ast.parse((ROOT / self.file).read_text())
        return sites(tree)[self.index].mutant(tree)

    def change(self) -> str:
        """The changed lines, for people."""
        before = ast.unparse(ast.parse((ROOT / self.file).read_text())).splitlines()
        after = self.text().splitlines()
        lines = [(a, b) for a, b in zip(before, after, strict=False) if a != b][:1]
        return f"{self.file}:{self.line}  " + "".join(f"{a.strip()}  ->  {b.strip()}" for a, b in lines)


def every_mutant() -> list[Mutant]:
    """All changes of all files that are checked."""
    found = []
    for part in TESTS:
        place = ROOT / "domainmetric" / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            text = path.read_text()
            source = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
            for index, site in enumerate(sites(ast.parse(text))):
                file = path.relative_to(ROOT).as_posix()
                found.append(Mutant(file=file, index=index, line=site.line, source=source))
    return found


def nearby_tests(file: str) -> list[str]:
    """The test files that must notice a change, those that speak most of the file's names first."""
    part = Path(file).parts[1]
    names = [node.name for node in ast.parse((ROOT / file).read_text()).body if hasattr(node, "name")]
    paths = [
        p for place in TESTS[part] for p in ([ROOT / place] if place.endswith(".py") else ROOT.glob(f"{place}/test_*"))
    ]

    def told(path: Path) -> int:
        return -sum(path.read_text().count(name) for name in [*names, file.removesuffix(".py").replace("/", ".")])

    return [path.relative_to(ROOT).as_posix() for path in sorted(paths, key=lambda path: (told(path), path))]


def copy(folder: Path) -> None:
    """The repository's code in `folder`."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            shutil.copy2(ROOT / name, folder / name)


def run_tests(folder: Path, tests: Sequence[str], limit_s: int) -> tuple[int | None, float]:
    """pytest's exit status in a fork of this process, and the processor seconds it took; None where it got no further.

    What counts is the processor's time, so that a busy machine kills nothing; a test that sleeps has pytest's timeout.
    """
    child = os.fork()
    if not child:
        _be_pytest(folder, tests, limit_s)
    _, status, used = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return None if code == -signal.SIGXCPU else code, used.ru_utime + used.ru_stime


def _be_pytest(folder: Path, tests: Sequence[str], limit_s: int) -> None:
    code = MISLED
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, resource.RLIM_INFINITY))
    try:
        os.chdir(folder)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        sys.path[:] = [str(folder), *(place for place in sys.path if Path(place or ".").resolve() != ROOT)]
        for name in [n for n in sys.modules if n.partition(".")[0] in OWN]:
            del sys.modules[name]
        package = importlib.import_module("domainmetric")
        if Path(str(package.__file__)).is_relative_to(folder):
            import pytest

            imported = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # as its own plugins are, by the parent
            code = int(pytest.main(["-x", "-q", *imported, "-m", "not slow", *tests]))
            (folder / IMPORTED).write_text(json.dumps(sorted(sys.modules)))
    finally:
        os._exit(code)


def judge(mutant: Mutant, folder: Path, limit_s: int) -> str:
    """`killed`, `killed by time` or `survived`."""
    path = folder / mutant.file
    original = path.read_text()
    path.write_text(mutant.text())
    for stale in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        stale.unlink()
    try:
        code, _ = run_tests(folder, nearby_tests(mutant.file), limit_s)
    finally:
        path.write_text(original)
    assert code not in (NO_TESTS, MISLED), "the tests were not found in the copy"
    return "killed by time" if code is None else "survived" if code == 0 else "killed"


def healthy(folder: Path, files: Iterable[str]) -> dict[str, float]:
    """Processor seconds of the tests of each file's part without a change. Raises SystemExit where they do not pass."""
    seconds: dict[str, float] = {}
    for file in files:
        part = Path(file).parts[1]
        if part not in seconds:
            code, seconds[part] = run_tests(folder, nearby_tests(file), limit_s=3600)
            if code != 0:
                sys.exit(f"The tests of {part} do not pass without any change (pytest ended with {code}).")
            import_all(json.loads((folder / IMPORTED).read_text()))
    return seconds


def import_all(names: Iterable[str]) -> None:
    """Import modules of others into this process, so that its forks need not: most of a short test's time."""
    for name in names:
        if name.partition(".")[0] not in OWN:
            with suppress(Exception):  # made by somebody else's import
                importlib.import_module(name)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="mutants to draw (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default: 0)")
    parser.add_argument("--least", type=float, default=85.0, help="percent that must be killed (default: 85)")
    parser.add_argument("--verdicts", type=Path, default=ROOT / ".mutants.jsonl", help="file that keeps the verdicts")
    parser.add_argument("--part", default="1/1", help="the I-th of N parts of them, 1/N to N/N")
    parser.add_argument("--again", action="store_true", help="try anew those that survived")
    words = parser.parse_args()
    drawn = every_mutant()
    random.Random(words.seed).shuffle(drawn)
    drawn = drawn[: words.count]
    index, _, parts = words.part.partition("/")
    known = read(words.verdicts)
    mine = drawn[int(index) - 1 :: int(parts)]
    left = [m for m in mine if m.key not in known or (words.again and known[m.key] == "survived")]
    if left:
        try_all(left, words.verdicts)
    known = read(words.verdicts)
    return conclude([(mutant, known[mutant.key]) for mutant in drawn if mutant.key in known], words.least)


def read(verdicts: Path) -> dict[str, str]:
    """The verdicts that were kept; the last one of a mutant counts."""
    lines = verdicts.read_text().splitlines() if verdicts.is_file() else []
    return {one["mutant"]: one["verdict"] for one in map(json.loads, lines)}


def try_all(mutants: Sequence[Mutant], verdicts: Path) -> None:
    """Judge the mutants in a copy, and keep each verdict at once; Ctrl-C leaves the rest for another time."""
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    importlib.import_module("torch")
    with tempfile.TemporaryDirectory() as place, verdicts.open("a") as kept, suppress(KeyboardInterrupt):
        folder = Path(place).resolve()
        copy(folder)
        seconds = healthy(folder, (mutant.file for mutant in mutants))
        for mutant in track(mutants, "mutants"):
            verdict = judge(mutant, folder, limit_s=10 + round(3 * seconds[Path(mutant.file).parts[1]]))
            kept.write(json.dumps({"mutant": mutant.key, "verdict": verdict, "change": mutant.change()}) + "\n")
            kept.flush()


def conclude(judged: Sequence[tuple[Mutant, str]], least: float) -> int:
    """Print what survived, and how much was killed. Returns the exit status."""
    for mutant, verdict in sorted(judged, key=lambda one: one[0].key):
        if verdict == "survived":
            print("survived:", mutant.change())
    killed = sum(verdict != "survived" for _, verdict in judged)
    share = 100 * killed / max(len(judged), 1)
    print(f"{killed} of {len(judged)} mutants killed: {share:.1f}% (wanted: {least:g}%).")
    return int(share < least)


if __name__ == "__main__":
    sys.exit(main())
