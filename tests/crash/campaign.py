"""Many runs, each disturbed in its own way and then continued to its end, against one that was left in peace."""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.disk import ENDING, FAULTS, LOST, Disk, Fault, fits
from tests.crash.life import DONE, FINISHED, RUNS, STOPPED, End, folder_in, live, warm_up
from tests.crash.same import differences, phases_differ

STORM, STORM_EVERY = 20, 50
"""Kills of a run within one epoch, and how often a run is killed so."""
DURING_RESUME = 0.1
"""Share of kills that meet a resume."""


@dataclass(kw_only=True)
class Result:
    """What came of one disturbed run."""

    name: str
    kind: str
    kills: int = 0
    """SIGKILLs that found it alive."""
    in_resume: int = 0
    """Of these, how many while it was resumed."""
    wrong: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Campaign:
    """Disturbed runs beside the undisturbed one, all in `folder`."""

    folder: Path
    seed: int
    peaceful: Path = Path()
    seconds: float = 0.0
    operations: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Make the run that is left in peace; it tells the operations and the processor time that a run takes."""
        root = self.fresh("undisturbed")
        warm_up(root / "another")
        end = live(root, Disk())
        folder = folder_in(root)
        assert end.status == FINISHED and folder is not None, f"The undisturbed run failed: {end.told}"
        self.peaceful = folder
        self.operations = json.loads((root / DONE).read_text())
        self.seconds = live(self.fresh("again"), Disk()).seconds
        shutil.rmtree(self.folder / "again")

    def end(self) -> None:
        """Leave nothing but the runs that went wrong, and the undisturbed one beside them."""
        if [path.name for path in self.folder.iterdir()] == ["undisturbed"]:
            shutil.rmtree(self.folder)

    def fresh(self, name: str) -> Path:
        """Where a run is made, without what one that was stopped may have left there."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return self.folder / name

    def faults(self, every: int = 1) -> Iterator[tuple[Fault, int]]:
        """Each fault at each operation that can meet it; a sample takes them in turn, at every so many operations."""
        for at, operation in enumerate(self.operations):
            for number, fault in enumerate(FAULTS):
                if fits(fault, operation) and (at + number * every // len(FAULTS)) % every == 0:
                    yield fault, at

    def name(self, fault: Fault, at: int) -> str:
        """What a run is called whose operation number `at` meets a fault."""
        return f"operation-{at}-{fault.replace(' ', '-')}"

    def fault(self, fault: Fault, at: int) -> Result:
        """One operation meets a fault; then the run is continued on a good disk."""
        result = Result(name=self.name(fault, at), kind=fault)
        root = self.fresh(result.name)
        end = live(root, Disk(fault, at))
        result.wrong += self.complaints(root, fault, end)
        return self.conclude(root, result)

    def complaints(self, root: Path, fault: Fault, end: End) -> list[str]:
        """Whether the process met the fault as it should."""
        if fault in ENDING:
            expected = end.status == -signal.SIGKILL and LOST not in end.told
        elif fault == "passing EIO":
            expected = end.status == FINISHED
        else:
            resumable = folder_in(root) is None or "Continue with: domainmetric resume" in end.told
            refused = "Could not write" in end.told or "Could not read" in end.told
            expected = end.status == STOPPED and refused and resumable
        return [] if expected else [f"ended with status {end.status}: {end.told}"]

    def kill(self, number: int) -> Result:
        """SIGKILL at a random moment, now and then again while it is resumed; some runs are killed twenty times."""
        rng = random.Random(f"{self.seed}/{number}")
        storm = number % STORM_EVERY == STORM_EVERY - 1
        result = Result(name=f"kill-{number}", kind="kills in a row" if storm else "random kills")
        root = self.fresh(result.name)
        again = True
        while again and result.kills < STORM:
            latest = self.seconds * (0.5 if storm else 1.0)
            end = live(root, Disk(), kill_after=rng.uniform(0.0, latest), by=signal.SIGKILL)
            if end.status == -signal.SIGKILL:
                result.in_resume += result.kills > 0
                result.kills += 1
            elif end.status != FINISHED:
                result.wrong.append(f"ended with status {end.status}: {end.told}")
            again = end.status != FINISHED and (storm or rng.random() < DURING_RESUME)
        return self.conclude(root, result)

    def ask(self, number: int) -> Result:
        """SIGTERM and SIGINT at random moments, until it is finished."""
        rng = random.Random(f"{self.seed}/asked/{number}")
        result = Result(name=f"asked-{number}", kind="SIGTERM, SIGINT")
        root = self.fresh(result.name)
        for _ in range(rng.randint(1, 4)):
            by = rng.choice((signal.SIGTERM, signal.SIGINT))
            end = live(root, Disk(), kill_after=rng.uniform(0.0, self.seconds), by=by)
            if end.status not in (FINISHED, STOPPED, -by):
                result.wrong.append(f"ended with status {end.status}: {end.told}")
        return self.conclude(root, result)

    def conclude(self, root: Path, result: Result) -> Result:
        """Continue the run to its end and compare it; what is as it should be is deleted."""
        end = live(root, Disk())
        folder = folder_in(root)
        if end.status != FINISHED or folder is None:
            result.wrong.append(f"could not be continued, status {end.status}: {end.told}")
        else:
            result.wrong += differences(folder, self.peaceful)
            result.wrong += phases_differ(root / RUNS, self.peaceful.parent)
        if not result.wrong:
            shutil.rmtree(root)
        return result
