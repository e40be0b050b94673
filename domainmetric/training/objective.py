"""One training step, from batches to the weighted sum of its terms. All data flow of the method is in this file."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from domainmetric.anchors.base import AnchorMatcher
from domainmetric.models.network import Network
from domainmetric.pairs import Role, StepPairs
from domainmetric.step import Need, PartContext, PartModule, Step
from domainmetric.terms import Term
from domainmetric.training.batches import Batches
from domainmetric.training.parts import part
from domainmetric.types import Group, Matches, TargetBatch


class Objective(nn.Module):
    """The terms of one phase, on what the step prepares for them."""

    def __init__(
        self,
        terms: Mapping[str, Term],
        needs: frozenset[Need],
        context: PartContext,
        *,
        train_both_branches: bool = False,
    ) -> None:
        super().__init__()
        self.terms, self.needs, self.train_both_branches = dict(terms), needs, train_both_branches
        self.parts = nn.ModuleDict({name: term.part.build(context) for name, term in terms.items()})

    def prepare(
        self,
        network: nn.Module,  # a Network, in Fabric's wrapper
        batches: Batches,
        step: int,
        progress: float,
        *,
        teacher: Network | None = None,
        matcher: AnchorMatcher | None = None,
    ) -> Step:
        """Load, match and encode what the terms of this phase look at."""
        target = batches.target(step) if "target" in self.needs else None
        encoded_target = None if target is None else network("target", target.images)

        matches = None
        if "matches" in self.needs and target is not None and teacher is not None and matcher is not None:
            with part("teacher and matching"):
                matches = match(teacher, matcher, target)
        matched = None if matches is None or "matched" not in self.needs else matches.source_index.flatten()
        source = batches.source(step)
        together = [source.images] if matched is None else [source.images, batches.matched(step, matched)]
        encoded = network("source", torch.cat(together))
        sizes = [len(source.rows)] + ([] if matched is None else [len(matched)])
        encoded_source, *encoded_matched = encoded.cut(sizes)

        labelled = batches.labelled_target(step) if "labelled_target" in self.needs else None
        pairs = None
        if "pairs" in self.needs:
            groups: dict[Role, Group] = {"source": Group(z=encoded_source.z, labels=source.labels)}
            if matches is not None and encoded_target is not None:
                groups["target"] = Group(z=encoded_target.z, labels=matches.label, keep=matches.keep)
            if matches is not None and encoded_matched:
                anchors = matches.source_index.shape[1]
                label, keep = matches.label.repeat_interleave(anchors), matches.keep.repeat_interleave(anchors)
                groups["matched"] = Group(z=encoded_matched[0].z, labels=label, keep=keep)
            with part("pairs"):
                pairs = StepPairs(groups)
        return Step(
            source=source,
            encoded_source=encoded_source,
            encoded_by_source=encoded,
            encoded_source_by_target=network("target", source.images) if self.train_both_branches else None,
            target=target,
            encoded_target=encoded_target,
            matches=matches,
            pairs=pairs,
            labelled_target=labelled,
            encoded_labelled=None if labelled is None else network("target", labelled.images),
            progress=progress,
            generator=batches.generator(step, "mining"),
        )

    def forward(self, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Each term's weighted loss, by name."""
        values = {}
        for name, term in self.terms.items():
            part = self.parts[name]
            assert isinstance(part, PartModule)
            values[name] = part(step) * (term.weight * term.schedule.at(step.progress))
        return values


@torch.no_grad()
def match(teacher: Network, matcher: AnchorMatcher, target: TargetBatch) -> Matches:
    """Who stands for whom, as the teacher sees the clean target views."""
    seen = teacher("target", target.clean)
    matches: Matches = matcher(target.rows, seen.z, seen.logits)
    return matches


def gradient_norms(values: Mapping[str, Tensor], embeddings: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Norm of each term's gradient at each set of embeddings: {embeddings' name: {term: norm}}."""
    norms: dict[str, dict[str, Tensor]] = {where: {} for where in embeddings}
    for name, value in values.items():
        if not value.requires_grad:
            continue
        gradients = torch.autograd.grad(value, list(embeddings.values()), retain_graph=True, allow_unused=True)
        for where, gradient in zip(embeddings, gradients, strict=True):
            norms[where][name] = value.new_zeros(()) if gradient is None else gradient.norm()
    return norms
