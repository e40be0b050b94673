"""One phase of a run: built, taken up again or reused, trained, and its result left in the network."""

from __future__ import annotations

import math
import time
from contextlib import closing, suppress
from pathlib import Path

import torch
from torch import Tensor

from domainmetric.alarms.sight import Seen
from domainmetric.anchors.base import AnchorContext, AnchorMatcher
from domainmetric.errors import Damaged, DataError
from domainmetric.experiment import AdaptationPhase, AllLabels, BestScore, Experiment, Phase, SourcePhase
from domainmetric.metrics.selection import Evidence
from domainmetric.models.network import Branch, DomainName, Network
from domainmetric.randomness import isolated
from domainmetric.step import PartContext
from domainmetric.team.base import ALONE, Team
from domainmetric.training import runtime, scatters
from domainmetric.training.alarm_board import open_board
from domainmetric.training.batches import Batches, RunData
from domainmetric.training.checkpoint import read_tensors, write_tensors
from domainmetric.training.ema import teacher_of
from domainmetric.training.evaluation import judge
from domainmetric.training.loop import Values, Watch, calibrate, train
from domainmetric.training.objective import Objective
from domainmetric.training.phase_key import check_fit, reuse_key
from domainmetric.training.phase_lock import alone
from domainmetric.training.session import Record, Session
from domainmetric.training.state import PhaseState, group, load_weights, set_training
from domainmetric.training.target_anchors import TargetAnchors
from domainmetric.training.tracking import of_process, read_log
from domainmetric.types import Matches

CHECKPOINT, PREVIOUS, MODEL = "checkpoint.safetensors", "checkpoint.previous.safetensors", "model.safetensors"
DAMAGED = ".damaged"
"""What is added to the name of a checkpoint whose bytes are other than those that were written."""
SELECTED = "selected"
"""The checkpoint's copy of the weights that are reported so far."""


def first_step(experiment: Experiment, phase: int) -> int:
    """The run's step at which a phase begins."""
    return sum(p.steps for p in list(experiment.phases.values())[:phase])


def run_phase(session: Session, record: Record, saved: dict[str, Tensor] | None) -> PhaseState:
    """Do the phase `record.phase`; `saved` is what the checkpoint held, when the run is resumed within it."""
    name = list(session.experiment.phases)[record.phase]
    key = reuse_key(session, name)
    if key is None or record.step > 0:
        return train_phase(session, record, saved)
    store = session.experiment.runs_root / ".phases" / f"{key}.safetensors"

    def waiting() -> None:
        session.log.event("phase awaited", f"'{name}' is being trained by another run; its result will be taken.")

    with alone(store, session.stop, waiting):  # the leading process waits, and the others for it
        if session.team.told(store.is_file):
            with suppress(Damaged):  # or of a network of other shapes: then it is trained, and written anew
                return reuse(session, record, store)
        state = train_phase(session, record, saved)
        if not session.team.leads:
            return state
        lines = read_log(session.folder, record.phase_began)  # not the audit, which each run takes of its own data
        told = [line for line in lines if not of_process(line) and line["kind"] != "end"]
        facts = {"run": session.folder.name, "seconds": record.seconds[name], "log": told}
        write_tensors(store, network_tensors(session.network), facts)
        return state


def train_phase(session: Session, record: Record, saved: dict[str, Tensor] | None) -> PhaseState:
    """Train the phase `record.phase` from where it stands. Returns what it left behind."""
    experiment, began = session.experiment, time.perf_counter()
    name, phase = list(experiment.phases.items())[record.phase]
    state, batches = build(experiment, session.network, session.data, name, phase, session.team)
    session.progress.phase(name, phase.steps, record.step)
    if record.step > 0 and saved is not None:
        state.restore(saved, record.step)
    watch = watcher(session, record, state, phase)
    if record.phase > 0 and record.step == 0:
        watch.evaluate(0)  # what the phase begins from, calibrated: a checkpoint that may be selected, too
    spent = record.seconds.get(name, 0.0) + time.perf_counter() - began  # a set-level matcher works when it is built
    with closing(batches):
        record.seconds[name] = train(session.fabric, experiment, phase, batches, state, watch, spent)
    return state


