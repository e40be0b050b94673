"""From an experiment to a report: everything that is wired, in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor

from domainmetric import durable
from domainmetric.alarms.default import left_out
from domainmetric.audit.record import audit_run
from domainmetric.data.looked_once import looked_once
from domainmetric.errors import ConfigError, Damaged, Interrupted, NotRead, NotWritten, OtherMachine, RunFolderError
from domainmetric.experiment import Experiment
from domainmetric.reporting import draw, summarize
from domainmetric.serialize import from_json, known_names, to_json
from domainmetric.team.base import Team
from domainmetric.tracking import Tracking
from domainmetric.training import confidence, runtime
from domainmetric.training import folder as run_folder
from domainmetric.training.batches import data_root, load
from domainmetric.training.checkpoint import read_json, read_tensors, write_json, write_tensors
from domainmetric.training.circumstances import circumstances, differences
from domainmetric.training.ema import values_of
from domainmetric.training.evaluation import Look
from domainmetric.training.final import (
    EMBEDDINGS,
    MATCHES,
    Final,
    anchors_report,
    final_matches,
    matches_table,
    save_arrays,
)
from domainmetric.training.phases import (
    CHECKPOINT,
    DAMAGED,
    MODEL,
    PREVIOUS,
    SELECTED,
    network_tensors,
    new_network,
    run_phase,
    save,
)
from domainmetric.training.progress import Progress
from domainmetric.training.room import check_head, check_room
from domainmetric.training.session import Record, Session
from domainmetric.training.state import PhaseState, group, load_weights
from domainmetric.training.stop import StopFlag
from domainmetric.training.tracking import Log
from domainmetric.training.wandb_mirror import start_mirror

Report = dict[str, Any]


@looked_once()
def run(experiment: Experiment) -> Path:
    """Do an experiment from its start. Returns the run folder, which holds everything.

    Raises DataNotPrepared, naming the command that prepares it, and Interrupted when asked to stop.
    """
    record = describe(experiment)  # before other processes are started, since it may have to be said what is missing
    fabric = runtime.fabric(experiment.runtime)
    asked = experiment.runtime.devices * experiment.runtime.num_nodes
    if fabric.world_size != asked:
        raise ConfigError(
            f"This is one of {fabric.world_size} processes that torchrun has started, but runtime.devices x "
            f"runtime.num_nodes is {asked}. Make them agree."
        )
    team = runtime.assemble(fabric)
    folder = Path(team.told(lambda: str(record_in_folder(experiment, record))))
    return carry_out(folder, experiment, fabric, team)


def new_folder(experiment: Experiment) -> Path:
    """A run folder with its record, in which nothing has been done yet: `resume` begins it. Raises DataNotPrepared."""
    return record_in_folder(experiment, describe(experiment))


def describe(experiment: Experiment) -> dict[str, Any]:
    """What a run folder records of its run. Raises DataNotPrepared."""
    return {"experiment": to_json(experiment), **circumstances(experiment)}


def record_in_folder(experiment: Experiment, record: Mapping[str, Any]) -> Path:
    """A new run folder that holds a record."""
    folder = run_folder.create(experiment)  # made last: what cannot be recorded leaves no folder behind
    with continuable(folder):
        write_json(folder / run_folder.EXPERIMENT, record)
    return folder


@contextmanager
def continuable(folder: Path) -> Iterator[None]:
    """Within it, Interrupted, NotRead and NotWritten say how the run goes on, once it has a record."""
    try:
        yield
    except (Interrupted, NotRead, NotWritten) as stopped:
        if not (folder / run_folder.EXPERIMENT).is_file():
            raise
        raise type(stopped)(f"{stopped} Continue with: domainmetric resume {folder}") from stopped


@looked_once()
def resume(folder: Path, names: Mapping[str, Any] | None = None, *, accept_changes: bool = False) -> Path:
    """Continue an interrupted run where its last checkpoint left it; a finished run is left as it is.

    `names` are the classes and functions of a user's file, where the run used one (`serialize.user_names`). Where the
    run depends on something that has changed since, `accept_changes` waives the refusal, and the log tells so.
    """
    experiment = read_experiment(folder, names)
    fabric = runtime.fabric(experiment.runtime)
    return carry_out(folder, experiment, fabric, runtime.assemble(fabric), accept_changes=accept_changes)


def read_experiment(folder: Path, names: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment that a run folder records."""
    record = read_json(run_folder.check(folder) / run_folder.EXPERIMENT)
    written = record.get("experiment") if isinstance(record, dict) else None
    experiment = from_json(written, known_names() | dict(names or {}))
    if not isinstance(experiment, Experiment):
        raise RunFolderError(f"{folder / run_folder.EXPERIMENT} does not record an experiment.")
    return experiment


