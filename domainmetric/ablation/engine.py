"""From an ablation to its tables: what is missing is run, what is there is read, and everything is written down."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domainmetric import durable
from domainmetric.ablation import runs, tables
from domainmetric.ablation.display import Display
from domainmetric.ablation.executor import Executor, Work, Worker
from domainmetric.ablation.plan import Ablation, Job
from domainmetric.ablation.pool import carry_out
from domainmetric.ablation.record import threads_before, write_record
from domainmetric.ablation.results import Row
from domainmetric.ablation.scores import summarize_scores
from domainmetric.ablation.sheets import Sheet
from domainmetric.ablation.summary import summarize
from domainmetric.errors import ConfigError, DomainMetricError, Interrupted, RunFolderError
from domainmetric.serialize import from_json, known_names, to_json
from domainmetric.training.folder import lock
from domainmetric.training.stop import StopFlag

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an ablation came to."""

    works: list[Work]
    """Every run."""
    sheets: list[Sheet]
    """Tables of the finished ones."""
    problem: DomainMetricError | None
    """Why it is not complete, if it is not."""


def ablate(
    ablation: Ablation, *, file: Path, names: Mapping[str, Any], executor: Executor, command: str, tell: Tell
) -> Outcome:
    """Run what is missing, then compare. `names` are the classes and functions of the user's `file`.

    `tell` is given what a person should know before the runs start. Raises DataNotPrepared, ConfigError, and
    RunFolderError where another process works in the same folder.
    """
    ablation.folder.mkdir(parents=True, exist_ok=True)
    with lock(ablation.folder):
        threads = threads_before(ablation.folder) or executor.threads()
        jobs = ablation.jobs(threads)
        own = check_names(ablation, file, names)
        found = runs.find(ablation.folder / "runs", jobs, names)
        works = with_found(jobs, found)
        tell(opening(ablation, works, executor.about(), outdated=runs.outdated(jobs, found)))
        machine = executor.machine(works[0].job.experiment.runtime)

        def record() -> None:
            write_record(ablation, works, file=file, command=command, threads=threads, machine=machine)

        record()
        run_missing(works, executor, file=file if own else None, tell_ended=record)
        record()
        return conclude(ablation, works, command)


def check_names(ablation: Ablation, file: Path, names: Mapping[str, Any]) -> bool:
    """Whether a variant uses classes or functions of the user's file. Raises ConfigError where they are not found."""
    known, own = known_names(), False
    for variant, experiment in ablation.variants.items():
        record = to_json(experiment)
        try:
            from_json(record, known | dict(names))
        except RunFolderError as error:
            raise ConfigError(
                f"The variant '{variant}' uses a class or function that {file} does not name at its top. Import it "
                f"there, so that a worker finds it. ({error})"
            ) from error
        own |= '"user.' in json.dumps(record)
    return own


def with_found(jobs: Sequence[Job], found: Mapping[str, runs.Found]) -> list[Work]:
    """The jobs with what has become of them so far."""
    works = []
    for job in jobs:
        known = found.get(job.content)
        works.append(
            Work(
                job=job,
                folder=None if known is None else known.folder,
                status="missing" if known is None else "finished" if known.finished else "interrupted",
            )
        )
    return works


def opening(ablation: Ablation, works: Sequence[Work], where: str, *, outdated: int = 0) -> str:
    """What there is to do, and whether a test could find anything.

    `outdated` runs are there already, but were made before the user's code was edited.
    """
    count = Counter(work.status for work in works)
    size = f"{len(ablation.variants)} variants x {len(ablation.seeds)} seeds = {len(works)} runs"
    parts = [f"{count['finished']} finished"] if count["finished"] else []
    parts += [f"{count['interrupted']} to be continued"] if count["interrupted"] else []
    parts += [f"{count['missing']} to be run"] if count["missing"] else []
    settings = works[0].job.experiment.runtime
    how = f"{where}, {settings.threads} CPU thread{'s' * (settings.threads != 1)} each"
    lines = [f"{ablation.name}: {size}, of which {', '.join(parts)}; {how}. Baseline: {ablation.baseline}."]
    if outdated:
        lines.append(f"{outdated} of them were begun before the user's code was edited, so they begin anew.")
    note = tables.power_note(len(ablation.variants), len(ablation.seeds))
    return "\n".join([*lines, *([note] if note else [])])


def run_missing(
    works: Sequence[Work], executor: Executor, *, file: Path | None, tell_ended: Callable[[], None]
) -> None:
    """Run every job that is not finished, interrupted ones first; `tell_ended` is called after each."""
    left = sorted((w for w in works if w.status != "finished"), key=lambda w: w.status != "interrupted")
    if not left:
        return
    done = len(works) - len(left)
    display = Display(total=len(works), done=done)
    # the crew first: a cluster's client sets signal handlers of its own
    with executor.open(works, file, display.say) as crew, StopFlag() as stop, display:
        asked = [False]

        def watch(active: Sequence[Worker], ended: Work | None) -> None:
            display.watch(active, ended)
            if ended is not None:
                tell_ended()
            if stop() and not asked[0]:
                asked[0] = True
                display.say("Stopping: the runs save their state. Ctrl-C again ends them at once.")

        try:
            carry_out(left, crew, stopping=stop, watch=watch)
        except KeyboardInterrupt:  # the second one; the workers have been ended
            display.say("Ended.")


def conclude(ablation: Ablation, works: list[Work], command: str) -> Outcome:
    """Write all tables of what is finished."""
    rows = [
        Row.read(work.job.variant, work.job.seed, work.folder)
        for work in works
        if work.status == "finished" and work.folder is not None
    ]
    oracle = {name for name, one in ablation.variants.items() if one.labelled_target is not None}
    summaries = summarize(rows, list(ablation.variants), ablation.baseline, oracle=oracle)
    scores = summarize_scores([row for row in rows if row.variant not in oracle])
    pair = ablation.variants[ablation.baseline].data
    note = tables.power_note(len(ablation.variants), len(ablation.seeds))
    found = tables.sheets(summaries, scores, f"{pair.source.name} -> {pair.target.name}", note)
    texts = {
        "runs.csv": tables.csv_text(tables.run_records(rows, oracle)),
        "table.csv": tables.csv_text(tables.variant_records(summaries)),
        "differences.csv": tables.csv_text(tables.difference_records(summaries)),
        "scores.csv": tables.csv_text(tables.score_records(scores)),
        "table.md": f"## {ablation.name}\n\n" + "\n".join(sheet.markdown() for sheet in found),
        "table.tex": "\n".join(sheet.latex() for sheet in found),
    }
    for name, text in texts.items():
        durable.write(ablation.folder / name, text.encode())
    return Outcome(works=works, sheets=found, problem=problem(works, command))


def problem(works: Sequence[Work], command: str) -> DomainMetricError | None:
    """Why the ablation is not complete: runs that failed, or that were interrupted."""
    failed = [work for work in works if work.status == "failed"]
    left = [work for work in works if work.status in ("interrupted", "missing")]
    told = "; ".join(f"{work.job}: {work.error} ({work.folder or 'no folder'})" for work in failed)
    again = f"The same command goes on: {command}"
    if left:
        also = f" {len(failed)} failed: {told}." if failed else ""
        return Interrupted(
            f"Interrupted with {len(left)} of {len(works)} runs left; their state is saved.{also} {again}"
        )
    if failed:
        return DomainMetricError(f"{len(failed)} of {len(works)} runs failed, the rest is complete. {told}. {again}")
    return None
