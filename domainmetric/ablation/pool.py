"""Runs done a few at a time, wherever they take place.

Two runs that share a source phase are not begun side by side: the second waits until the first has left that phase, or
another run is taken meanwhile, so that the phase is trained once and then reused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from domainmetric.ablation.executor import Crew, Work, Worker
from domainmetric.errors import DomainMetricError

LOOK_S = 0.2


def take(queue: list[Work], active: Sequence[Worker], trained: set[str]) -> Work | None:
    """The first job that need not wait for another to train its source phase, taken off the queue."""
    training = {worker.work.job.source for worker in active} - trained - {None}
    for index, work in enumerate(queue):
        if work.job.source not in training:
            return queue.pop(index)
    return None


def carry_out(
    works: Sequence[Work],
    crew: Crew,
    *,
    stopping: Callable[[], bool],
    watch: Callable[[Sequence[Worker], Work | None], None],
) -> None:
    """Do all jobs; what becomes of each is written into it.

    `watch` is called often, with the workers and, where a job has just ended, with that one. When `stopping` says so,
    the runs are asked to save their state, and nothing new is begun.
    """
    queue, active, trained = list(works), list[Worker](), set[str]()
    with none_left_behind(active):
        while queue or active:
            if stopping():
                queue.clear()
                for worker in active:
                    worker.stop()
            while len(active) < crew.size and (work := take(queue, active, trained)) is not None:
                try:
                    active.append(crew.start(work))
                except DomainMetricError as error:  # this job cannot begin; the others may
                    work.status, work.error = "failed", str(error)
                    watch(active, work)
            for worker in list(active):
                ended = worker.look()
                if not worker.in_source_phase() and worker.work.job.source is not None:
                    trained.add(worker.work.job.source)
                if ended:
                    active.remove(worker)
                    watch(active, worker.work)
            watch(active, None)
            time.sleep(LOOK_S)


@contextmanager
def none_left_behind(active: Sequence[Worker]) -> Iterator[None]:
    """Whatever happens, no run outlives the ablation."""
    try:
        yield
    finally:
        for worker in active:
            worker.end()
        for worker in active:
            worker.join()