def carry_out(
    folder: Path, experiment: Experiment, fabric: Fabric, team: Team, *, accept_changes: bool = False
) -> Path:
    """Do what is left to do of a run, alone in its folder. Of a team, one process writes."""
    with nullcontext() if team.leads else durable.muted(), continuable(folder), run_folder.lock(folder):
        if not team.told((folder / run_folder.REPORT).is_file):
            durable.sweep(folder)
            work(folder, experiment, fabric, team, accept_changes=accept_changes)
        for name in (CHECKPOINT, PREVIOUS):
            durable.remove(folder / name)
            durable.remove(folder / f"{name}{DAMAGED}")
    team.wait()
    return folder


def work(folder: Path, experiment: Experiment, fabric: Fabric, team: Team, *, accept_changes: bool) -> None:
    """Train what is left to train, evaluate, and write the report."""
    with runtime.arithmetic(experiment.runtime):
        now = {**circumstances(experiment), "machine": runtime.description(fabric.device, team.size)}
        changes = team.told(lambda: compare(folder, now, accept_changes=accept_changes))
        check_head(experiment)
        with (
            closing(start_mirror(folder, experiment.tracking if team.leads else Tracking(wandb="off"))),
            closing(Log(folder)) as log,  # closed before the mirror, which then knows that nothing follows
            StopFlag() as stop,
            Progress(console=None if team.leads else Console(quiet=True)) as progress,
        ):
            record_circumstances(folder, now, changes, log)
            data = load(experiment, data_root(experiment), fabric.device)
            session = Session(
                folder=folder,
                experiment=replace(experiment, runs_root=folder.parent),  # what runs share lies beside them, wherever
                fabric=fabric,
                team=team,
                data=data,
                data_hashes=now["data"],
                look=Look.choose(experiment, data, team),
                network=new_network(experiment, fabric.device),
                log=log,
                progress=progress,
                stop=stop,
            )
            check_room(experiment, folder, session.network)
            record, saved = start_together(session)
            state = train_phases(session, record, saved)
            if team.leads:
                finish(session, record, state, now["machine"])


def compare(folder: Path, now: Mapping[str, Any], *, accept_changes: bool) -> list[str]:
    """What has changed since the run was made or, for the machine, since it was trained, and was accepted.

    Raises RunFolderError where it was not, and OtherMachine where nothing but the machine has changed.
    """
    written = read_json(folder / run_folder.EXPERIMENT)
    trained = (folder / CHECKPOINT).is_file() or (folder / PREVIOUS).is_file()
    changes = differences(written, {name: value for name, value in now.items() if trained or name != "machine"})
    if changes and not accept_changes:
        elsewhere = all(change.startswith("machine: ") for change in changes)
        raise (OtherMachine if elsewhere else RunFolderError)(
            f"{folder} cannot be continued as it was begun: {'; '.join(changes)}. Restore what has changed, or begin a "
            f"new run; or continue it all the same, with other numbers: domainmetric resume {folder} --accept-changes"
        )
    return changes


def record_circumstances(folder: Path, now: Mapping[str, Any], changes: list[str], log: Log) -> None:
    """Write down what the run depends on, where that is not known or was changed; a change is told in the log."""
    if changes:
        log.event("changes accepted", f"Since the run was begun, {'; '.join(changes)}.")
        log.save()
    written = read_json(folder / run_folder.EXPERIMENT)
    if changes or "machine" not in written or differences(written, now):
        write_json(folder / run_folder.EXPERIMENT, {**written, **now})


