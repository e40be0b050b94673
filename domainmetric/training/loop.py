"""The training loop: one phase, step by step, until it ends or is asked to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricOptimizer as FabricOptimizer
from torch import Tensor, nn

from domainmetric.errors import Interrupted
from domainmetric.experiment import AdaptationPhase, Experiment, Phase
from domainmetric.models.network import Network, evaluating
from domainmetric.parts import part
from domainmetric.randomness import isolated
from domainmetric.step import Step
from domainmetric.team.base import Portion, Team
from domainmetric.training.alarm_board import AlarmBoard
from domainmetric.training.banks import refresh
from domainmetric.training.batches import Batches
from domainmetric.training.ema import follow, values_of
from domainmetric.training.objective import gradient_norms
from domainmetric.training.state import PhaseState, frozen
from domainmetric.training.wall_time import WallTime
from domainmetric.training.wiring import NUM_STEPS, BeforeStep

Values = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What a phase reports to, and who may stop it. Steps are counted within the phase."""

    log: Callable[[int, Values], None]
    """Receives named values of a step."""
    event: Callable[[str, str], None]
    """Receives what happened, as a name and a sentence."""
    evaluate: Callable[[int], None]
    """Called every `evaluation.every` steps and at the end, outside of gradients."""
    checkpoint: Callable[[float], None]
    """Called with the seconds trained so far when the state should be written down."""
    advance: Callable[[int, float | None], None]
    """Called after each step with the loss, where it is known."""
    stopping: Callable[[], bool]
    """Whether the run was asked to stop."""
    alarms: AlarmBoard
    """Is shown what was read, and may stop the phase or change its terms."""


def train(
    fabric: Fabric,
    experiment: Experiment,
    phase: Phase,
    batches: Batches,
    state: PhaseState,
    watch: Watch,
    seconds: float,
) -> float:
    """Train from `state.step` to the end of the phase. Returns the seconds spent on the phase, earlier ones included.

    Several processes do this side by side, step by step: what belongs to a whole batch is the same in each of them.

    Raises Interrupted after writing a checkpoint when asked to stop, and Alarmed where an alarm stops the run.
    """
    network = fabric.setup_module(state.network)
    optimizer = fabric.setup_optimizers(state.optimizer)
    assert not isinstance(optimizer, tuple)  # one in, one out
    for moving in (state.network, state.objective, *filter(None, [state.teacher])):
        batches.team.align(values_of(moving))
    began = time.perf_counter() - seconds
    with isolated(experiment.seed, "training"):
        while state.step < phase.steps:
            torch.manual_seed(batches.step_seed(state.step))
            set_learning_rate(state.optimizer, state.step / phase.steps)
            drawn = refresh_banks(fabric, experiment, batches, state, watch)
            before = BeforeStep(state, phase) if state.step < NUM_STEPS else None
            with part("alarms"):
                watch.alarms.soundness.keep(state)
            if experiment.runtime.compile:  # else not: it imports the compiler, which takes seconds
                torch.compiler.cudagraph_mark_step_begin()  # what the step before it made is no longer needed
            with fabric.autocast():
                step, values = losses(network, batches, phase, state)
            total = torch.stack(list(values.values())).sum()
            due = state.step % experiment.evaluation.gradient_every == 0
            with part("gradient shares"):
                measured = shares(values, step) if due or before is not None else None
            optimizer.zero_grad(set_to_none=True)
            with part("backward"):
                fabric.backward(total)
                sum_gradients(batches.team, state)
            with part("alarms"):
                sound = watch.alarms.sound(total, step, values)
            if sound:
                state.window.add({"loss/total": total, **{f"loss/{k}": v for k, v in values.items()}, **step.notes})
                update(optimizer, phase, state)
            state.step += 1
            for found in (drawn, measured if due else None):  # under the step that they led to, like all that it leaves
                if found is not None:
                    watch.log(state.step, found)
            if measured is not None:
                watch.alarms.moved(values, measured, before if sound else None)
            report(batches.team, experiment, phase, state, watch, lambda: time.perf_counter() - began)
            del step, values, total  # what the step made need not lie beside what the next one makes
    return time.perf_counter() - began


def update(optimizer: FabricOptimizer, phase: Phase, state: PhaseState) -> None:
    """Move the weights, and the teacher behind them."""
    with part("optimizer"):
        optimizer.step()
    if isinstance(phase, AdaptationPhase) and state.teacher is not None:
        with part("teacher update"):
            follow(state.teacher, state.network, phase.ema)


