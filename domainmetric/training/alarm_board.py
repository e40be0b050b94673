"""The alarms of one phase at work: they are shown what was read, and what they find is told and acted upon."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from domainmetric.alarms.base import Alarm, Finding
from domainmetric.alarms.fallback import calmer
from domainmetric.alarms.non_finite import NonFinite
from domainmetric.alarms.sight import Gradients, Seen, Sight, Wiring
from domainmetric.errors import Alarmed
from domainmetric.step import Side, Step
from domainmetric.training.checkpoint import write_tensors
from domainmetric.training.finite import Soundness, batch_of, what_is_unsound
from domainmetric.training.session import Record, Session
from domainmetric.training.state import PhaseState
from domainmetric.training.tracking import read_log
from domainmetric.training.wiring import BeforeStep

Told = dict[str, Any]
"""An alarm that was raised: `name`, `subject`, `text`, `meaning`, `advice`, what was done (`action`, `exchanged`), and
the `phase` and its `step`."""


@dataclass(eq=False, kw_only=True)
class AlarmBoard:
    """Remembers what a phase has logged and which alarms were raised; both are read back from the log at a resume."""

    alarms: Mapping[str, Alarm]
    phase: str
    steps: int
    num_classes: int
    state: PhaseState
    folder: Path
    """Where the batch of an unsound step is saved."""
    tell: Callable[[Told], None]
    """Receives each alarm that is raised."""
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    stopped: Alarmed | None = None
    """What stops the run after this step, if anything does."""
    _last: tuple[int, Step, dict[str, Tensor]] | None = None
    """Number of the latest step, counted from 0, what it looked at, and its losses."""

    def __post_init__(self) -> None:
        guards = [alarm for alarm in self.alarms.values() if isinstance(alarm, NonFinite)]
        self.soundness = Soundness(guards[0] if guards else None, next(self.state.network.parameters()).device)
        for entry in self.told:
            self.exchange(entry["exchanged"])

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Take in what is logged. What knows target labels is left out."""
        for name, value in values.items():
            if "oracle" not in name:
                self.curves.setdefault(name, []).append((step, value))

    def moved(self, values: Mapping[str, Tensor], shares: Mapping[str, float], before: BeforeStep | None) -> None:
        """Show what the last step did: each term to the embeddings, and all terms to the network.

        `shares` bear the names that are logged; how the network was `before` is known of the first steps alone.
        """
        step, losses = self.state.step, {name: float(value.detach()) for name, value in values.items()}
        nested: dict[Side, dict[str, float]] = {}
        for name, share in shares.items():
            side, _, term = name.removeprefix("gradient/").partition("/")
            nested.setdefault("source" if side == "source" else "target", {})[term] = share
        progress = (step - 1) / self.steps
        self.show(
            step,
            gradients=Gradients(progress=progress, losses=losses, shares=nested),
            wiring=None if before is None else before.compare(self.state, losses, progress),
        )

    def show(
        self,
        step: int,
        *,
        read: bool = False,
        gradients: Gradients | None = None,
        wiring: Wiring | None = None,
        seen: Seen | None = None,
        unsound: str = "",
    ) -> None:
        """Show all alarms what there is to see after `step` steps, and act on what they find."""
        sight = Sight(
            step=step,
            steps=self.steps,
            terms=self.state.objective.terms,
            num_classes=self.num_classes,
            curves=self.curves,
            read=read,
            gradients=gradients,
            wiring=wiring,
            seen=seen,
            unsound=unsound,
        )
        for name, alarm in self.alarms.items():
            for finding in alarm.find(sight):
                if not any((entry["name"], entry["subject"]) == (name, finding.subject) for entry in self.told):
                    self.raise_alarm(name, alarm, finding, step)

    def raise_alarm(self, name: str, alarm: Alarm, finding: Finding, step: int) -> None:
        """Tell a finding, and do what its alarm says."""
        done = {term for entry in self.told for term in entry["exchanged"]}  # each term once, whatever is found later
        left = [term for term in self.state.objective.terms if term not in done]
        exchanged = self.exchange(left) if alarm.action == "fallback" else []
        entry: Told = {
            "phase": self.phase,
            "step": step,
            "name": name,
            "subject": finding.subject,
            "text": finding.text,
            "meaning": alarm.meaning,
            "advice": alarm.advice,
            "action": alarm.action,
            "exchanged": exchanged,
        }
        self.told.append(entry)
        self.tell(entry)
        if alarm.action == "stop":
            self.stopped = self.stopped or Alarmed(
                f"{sentence(entry)} In spite of it: domainmetric resume {self.folder}"
            )

    def exchange(self, names: Sequence[str]) -> list[str]:
        """Exchange the named terms for calmer ones, where there are such. Returns the names of those."""
        calmed = {name: calmer(self.state.objective.terms[name]) for name in names}
        for name, term in calmed.items():
            if term is not None:
                self.state.objective.exchange(name, term)
        return [name for name, term in calmed.items() if term is not None]

    def sound(self, total: Tensor, step: Step, values: Mapping[str, Tensor]) -> bool:
        """After a backward pass: whether the optimizer may make its step. Raises Alarmed where the run is to stop."""
        self._last = (self.state.step, step, {name: value.detach() for name, value in values.items()})
        found = self.soundness.first_unsound(total, self.state)
        if found is None:
            if self.soundness.at_once:  # nobody will ask for this step again, so its tensors may go
                self._last = None
            return True
        self.unsound(found)
        self.soundness.undo(self.state)
        return False

    def settle(self) -> None:
        """Raise Alarmed where a step since the last reading was unsound and nobody looked. The last batch is saved."""
        found = self.soundness.settle()
        if found is not None:
            self.unsound(found)

    def unsound(self, found: int) -> None:
        """Save the batch and tell. Raises Alarmed unless the step is to be skipped.

        Where nobody looked at once, the batch of the unsound step is gone, and that of the latest is saved as such.
        """
        alarm = self.soundness.alarm
        assert alarm is not None and self._last is not None
        latest, step, values = self._last
        text = what_is_unsound(step, values, self.state)
        seen = "" if latest == found else f"-seen-{latest + 1}"
        path = self.folder / f"non_finite-{self.phase}-{found + 1}{seen}.safetensors"
        facts = {"phase": self.phase, "step": found + 1, "batch_step": latest + 1, "text": text}
        write_tensors(path, batch_of(step), facts)
        of = f" of step {latest + 1}, after which it was seen," if seen else ""
        self.show(found + 1, unsound=f"{text} The batch{of} is saved in {path.name}.")
        name = next(name for name, other in self.alarms.items() if other is alarm)
        skipped = [entry for entry in self.told if entry["name"] == name]
        if alarm.action == "stop" or len(skipped) > alarm.most:
            raise Alarmed(sentence(skipped[-1]))