def start_together(session: Session) -> tuple[Record, dict[str, Tensor] | None]:
    """Begin, or take up what is there, in every process: the leading one first, which puts it in order."""
    team = session.team
    if not team.leads:
        team.wait()
    record, saved = start(session)
    if team.leads:
        team.wait()
        if saved is None:
            session.network.load_pretrained()
            audit_run(session)
            tell_alarms_off(session)
            tell_slow_precision(session)
    team.wait()
    team.align(values_of(session.network))
    return record, saved


def tell_alarms_off(session: Session) -> None:
    """Name the alarms of the default that the experiment leaves out: they may be missing by accident."""
    off = left_out(session.experiment.alarms)
    if off:
        tell(session, "alarms off", f"Alarms that are off: {', '.join(off)}.")


def tell_slow_precision(session: Session) -> None:
    """Say so where the run computes in a precision that its device has no instructions for."""
    if session.experiment.runtime.precision == "bf16" and runtime.lacks_bfloat16(session.fabric.device):
        text = "This CPU has no instructions for bfloat16, which makes it slower: use --runtime.precision=32."
        tell(session, "slow precision", text)


def tell(session: Session, name: str, text: str) -> None:
    """In the log, and on the screen."""
    session.log.event(name, text)
    session.progress.tell(text)


def start(session: Session) -> tuple[Record, dict[str, Tensor] | None]:
    """Take up the last checkpoint that is good, or nothing where there is none; the log is cut back to it."""
    for name in (CHECKPOINT, PREVIOUS):
        path = session.folder / name
        if not path.is_file():
            continue
        try:
            saved, facts = read_tensors(path)
            record = Record(**facts)
            session.log.cut_back(record.log_size)
        except Damaged as error:
            session.log.event("checkpoint damaged", f"{error} The run goes on from the one before, or else anew.")
            durable.rename(path, path.with_name(f"{name}{DAMAGED}"))
            continue
        except TypeError as error:  # a record of other fields
            raise RunFolderError(
                f"{path} was written by another version, which told other things of a run. Continue the run with that "
                "version, or begin a new one."
            ) from error
        parts = group(saved)
        load_weights(session.network, parts.get("network", {}))
        if SELECTED in parts:
            write_tensors(session.folder / MODEL, parts[SELECTED], {"step": record.selected_step})
        phase = list(session.experiment.phases)[record.phase]
        session.log.event("resumed", f"From step {record.step} of the phase '{phase}'.")
        return record, saved
    session.log.cut_back(0)
    return Record(), None


def finish(session: Session, record: Record, state: PhaseState, machine: dict[str, Any]) -> None:
    """Evaluate the network that is reported, and write everything down; the report comes last, and ends the run."""
    folder, data = session.folder, session.data
    load_weights(session.network, read_tensors(folder / MODEL)[0])
    with session.fabric.autocast():
        final = Final(session.experiment, session.network, data)
        matches = final_matches(state, data)
        table = None if matches is None or state.teacher is None else matches_table(*matches, state.teacher, data)
        trust = confidence.fit(session.network, final, data, seed=session.experiment.seed)
    figures = confidence.report(trust, final, data)
    matched = {} if matches is None or state.matcher is None else anchors_report(*matches, state.matcher, data)
    report = {**summarize(session, record, final, matched, machine), "confidence": figures}
    confidence.write(folder / confidence.CONFIDENCE, trust)
    save_arrays(final.embeddings(), folder / EMBEDDINGS)
    if table is not None:
        save_arrays(table, folder / MATCHES)
    draw(session, final, matches)
    session.log.summary(report)
    session.log.close()
    write_json(folder / run_folder.REPORT, report)


def train_phases(session: Session, record: Record, saved: dict[str, Tensor] | None) -> PhaseState:
    """The phases from `record.phase` on. Returns the last one's state."""
    phases = list(session.experiment.phases.values())
    while True:
        state = run_phase(session, record, saved)
        if record.phase == len(phases) - 1:
            return state
        record.phase, record.step, saved = record.phase + 1, 0, None
        save(session, record, network_tensors(session.network))
