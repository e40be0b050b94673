"""Everything that moves during a phase, as one flat dict of tensors that can be written down and taken up again."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from domainmetric.anchors.base import AnchorMatcher
from domainmetric.data.matched_rows import MatchedRows
from domainmetric.errors import RunFolderError
from domainmetric.experiment import Trainable
from domainmetric.models.network import Branch, Network
from domainmetric.training.anchor_track import AnchorTrack
from domainmetric.training.objective import Objective
from domainmetric.training.target_anchors import TargetAnchors


@dataclass(eq=False)
class Window:
    """Losses and notes since the last report, kept on the device."""

    values: list[dict[str, Tensor]] = field(default_factory=list)

    def add(self, values: dict[str, Tensor]) -> None:
        """Take in what one step told, under the same names as every step of the phase."""
        self.values.append({name: value.detach() for name, value in values.items()})

    def means(self) -> dict[str, float]:
        """The mean of each name over the window, in one read; the window starts anew.

        Names are sorted, since those of a restored window come in another order, and a column's place decides how its
        sum is rounded.
        """
        names = sorted(self.values[0])
        table = torch.stack([torch.stack([values[name].float() for name in names]) for values in self.values]).mean(0)
        self.values.clear()
        return dict(zip(names, table.tolist(), strict=True))

    def tensors(self) -> dict[str, Tensor]:
        """The open window: for each name its values, step by step."""
        names = self.values[0] if self.values else ()
        return {name: torch.stack([values[name] for values in self.values]) for name in names}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up what `tensors` wrote down."""
        columns = [column.unbind() for column in tensors.values()]
        self.values = [dict(zip(tensors, row, strict=True)) for row in zip(*columns, strict=True)]


@dataclass(eq=False)
class PhaseState:
    """The moving parts of one phase."""

    network: Network
    objective: Objective
    optimizer: torch.optim.Optimizer
    teacher: Network | None
    matcher: AnchorMatcher | None
    matched_rows: MatchedRows | None = None
    """Where target batches are drawn by matched label: which target rows, and their labels."""
    target_anchors: TargetAnchors | None = None
    """Where target items stand for source items: which there are to choose from."""
    anchor_track: AnchorTrack = field(default_factory=AnchorTrack)
    """What is remembered of the anchors between looks."""
    step: int = 0
    """Steps done."""
    window: Window = field(default_factory=Window)
    """What the steps since the last report told."""

    def tensors(self) -> dict[str, Tensor]:
        """All of it, under names that tell where it belongs."""
        state = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        state |= {f"objective/{name}": value for name, value in self.objective.state_dict().items()}
        if self.teacher is not None:
            state |= {f"teacher/{name}": value for name, value in self.teacher.state_dict().items()}
        if self.matcher is not None:
            state |= {f"matcher/{name}": value for name, value in self.matcher.memory.items()}
        if self.matched_rows is not None:
            state |= {f"matched_rows/{name}": value for name, value in self.matched_rows.memory.items()}
        if self.target_anchors is not None:
            state |= {f"target_anchors/{name}": value for name, value in self.target_anchors.memory.items()}
        state |= {f"anchor_track/{name}": value for name, value in self.anchor_track.tensors().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in values.items()}
        state |= {f"window/{name}": value for name, value in self.window.tensors().items()}
        return state

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Take up what `tensors` wrote down. Raises RunFolderError where the names or shapes do not fit."""
        parts = group(tensors)
        load_weights(self.network, parts.get("network", {}))
        load_weights(self.objective, parts.get("objective", {}))
        if self.teacher is not None:
            load_weights(self.teacher, parts.get("teacher", {}))
        device = next(self.network.parameters()).device
        if self.matcher is not None:
            self.matcher.memory.clear()
            self.matcher.memory.update({k: v.to(device) for k, v in parts.get("matcher", {}).items()})
        if self.matched_rows is not None:
            self.matched_rows.restore(parts.get("matched_rows", {}))
        if self.target_anchors is not None:
            self.target_anchors.restore({k: v.to(device) for k, v in parts.get("target_anchors", {}).items()})
        self.anchor_track.restore(parts.get("anchor_track", {}))
        moving = [p for held in self.optimizer.param_groups for p in held["params"]]
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in parts.get("optimizer", {}).items():
            index, key = name.split("/")
            states.setdefault(int(index), {})[key] = laid_out(value, moving[int(index)])
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": states})
        self.window.restore({name: value.to(device) for name, value in parts.get("window", {}).items()})
        self.step = step


def laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """The value in the memory format of its parameter, as the optimizer made it: another may be rounded otherwise."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def load_weights(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give a module its weights. Raises RunFolderError where names or shapes do not fit."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunFolderError(f"The checkpoint does not fit this experiment: {error}") from error


def group(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors by the first part of their names."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        first, _, rest = name.partition("/")
        parts.setdefault(first, {})[rest] = value
    return parts


def parts_of(network: Network) -> dict[Trainable, nn.Module]:
    """The parts of the network that a phase may train or freeze."""
    return {
        "source_branch": network.branches["source"],
        "target_branch": network.branches["target"],
        "head": network.head,
        "classifier": network.classifier,
    }


def frozen(part: nn.Module) -> bool:
    """Whether a part of the network is a branch that no phase may train."""
    return isinstance(part, Branch) and part.spec.frozen


def set_training(network: Network, trainable: tuple[Trainable, ...]) -> dict[Trainable, list[nn.Parameter]]:
    """Freeze what is not named, in gradient and in batch statistics, and branches whose backbone is `Frozen`.

    Returns what moves, by part, each weight once.
    """
    parts = parts_of(network)
    network.eval().requires_grad_(False)
    for name in trainable:
        if not frozen(parts[name]):
            parts[name].train().requires_grad_(True)
    seen: set[int] = set()
    moving: dict[Trainable, list[nn.Parameter]] = {}
    for name, module in parts.items():
        moving[name] = [p for p in module.parameters() if p.requires_grad and id(p) not in seen]
        seen |= {id(p) for p in moving[name]}
    return moving