def sentence(entry: Told) -> str:
    """An alarm for people, in one paragraph."""
    done = f" Exchanged: {', '.join(entry['exchanged'])}." if entry["exchanged"] else ""
    where = f"{entry['name']} at step {entry['step']} of {entry['phase']}"
    return f"Alarm: {where}. {entry['text']}{done} {entry['meaning']} Try: {entry['advice']}"


def open_board(session: Session, record: Record, state: PhaseState, steps: int, offset: int) -> AlarmBoard:
    """The alarms of the phase in progress, with what the log tells of its steps so far: all of it, after a resume.

    `offset` is the run's step at which the phase begins, and `steps` is its length.
    """
    if record.step == 0:
        record.phase_began = session.team.told(session.log.save)

    def tell(told: Told) -> None:
        session.log.alarm(offset + told["step"], told)
        session.progress.tell(sentence(told))

    earlier = read_log(session.folder, record.phase_began)
    board = AlarmBoard(
        alarms=session.experiment.alarms,
        phase=list(session.experiment.phases)[record.phase],
        steps=steps,
        num_classes=len(session.data.source_train.classes),
        state=state,
        folder=session.folder,
        tell=tell,
        told=[{**line, "step": line["step"] - offset} for line in earlier if line["kind"] == "alarm"],
    )
    for line in earlier:
        if line["kind"] == "metrics":
            board.add(line["step"] - offset, line["values"])
    return board