def new_network(experiment: Experiment, device: torch.device) -> Network:
    """The network at the start of a run."""
    channels: dict[DomainName, int] = {
        "source": experiment.data.source.channels,
        "target": experiment.data.target.channels,
    }
    with isolated(experiment.seed, "network"):
        network = experiment.model.build(channels, experiment.image_size, len(experiment.data.classes))
    layout = torch.channels_last if experiment.runtime.memory_format == "channels_last" else torch.contiguous_format
    network.to(device, memory_format=layout)  # type: ignore[call-overload]
    return network


def build(
    experiment: Experiment, network: Network, data: RunData, name: str, phase: Phase, team: Team = ALONE
) -> tuple[PhaseState, Batches]:
    """The moving parts of a phase at its start. The batches are to be closed."""
    moving = set_training(network, phase.trainable)
    device = data.source_train.images.device
    if experiment.runtime.compile:
        runtime.check_compiler(device)
        for branch in set(network.branches.values()):
            assert isinstance(branch, Branch)
            branch.compile_training(graphs=device.type == "cuda")
    context = PartContext(num_classes=len(data.source_train.classes), embedding_dim=experiment.model.embedding_dim)
    beside = isinstance(phase, SourcePhase) and experiment.model.branches.target_start == "trained beside"
    with isolated(experiment.seed, name, "terms"):
        terms = experiment.terms_of(phase)
        objective = Objective(terms, experiment.needs(terms), context, train_both_branches=beside)
    objective.to(device)
    batches = Batches(experiment, name, phase, data, team)
    teacher, matcher = None, None
    if isinstance(phase, AdaptationPhase):
        if phase.calibration_steps:
            calibrate(network, batches, phase.calibration_steps)
        if experiment.uses_anchors(phase):
            teacher, matcher = teacher_of(network), build_matcher(experiment, data)
        elif "taught" in objective.needs:
            teacher = teacher_of(network)
    optimizer = phase.build_optimizer(moving, list(objective.parameters()))
    state = PhaseState(
        network=network,
        objective=objective,
        optimizer=optimizer,
        teacher=teacher,
        matcher=matcher,
        matched_rows=batches.matched_rows,
        target_anchors=TargetAnchors() if "matched_target" in objective.needs else None,
    )
    return state, batches


def build_matcher(experiment: Experiment, data: RunData) -> AnchorMatcher:
    """The anchor strategy at work; only a declared labelled stream opens the target labels to it."""
    assert experiment.anchors is not None
    labels = data.target_train_labels_oracle if isinstance(experiment.labelled_target, AllLabels) else None
    context = AnchorContext(
        source=data.source_train, target=data.target_train, seed=experiment.seed, oracle_labels=labels
    )
    return experiment.anchors.build(context)


