"""What alarms, audit and checkpoints cost a training step, and W&B beside it, on `quick_full`.

Command: `python -m experiments.benchmarks.trust` (`--pairs 40`); it needs the prepared data (`python -m data_prep svhn
mnist`). Steps of the adaptation with the alarms and without them take turns in one process and one loop, in the order
of the Thue-Morse sequence, which no period in the work keeps step with; told is the median of the ratios of neighbors,
with quartiles. CPU time, since it changes less on a busy machine, and wall time beside it.

Such ratios scatter by more than the alarms cost. So what is asked of the alarms is timed by itself, too: the CPU time
of every call, as a share of the rest of its step. What is done now and then (a checkpoint, the look at an evaluation,
the audit at the start of a run, the look at the wiring in the first steps) is timed where it is done, and spread over
the steps of the recipe. W&B's child is given a short log and, as by a run, ten seconds to forward it; however slow or
frozen it is, steps never wait for it (`tests/faults/test_wandb.py`).

Finding (two threads, quiet machine): alarms 0.2% of a step, checkpoints 0.14%, the audit of data seen for the first
time 0.41%: 0.78% together. A step with the alarms takes 1.000 of its neighbor without them, by CPU time (quartiles
0.993 and 1.014).
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

from domainmetric import Experiment
from domainmetric.alarms.sight import Seen
from domainmetric.audit.record import audit
from domainmetric.runner import data_root
from domainmetric.tracking import Tracking
from domainmetric.training import runtime
from domainmetric.training.alarm_board import AlarmBoard
from domainmetric.training.batches import RunData, load
from domainmetric.training.checkpoint import write_tensors
from domainmetric.training.circumstances import data_hashes
from domainmetric.training.evaluation import Look
from domainmetric.training.phases import build, new_network
from domainmetric.training.state import PhaseState
from domainmetric.training.tracking import Log
from domainmetric.training.wandb_mirror import start_mirror
from domainmetric.training.wiring import NUM_STEPS
from experiments.benchmarks.machine import facts
from experiments.benchmarks.matching import HERE, publish
from experiments.benchmarks.trust_turns import CPU, PHASE, WALL, Switched, Turns, train_in_turns
from experiments.svhn_to_mnist import quick_full
from experiments.tables import markdown

MIRROR, VIEW = "W&B, offline: in the run's process", "W&B, offline: in its own process, which gives way"
NOT_COUNTED = (MIRROR, VIEW, "audit, of data seen before")


def cpu_of(work: Callable[[], object], times: int) -> float:
    """The median CPU seconds of some work."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return median(taken)


@dataclass(frozen=True, kw_only=True)
class Share:
    """Something that a run does beside training, as a share of a step of the adaptation, by CPU time."""

    what: str
    ms: float
    """Each time."""
    every: float
    """Steps between two of them."""
    step_ms: float
    """A step without it."""

    @property
    def share(self) -> float:
        """Of a step, where it is spread over the steps."""
        return self.ms / self.every / self.step_ms


def measure(experiment: Experiment, steps: int) -> tuple[list[Share], Turns]:
    """Everything, in one process. Writes into a temporary folder."""
    fabric = runtime.fabric(experiment.runtime)
    with runtime.arithmetic(experiment.runtime), tempfile.TemporaryDirectory() as place:
        experiment = replace(experiment, runs_root=Path(place))
        data, phase = load(experiment, data_root(experiment), fabric.device), experiment.phases[PHASE]
        state, batches = build(experiment, new_network(experiment, fabric.device), data, PHASE, phase)
        board = AlarmBoard(
            alarms=experiment.alarms,
            phase=PHASE,
            steps=phase.steps,
            num_classes=len(experiment.data.classes),
            state=state,
            folder=experiment.runs_root,
            tell=lambda told: None,
        )
        turns = Turns(switch=Switched(board=board), steps=steps, rare=experiment.evaluation.gradient_every)
        with closing(batches), closing(Log(Path(place))) as log:
            train_in_turns(fabric, experiment, state, batches, turns, log)
        return [*of_alarms(experiment, turns), *now_and_then(experiment, state, board, data, turns.plain_ms)], turns


