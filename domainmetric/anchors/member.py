"""Which member of the matched class is the anchor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from domainmetric.anchors.base import AnchorContext, AnchorMatcher, AnchorStrategy, Picker
from domainmetric.anchors.modifier import Modifier, ModifierMatcher
from domainmetric.errors import ConfigError
from domainmetric.randomness import generator
from domainmetric.types import Bank, Matches


@dataclass(frozen=True, kw_only=True)
class Member(Modifier):
    """Another strategy's matched classes, with anchors of its own choice among the class's items in the source bank.

    A target item whose class has no item there is not matched. Confidence is the inner strategy's.
    """

    policy: Literal["nearest", "hardest", "random"] = "nearest"
    """`nearest`: highest cosine first; `hardest`: lowest cosine first; `random`: drawn anew at every refresh, by seed
    and target row, whatever the batch."""
    num_anchors: int = 1
    """Source items chosen for each target item. A class with fewer of them gives some more than once."""

    def __post_init__(self) -> None:
        if self.policy not in ("nearest", "hardest", "random"):
            raise ConfigError(f"Member.policy must be nearest, hardest or random, but is {self.policy!r}.")
        if self.num_anchors < 1:
            raise ConfigError(f"Member.num_anchors must be at least 1, but is {self.num_anchors}.")
        refuse_other_choices(self.inner)

    def build(self, context: AnchorContext) -> AnchorMatcher:
        return _Member(self, context)


def refuse_other_choices(strategy: AnchorStrategy) -> None:
    """Raise ConfigError if a strategy inside of a `Member` chooses members in a way that would be ignored."""
    if isinstance(strategy, Member):
        raise ConfigError("A Member inside of a Member would be ignored: leave one of them out.")
    if isinstance(strategy, Modifier):
        refuse_other_choices(strategy.inner)
    if isinstance(strategy, Picker) and strategy.num_anchors != 1:
        raise ConfigError(
            f"Member chooses the anchors, so {type(strategy).__name__}.num_anchors={strategy.num_anchors} would be "
            "ignored: set Member.num_anchors instead."
        )


class _Member(ModifierMatcher):
    by_row = True

    def __init__(self, spec: Member, context: AnchorContext) -> None:
        super().__init__(spec, context)
        self.spec, self.seed, self.num_targets = spec, context.seed, len(context.target)
        self.num_classes = len(context.source.classes)

    def refresh(self, source_bank: Bank, target_bank: Bank | None) -> None:
        super().refresh(source_bank, target_bank)
        self.keep_source(source_bank)
        if self.spec.policy == "random":
            self.draw()

    def draw(self) -> None:
        """Shuffle the bank within its classes, and give each target row a place to start from."""
        generation = self.memory.get(self.own("generation"), torch.zeros((), dtype=torch.int64)) + 1
        random = generator("cpu", self.seed, "member", self.depth, int(generation))
        labels = self.source.labels
        shuffled = torch.randperm(len(labels), generator=random).to(labels.device)
        start = torch.randint(1 << 31, (self.num_targets,), generator=random).to(labels.device)
        order = shuffled[labels[shuffled].argsort(stable=True)]
        self.memory |= {self.own("generation"): generation, self.own("start"): start, self.own("order"): order}

    def modify(self, matches: Matches, target_index: Int64[Tensor, " m"], z_t: Float[Tensor, "m d"]) -> Matches:
        source, num = self.source, self.spec.num_anchors
        if self.spec.policy == "random":
            index = self.random(matches.label, target_index)
        else:
            choose = source.nearest if self.spec.policy == "nearest" else source.farthest
            index = choose(z_t, matches.label, num)
        return replace(matches, source_index=index, keep=matches.keep & source.has(matches.label, self.num_classes))

    def random(self, label: Int64[Tensor, " m"], target_index: Int64[Tensor, " m"]) -> Int64[Tensor, "m num"]:
        """Successive members of the shuffled classes, from the place of each target row, round and round."""
        count = self.source.labels.bincount(minlength=self.num_classes)
        first = (count.cumsum(0) - count)[label]
        ahead = torch.arange(self.spec.num_anchors, device=label.device)
        place = (self.memory[self.own("start")][target_index, None] + ahead) % count[label].clamp_min(1)[:, None]
        within = (first[:, None] + place).clamp_max(len(self.source.rows) - 1)  # of a class that the bank lacks
        return self.source.rows[self.memory[self.own("order")][within]]
