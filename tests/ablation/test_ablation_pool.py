"""Workers: what runs beside what, what becomes of a process that ends, and that none is left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from domainmetric.ablation import pool
from domainmetric.ablation.executor import Crew, Work, Worker
from domainmetric.ablation.plan import Job
from domainmetric.ablation.pool import carry_out, take
from domainmetric.ablation.processes import Local
from domainmetric.ablation.sight import Sight, place
from domainmetric.ablation.worker import LOG
from domainmetric.errors import DataError
from tests import tiny

DONE, FAIL, KILLED = "raise SystemExit(0)", "raise SystemExit(1)", "import os; os.kill(os.getpid(), 9)"
UNTIL_STOPPED = "import os; os.read(0, 1); raise SystemExit(130)"
EXPERIMENT = tiny.experiment(Path("runs"), "mmd", source_steps=30, adapt_steps=60)


def work(name: str, source: str | None = None) -> Work:
    return Work(job=Job(variant=name, seed=0, experiment=EXPERIMENT, content=name, source=source))


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """In place of runs, the Python programs that are put here by their variants."""
    monkeypatch.setattr(pool, "LOOK_S", 0.01)
    return Programs(tmp_path)


class Programs(dict[str, str]):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, one: Work) -> Worker:
        if self[one.job.variant] == "refuse":
            raise DataError("no such data")
        one.folder = self.folder / one.job.variant
        one.folder.mkdir(exist_ok=True)
        (one.folder / LOG).write_text("first\nthe reason\n\n")
        command = [sys.executable, "-S", "-c", self[one.job.variant]]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        return Local(work=one, process=process, sight=Sight.of(one.folder))

    def run(self, works: Sequence[Work], stopping: Callable[[], bool] = lambda: False) -> list[set[str]]:
        """Do all jobs, two at a time. Returns which of them went on side by side."""
        beside: list[set[str]] = []

        def watch(active: Sequence[Worker], ended: Work | None) -> None:
            beside.append({worker.work.job.variant for worker in active})

        carry_out(works, Crew(size=2, start=self.start), stopping=stopping, watch=watch)
        return beside


def test_what_becomes_of_each_process(begun: Programs) -> None:
    begun |= {"good": DONE, "bad": FAIL, "dead": KILLED, "refused": "refuse", "late": DONE}
    works = [work(name) for name in begun]
    beside = begun.run(works)
    assert [one.status for one in works] == ["finished", "failed", "failed", "failed", "finished"]
    assert works[1].error == "the reason"
    assert works[2].error is not None and works[2].error.startswith("ended by SIGKILL; the system may have run out of")
    assert works[3].error == "no such data"
    assert max(map(len, beside)) <= 2


def test_a_shared_source_phase_is_not_trained_twice_at_a_time(begun: Programs) -> None:
    begun |= dict.fromkeys(("a1", "b1", "a2"), "import time; time.sleep(0.3)")
    works = [work("a1", "one"), work("b1", "one"), work("a2", "two")]
    beside = begun.run(works)
    assert {"a1", "a2"} in beside
    assert not any({"a1", "b1"} <= found for found in beside)
    assert [one.status for one in works] == ["finished"] * 3


def test_once_the_source_phase_is_over_others_may_begin() -> None:
    queue = [work("b", "one"), work("c", "two")]
    with subprocess.Popen([sys.executable, "-S", "-c", ""], stdin=subprocess.PIPE) as process:
        worker = Local(work=work("a", "one"), process=process, sight=Sight(Path("none"), step=30))
        assert worker.in_source_phase()
        worker.sight.step = 31
        assert not worker.in_source_phase()
    assert take(list(queue), [worker], set()) is queue[1]
    assert take(list(queue), [worker], {"one"}) is queue[0]
    assert take([queue[0]], [worker], set()) is None


def test_when_asked_to_stop_runs_save_their_state_and_nothing_new_begins(begun: Programs) -> None:
    begun |= dict.fromkeys(("a", "b", "c"), UNTIL_STOPPED)
    works, asked = [work(name) for name in begun], time.monotonic() + 0.2
    begun.run(works, stopping=lambda: time.monotonic() > asked)
    assert [one.status for one in works] == ["interrupted", "interrupted", "missing"]


def test_whatever_happens_no_process_is_left(begun: Programs) -> None:
    begun["a"] = "import time; time.sleep(60)"
    started: list[Local] = []

    def watch(active: Sequence[Worker], ended: Work | None) -> None:
        started.extend(worker for worker in active if isinstance(worker, Local))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out([work("a")], Crew(size=1, start=begun.start), stopping=lambda: False, watch=watch)
    assert started[0].process.poll() is not None
    assert started[0].work.status == "interrupted"


def test_the_place_of_a_step() -> None:
    assert place(EXPERIMENT, 0) == ("source", 0, 30)
    assert place(EXPERIMENT, 30) == ("adapt", 0, 60)
    assert place(EXPERIMENT, 90) == ("evaluation", 0, 0)


def test_a_log_is_read_as_it_grows_and_anew_when_it_was_cut_back(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    line = '{"kind": "metrics", "time": %f, "step": %d, "values": {"loss/total": %f}}\n'
    sight = Sight.of(tmp_path)
    sight.look()
    assert (sight.step, sight.loss) == (0, None)
    path.write_text(line % (100.0, 10, 0.5) + (line % (102.0, 30, 0.25))[:20])
    sight.look()
    assert (sight.step, sight.loss, sight.rate) == (10, 0.5, None)
    path.write_text(line % (100.0, 10, 0.5) + line % (102.0, 30, 0.25))
    sight.look()
    assert (sight.step, sight.loss, sight.rate) == (30, 0.25, 10.0)
    fresh = tmp_path / "fresh"
    fresh.write_text(line % (100.0, 10, 0.5))
    fresh.replace(path)
    sight.look()
    assert sight.step == 10


def test_jobs_are_named_for_people() -> None:
    assert str(replace(work("nearest").job, seed=3)) == "nearest, seed 3"