def sum_gradients(team: Team, state: PhaseState) -> None:
    """Add what the rows of other processes make of the gradients. Terms and classifier see all rows in each process."""
    after = chain(state.network.classifier.parameters(), state.objective.parameters())
    team.sum_gradients(state.network.before_gathering(), after)


def losses(network: nn.Module, batches: Batches, phase: Phase, state: PhaseState) -> tuple[Step, dict[str, Tensor]]:
    """One forward pass: the prepared step and its weighted terms."""
    step = state.objective.prepare(
        network,
        batches,
        state.step,
        state.step / phase.steps,
        teacher=state.teacher,
        matcher=state.matcher,
        target_anchors=state.target_anchors,
    )
    return step, state.objective(step)


def set_learning_rate(optimizer: torch.optim.Optimizer, progress: float) -> None:
    """The learning rate of each group where `progress`, in [0, 1), of the phase is done."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * group["schedule"].at(progress)


def refresh_banks(
    fabric: Fabric, experiment: Experiment, batches: Batches, state: PhaseState, watch: Watch
) -> Values | None:
    """Show the anchor strategy the training sets anew, at its interval.

    Where its labels decide on the target batches, tell what there is to draw from.
    """
    if state.matcher is None or state.teacher is None or state.step % experiment.banks.refresh_every:
        return None
    generation = state.step // experiment.banks.refresh_every
    with part("bank refresh"), fabric.autocast(), WallTime(batches.device) as spent:
        taken, matches = refresh(
            state.matcher,
            state.teacher,
            experiment,
            batches.data,
            generation,
            state.matched_rows,
            state.target_anchors,
            batches.team,
        )
    state.anchor_track.refreshed(state.step, spent, taken=taken)
    if matches is None or state.matched_rows is None:
        return None
    if not matches.keep.any():
        watch.event(
            "no matches",
            f"At step {state.step} of the phase the anchors match none of {len(matches.keep)} target images, so target "
            "batches are shuffled until the next bank refresh.",
        )
    num_classes = len(matches.label[matches.keep].unique())
    return {"target_sampling/coverage": float(matches.keep.float().mean()), "target_sampling/classes": num_classes}


def shares(values: dict[str, Tensor], step: Step) -> Values:
    """Each term's share of the summed gradient norms at the embeddings, `gradient/target/triplet` and so on."""
    sides = {"source": step.encoded_by_source, "target": step.encoded_by_target}
    embeddings = {name: side.z for name, side in sides.items() if side is not None and side.z.requires_grad}
    result = {}
    for where, norms in gradient_norms(values, embeddings).items():
        total = torch.stack(list(norms.values())).sum().clamp_min(1e-20)
        for name, norm in norms.items():
            result[f"gradient/{where}/{name}"] = float(norm / total)
    return result


def report(
    team: Team, experiment: Experiment, phase: Phase, state: PhaseState, watch: Watch, clock: Callable[[], float]
) -> None:
    """What is due after a step: values, evaluation, checkpoint, and the question whether to stop."""
    last, loss = state.step == phase.steps, None
    if state.window.values and (last or state.step % experiment.evaluation.gradient_every == 0):
        watch.alarms.settle()
        values = state.window.means()
        loss = values["loss/total"]
        watch.log(state.step, {**values, "learning_rate": state.optimizer.param_groups[0]["lr"], "seconds": clock()})
        watch.alarms.show(state.step, read=True)
    watch.advance(state.step, loss)
    if last or state.step % experiment.evaluation.every == 0:
        watch.alarms.settle()  # what is no number cannot be evaluated
        watch.evaluate(state.step)
    stop, alarmed = team.any(watch.stopping()), watch.alarms.stopped
    if stop or alarmed or (state.step % experiment.runtime.checkpoint_every == 0 and not last):
        watch.alarms.settle()
        watch.checkpoint(clock())
    if alarmed is not None:
        raise alarmed
    if stop:
        raise Interrupted("The run was asked to stop. Its state is saved.")


def calibrate(network: Network, batches: Batches, steps: int) -> None:
    """Estimate the target's batch statistics anew from clean target batches (AdaBN, Li et al. 2016).

    Those of a `Frozen` backbone stay.
    """
    branch = network.branches["target"]
    modules = [*(() if frozen(branch) else branch.modules()), network.head.norms["target"]]
    target = [m for m in modules if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = {m: m.momentum for m in target}
    with evaluating(network), torch.no_grad():
        for norm in target:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over all batches
            norm.train()
        for step in range(steps):
            batches.team.encode(network, "target", [Portion(batches.clean_target(step), batches.target_batch)])
    for norm in target:
        norm.momentum = momenta[norm]
