"""Steps whose loss or gradient is no number: found, told, and kept from every weight."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from domainmetric.alarms.non_finite import NonFinite
from domainmetric.step import Step
from domainmetric.training.state import PhaseState


class Soundness:
    """Asks of each step whether its numbers are finite: at once on a CPU and to skip, else at the next `settle`."""

    def __init__(self, alarm: NonFinite | None, device: torch.device) -> None:
        self.alarm = alarm
        self.at_once = alarm is not None and (device.type == "cpu" or alarm.action == "skip")
        self._open: list[tuple[int, Tensor]] = []
        self._kept: list[Tensor] = []

    def keep(self, state: PhaseState) -> None:
        """Before a step that may be skipped: remember what its forward pass changes."""
        if self.alarm is not None and self.alarm.action == "skip":
            self._kept = [buffer.clone() for buffer in buffers(state)]

    def undo(self, state: PhaseState) -> None:
        """Put it back."""
        with torch.no_grad():
            for buffer, kept in zip(buffers(state), self._kept, strict=True):
                buffer.copy_(kept)

    def first_unsound(self, total: Tensor, state: PhaseState) -> int | None:
        """After a backward pass: the step that is known to be unsound, counted from 0; None while none is."""
        if self.alarm is None:
            return None
        gradients = [p.grad for group in state.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms = torch._foreach_norm(gradients)
        self._open.append(
            (state.step, torch.stack([total.detach().float(), *(n.float() for n in norms)]).isfinite().all())
        )
        return self.settle() if self.at_once else None

    def settle(self) -> int | None:
        """The first unsound step since the last time, in one read."""
        steps, flags = [step for step, _ in self._open], [flag for _, flag in self._open]
        self._open.clear()
        if not flags:
            return None
        bad = (~torch.stack(flags)).nonzero().flatten().tolist()
        return steps[bad[0]] if bad else None


def buffers(state: PhaseState) -> chain[Tensor]:
    """What a forward pass changes: batch statistics, and what terms remember."""
    return chain(state.network.buffers(), state.objective.buffers())


def batch_of(step: Step) -> dict[str, Tensor]:
    """The images (those of this process), rows and embeddings of a step, as tensors to write down."""
    found: dict[str, Tensor] = {"source/z": step.encoded_source.z, "source/labels": step.source.labels}
    found |= {"source/images": step.source.images, "source/rows": step.source.rows}
    if step.target is not None:
        found |= {"target/images": step.target.images, "target/rows": step.target.rows, "target/z": step.z_t}
    return found


def what_is_unsound(step: Step, values: Mapping[str, Tensor], state: PhaseState) -> str:
    """The first of inputs, embeddings, losses and gradients that is not finite, in one sentence."""
    batch = batch_of(step)
    stages: list[tuple[str, Mapping[str, Any]]] = [
        ("images of the", {name: batch[f"{name}/images"] for name in ("source", "target") if f"{name}/z" in batch}),
        ("embeddings of the", {name: batch[f"{name}/z"] for name in ("source", "target") if f"{name}/z" in batch}),
        ("loss of", values),
        ("gradient of", {name: p.grad for name, p in state.network.named_parameters() if p.grad is not None}),
        ("gradient of", {name: p.grad for name, p in state.objective.named_parameters() if p.grad is not None}),
    ]
    for what, tensors in stages:
        bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
        if bad:
            return f"Not finite: {what} {', '.join(bad[:3])}{f' and {len(bad) - 3} more' if len(bad) > 3 else ''}."
    return "The sum of the losses is not finite, though each of them is."
