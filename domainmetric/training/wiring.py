"""What a step does to everything that can move: seen in a phase's first two steps, when faults of wiring show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from domainmetric.alarms.sight import Movement, Wiring
from domainmetric.experiment import AdaptationPhase, Phase
from domainmetric.training.ema import values_of
from domainmetric.training.state import PhaseState, frozen, parts_of

NUM_STEPS = 2
"""Two, since schedules that begin at zero are above it in the second."""
ROUNDING = 2e-7
"""Of a float32, relative."""


class BeforeStep:
    """The network and the teacher as they are before a step."""

    def __init__(self, state: PhaseState, phase: Phase) -> None:
        self.phase = phase
        parts = parts_of(state.network)
        self.weights = {name: copies(part.parameters()) for name, part in parts.items()}
        self.statistics = {name: copies(statistics_of(part)) for name, part in parts.items()}
        self.teacher = None if state.teacher is None else copies(values_of(state.teacher))

    def compare(self, state: PhaseState, losses: Mapping[str, float], progress: float) -> Wiring:
        """What the step did; `losses` are its weighted terms, and `progress` is that of its beginning."""
        acting = [name for name, loss in losses.items() if loss != 0]
        sides = frozenset().union(*(state.objective.terms[name].part.moves(progress) for name in acting))
        asked = {
            "source_branch": "source" in sides,
            "target_branch": "target" in sides or state.objective.train_both_branches,
            "head": bool(sides),
        }
        still = not any(group["lr"] > 0 for group in state.optimizer.param_groups)
        parts: dict[str, Movement] = {}
        for name, part in parts_of(state.network).items():
            shared = [other for other, module in parts_of(state.network).items() if module is part]
            now = list(statistics_of(part))
            parts[name] = Movement(
                trains=not frozen(part) and any(other in self.phase.trainable for other in shared),
                asked=not still and any(asked.get(other, False) for other in shared),
                gradient=any(p.grad is not None and bool(p.grad.any()) for p in part.parameters()),
                weights=differ(self.weights[name], part.parameters()),
                statistics=differ(self.statistics[name], now) if now else None,
            )
        teacher = state.teacher
        return Wiring(
            parts=parts,
            teacher=None if teacher is None else self._astray(teacher, state.network),
            teacher_trains=teacher is not None and any(module.training for module in teacher.modules()),
        )

    def _astray(self, teacher: nn.Module, network: nn.Module) -> float:
        """The teacher's distance from where its decay should have taken it, as a share of the way there."""
        assert self.teacher is not None and isinstance(self.phase, AdaptationPhase)
        before, after, there = flat(self.teacher), flat(values_of(teacher)), flat(values_of(network))
        due = torch.lerp(before, there, 1 - self.phase.ema)
        off = (after - due).norm() - ROUNDING * before.norm()
        return float(off.clamp_min(0) / (due - before).norm().clamp_min(1e-30))


def statistics_of(part: nn.Module) -> Iterable[Tensor]:
    """The running means of a part's batch normalizations."""
    norms = (module for module in part.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d))
    return [norm.running_mean for norm in norms if norm.running_mean is not None]


def copies(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Copies without a graph."""
    return [tensor.detach().clone() for tensor in tensors]


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All floating numbers in one line, in double precision."""
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors if tensor.is_floating_point()])


def differ(one: Iterable[Tensor], other: Iterable[Tensor]) -> bool:
    """Whether any tensor differs from its counterpart."""
    return any(not torch.equal(a, b) for a, b in zip(one, other, strict=True))