def watcher(session: Session, record: Record, state: PhaseState, phase: Phase) -> Watch:
    """Ties a phase to the run's log, progress bar, checkpoints and stop flag."""
    experiment, offset = session.experiment, first_step(session.experiment, record.phase)
    name = list(experiment.phases)[record.phase]
    last = record.phase == len(experiment.phases) - 1

    board = open_board(session, record, state, phase.steps, offset)

    def log(step: int, values: Values) -> None:
        values = session.team.told(lambda: values)  # so that alarms see the same everywhere, and act as one
        board.add(step, values)
        session.log.metrics(offset + step, values)

    def evaluate(step: int) -> None:
        if isinstance(phase, SourcePhase) and experiment.model.branches.target_start == "copied":
            session.network.copy_source_to_target()
        with session.fabric.autocast():
            evidence = session.look.evidence(session.network)
            matches: Matches | None = None
            judged: Values = {}
            if step > 0 and state.teacher is not None and state.matcher is not None:  # before, its bank is empty
                assert isinstance(phase, AdaptationPhase)
                matches, seconds = session.look.matches(state.teacher, state.matcher, phase.target_batch)
                judged = judge(matches, state.matcher, session.data.source_train, session.look.target_labels_oracle)
                judged |= {**state.anchor_track.look(matches, step), "anchors/match_ms": 1e3 * seconds}
            if (name, step) in scatters.looks(experiment):
                scatters.keep(session.folder, offset + step, evidence, matches)
        log(step, {**session.look.scores(evidence), **judged})  # outside of autocast: scores compare, too
        if last:
            select(session, record, evidence, step)
        if step > 0:
            board.show(step, seen=Seen(evidence=evidence, matches=matches))

    def checkpoint(seconds: float) -> None:
        record.step, record.seconds[name] = state.step, seconds
        save(session, record, state.tensors())
        session.team.wait()

    def advance(step: int, loss: float | None) -> None:
        session.progress.advance(loss)

    return Watch(
        log=log,
        event=session.log.event,
        evaluate=evaluate,
        checkpoint=checkpoint,
        advance=advance,
        stopping=session.stop,
        alarms=board,
    )


def select(session: Session, record: Record, evidence: Evidence, step: int) -> None:
    """Keep the network if it is the checkpoint to report so far."""
    rule = session.experiment.selection
    if isinstance(rule, BestScore):
        score = rule.score.score(evidence)
        if math.isnan(score):
            raise DataError(
                f"A selection score must be a number, but {type(rule.score).__name__} is NaN at step {step} of the "
                "last phase. Choose another score, or have it return its lowest value where it has nothing to say."
            )
        if record.best is None or record.start is None:
            record.start = score
        elif not rule.prefers(score, record.best, record.start):
            return
        record.best = score
    elif step < list(session.experiment.phases.values())[-1].steps:
        return
    keep(session, record, step)


def keep(session: Session, record: Record, step: int) -> None:
    """Write the network down as the checkpoint to report."""
    record.selected_step = step
    write_tensors(session.folder / MODEL, session.network.state_dict(), {"step": step})


def save(session: Session, record: Record, tensors: dict[str, Tensor]) -> None:
    """Write the checkpoint that `resume` continues from; the one before it stays."""
    if not session.team.leads:
        return
    if record.selected_step is not None:
        selected = read_tensors(session.folder / MODEL)[0]
        tensors |= {f"{SELECTED}/{name}": value for name, value in selected.items()}
    record.log_size = session.log.save()
    write_tensors(session.folder / CHECKPOINT, tensors, vars(record), keep=session.folder / PREVIOUS)


def network_tensors(network: Network) -> dict[str, Tensor]:
    """The network's weights under their names in a checkpoint."""
    return {f"network/{name}": value for name, value in network.state_dict().items()}


def reuse(session: Session, record: Record, store: Path) -> PhaseState:
    """Take a finished phase from the cache: weights, recorded time and log. Raises Damaged where it does not fit."""
    tensors, facts = read_tensors(store)
    weights = group(tensors).get("network", {})
    check_fit(session.network, weights, store)  # loaded, it would leave weights behind that are part this, part that
    name, phase = list(session.experiment.phases.items())[record.phase]
    state, batches = build(session.experiment, session.network, session.data, name, phase)
    batches.close()
    session.progress.phase(name, phase.steps, 0)
    load_weights(session.network, weights)
    for line in facts["log"]:
        session.log.again(line)
    record.seconds[name] = facts["seconds"]
    if len(session.experiment.phases) == 1:
        keep(session, record, phase.steps)
    if facts["run"] != session.folder.name:  # else it was this run's own, which was killed just after it
        record.reused.append(name)
        session.log.event("phase reused", f"'{name}' was taken from the cache; its recorded time counts.")
    for _ in range(phase.steps):
        session.progress.advance()
    return state