def of_alarms(experiment: Experiment, turns: Turns) -> list[Share]:
    """What the alarms take, by the CPU time of every call."""
    on = [(step, 1e3 * alarms) for step, (on, _, _, alarms) in enumerate(turns.times) if on and step >= NUM_STEPS]
    ordinary = [ms for step, ms in on if not turns.is_rare(step)]
    rare = [ms - median(ordinary) for step, ms in on if turns.is_rare(step)]
    first = sum(1e3 * cpu - turns.plain_ms for _, _, cpu, _ in turns.times[1:NUM_STEPS]) / (NUM_STEPS - 1)
    every = {
        "alarms: every step": (mean(ordinary), 1),
        "alarms: gradient shares, and values read": (2 * mean(rare), turns.rare),  # in two steps of each period
        f"alarms: the wiring, in {NUM_STEPS} steps": (NUM_STEPS * first, experiment.phases[PHASE].steps),
    }
    return [Share(what=what, ms=ms, every=steps, step_ms=turns.plain_ms) for what, (ms, steps) in every.items()]


def now_and_then(
    experiment: Experiment, state: PhaseState, board: AlarmBoard, data: RunData, step_ms: float
) -> list[Share]:
    """What comes with an evaluation, with a checkpoint, and once in a run."""
    folder, phase = experiment.runs_root, experiment.phases[PHASE]
    evidence = Look.choose(experiment, data).evidence(state.network)
    hashes = data_hashes(experiment)

    def checkpoint() -> None:
        write_tensors(folder / "checkpoint", state.tensors(), {}, keep=folder / "before")

    def mirrored() -> None:
        with closing(Log(folder)):
            mirror = start_mirror(folder, Tracking(wandb="offline"))
        mirror.close()

    steps = sum(phase.steps for phase in experiment.phases.values())
    done: dict[str, tuple[Callable[[], object], int, float]] = {
        "alarms: the look at an evaluation": (
            lambda: board.show(phase.steps, seen=Seen(evidence=evidence, matches=None)),
            3,
            experiment.evaluation.every,
        ),
        "checkpoint": (checkpoint, 3, experiment.runtime.checkpoint_every),
        "audit, of data seen for the first time": (lambda: audit(experiment, data, hashes), 1, steps),
        "audit, of data seen before": (lambda: audit(experiment, data, hashes), 1, steps),
        MIRROR: (mirrored, 1, steps),
    }
    taken = {what: (cpu_of(work, times), every) for what, (work, times, every) in done.items()}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # only the mirror was one
    taken[VIEW] = (used.ru_utime + used.ru_stime, steps)
    return [Share(what=what, ms=1e3 * cpu, every=every, step_ms=step_ms) for what, (cpu, every) in taken.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.trust", description="The cost of trust.")
    parser.add_argument("--pairs", type=int, default=40, help="pairs of steps (default: 40)")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the results")
    chosen = parser.parse_args(arguments)
    experiment = quick_full()
    experiment = replace(experiment, runtime=replace(experiment.runtime, device="cpu", threads=1))
    shares, turns = measure(experiment, NUM_STEPS + 2 * chosen.pairs)
    told = facts(runtime.fabric(experiment.runtime).device)
    head = ("", "CPU, ms", "once in so many steps", "share of a step")
    cells = [(one.what, f"{one.ms:.2f}", f"{one.every:,.0f}", f"{one.share:.2%}") for one in shares]
    trust = sum(one.share for one in shares if one.what not in NOT_COUNTED)
    cells.append(("alarms, first audit and checkpoints together", "", "", f"{trust:.2%}"))
    text = markdown(head, cells)
    found: dict[str, Any] = {**told, "step_ms": turns.plain_ms, "together": trust, "shares": list(map(asdict, shares))}
    text += (
        f"\n\nA step without the alarms: {turns.plain_ms:.0f} ms of CPU. With them, over its neighbor without them: "
    )
    for kind, name in ((CPU, "CPU"), (WALL, "wall")):
        low, middle, high = quantiles(turns.pairs(kind), n=4)
        found[f"pairs_{name}"] = turns.pairs(kind)
        text += f"{middle:.3f} by {name} time (quartiles {low:.3f} to {high:.3f}){'; ' if kind == CPU else ''}"
    text += f", of {len(turns.pairs(CPU))} pairs.\n\n{', '.join(f'{name} {value}' for name, value in told.items())}.\n"
    publish(chosen.results, "trust", text, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
