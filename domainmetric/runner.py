"""From an experiment to a report: everything that is wired, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from torch import Tensor

from domainmetric.errors import Interrupted, RunFolderError
from domainmetric.experiment import Experiment
from domainmetric.reporting import draw, summarize
from domainmetric.serialize import from_json, known_names, to_json
from domainmetric.training import folder as run_folder
from domainmetric.training import runtime
from domainmetric.training.batches import data_root, load
from domainmetric.training.checkpoint import read_json, read_tensors, write_json
from domainmetric.training.evaluation import Look
from domainmetric.training.final import EMBEDDINGS, MATCHES, Final, final_matches, matches_table, save_arrays
from domainmetric.training.phases import (
    CHECKPOINT,
    MODEL,
    network_tensors,
    new_network,
    run_phase,
    save,
)
from domainmetric.training.progress import Progress
from domainmetric.training.session import Record, Session
from domainmetric.training.state import PhaseState, group, load_weights
from domainmetric.training.stop import StopFlag
from domainmetric.training.tracking import Log
from domainmetric.training.wandb_mirror import start_mirror

Report = dict[str, Any]


def run(experiment: Experiment) -> Path:
    """Do an experiment from its start. Returns the run folder, which holds everything.

    Raises DataNotPrepared, naming the command that prepares it, and Interrupted when asked to stop.
    """
    return carry_out(new_folder(experiment), experiment)


def new_folder(experiment: Experiment) -> Path:
    """A run folder with its record, in which nothing has been done yet: `resume` begins it. Raises DataNotPrepared."""
    record = {"experiment": to_json(experiment), "data": data_hashes(experiment)}
    folder = run_folder.create(experiment)  # made last: what cannot be recorded leaves no folder behind
    write_json(folder / run_folder.EXPERIMENT, record)
    return folder


def data_hashes(experiment: Experiment) -> dict[str, Any]:
    """Hashes of both domains' images. Raises DataNotPrepared."""
    root = data_root(experiment)
    return {side: getattr(experiment.data, side).hashes(root) for side in ("source", "target")}


def resume(folder: Path, names: Mapping[str, Any] | None = None) -> Path:
    """Continue an interrupted run where its last checkpoint left it; a finished run is left as it is.

    `names` are the classes and functions of a user's file, where the run used one (`serialize.user_names`).
    """
    experiment = read_experiment(folder, names)
    if (folder / run_folder.REPORT).is_file():
        return folder
    return carry_out(folder, experiment)


def read_experiment(folder: Path, names: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment that a run folder records."""
    record = read_json(run_folder.check(folder) / run_folder.EXPERIMENT)
    experiment = from_json(record.get("experiment"), known_names() | dict(names or {}))
    if not isinstance(experiment, Experiment):
        raise RunFolderError(f"{folder / run_folder.EXPERIMENT} does not record an experiment.")
    return experiment


def carry_out(folder: Path, experiment: Experiment) -> Path:
    """Train what is left to train, evaluate, and write the report."""
    fabric = runtime.fabric(experiment.runtime)
    written = read_json(folder / run_folder.EXPERIMENT)
    with (
        run_folder.lock(folder),
        runtime.threads(experiment.runtime),
        closing(start_mirror(folder, experiment.tracking)),
        closing(Log(folder)) as log,  # closed before the mirror, which then knows that nothing follows
        StopFlag() as stop,
    ):
        machine = runtime.description(fabric.device)
        write_json(folder / run_folder.EXPERIMENT, {**written, "machine": machine})
        data = load(experiment, data_root(experiment), fabric.device)
        network = new_network(experiment, fabric.device)
        with Progress() as progress:
            session = Session(
                folder=folder,
                experiment=experiment,
                fabric=fabric,
                data=data,
                data_hashes=written["data"],
                look=Look.choose(experiment, data),
                network=network,
                log=log,
                progress=progress,
                stop=stop,
            )
            record, saved = start(session)
            try:
                state = train_phases(session, record, saved)
            except Interrupted as asked:
                raise Interrupted(f"{asked} Continue with: domainmetric resume {folder}") from asked
        load_weights(network, read_tensors(folder / MODEL)[0])
        with fabric.autocast():
            final = Final(experiment, network, data)
            matches = final_matches(state, data)
            table = None if matches is None or state.teacher is None else matches_table(*matches, state.teacher, data)
        report = summarize(session, record, final, matches, machine)
        save_arrays(final.embeddings(), folder / EMBEDDINGS)
        if table is not None:
            save_arrays(table, folder / MATCHES)
        draw(session, final, matches)
        log.summary(report)
        write_json(folder / run_folder.REPORT, report)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return folder


def start(session: Session) -> tuple[Record, dict[str, Tensor] | None]:
    """Nothing done yet, or what the checkpoint says; the log is cut back to it."""
    path = session.folder / CHECKPOINT
    if not path.is_file():
        session.log.cut_back(0)
        return Record(), None
    saved, facts = read_tensors(path)
    record = Record(**facts)
    load_weights(session.network, group(saved).get("network", {}))
    session.log.cut_back(record.log_size)
    return record, saved


def train_phases(session: Session, record: Record, saved: dict[str, Tensor] | None) -> PhaseState:
    """The phases from `record.phase` on. Returns the last one's state."""
    phases = list(session.experiment.phases.values())
    while True:
        state = run_phase(session, record, saved)
        if record.phase == len(phases) - 1:
            return state
        record.phase, record.step, saved = record.phase + 1, 0, None
        save(session, record, network_tensors(session.network))
