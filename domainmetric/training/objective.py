"""One training step, from batches to the weighted sum of its terms. All data flow of the method is in this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from domainmetric.anchors.base import AnchorMatcher
from domainmetric.models.network import DomainName, Network
from domainmetric.pairs import Role, StepPairs
from domainmetric.parts import part
from domainmetric.step import Need, PartContext, PartModule, Step
from domainmetric.team.base import Portion, Team
from domainmetric.terms import Term
from domainmetric.training.batches import Batches
from domainmetric.training.target_anchors import Found, TargetAnchors
from domainmetric.types import Encoded, Group, Matches, SourceBatch, TargetBatch


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
        self.context = context
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
        target_anchors: TargetAnchors | None = None,
    ) -> Step:
        """Load, match and encode what the terms of this phase look at."""
        source = batches.source(step)
        target = batches.target(step) if "target" in self.needs else None
        found = None
        if "matched_target" in self.needs and teacher is not None and target_anchors is not None:
            with part("teacher and matching"):
                found = find(batches.team, teacher, target_anchors, source, batches.clean_source(source.rows))
        taught, matches = None, None
        if self.needs & {"taught", "matches"} and target is not None and teacher is not None:
            with part("teacher and matching"):
                taught, matches = teach(batches.team, teacher, target, matcher if "matches" in self.needs else None)
        matched = None if matches is None or "matched" not in self.needs else matches.source_index.flatten()
        shown = Portion(source.images, len(source.rows))
        # The source first: where its branch is frozen, nothing of its pass is left when that of the target is held.
        by_source, (encoded_source, encoded_matched) = encode_together(
            batches.team,
            network,
            "source",
            shown,
            None if matched is None else Portion(batches.matched(step, matched), len(matched)),
        )
        labelled = batches.labelled_target(step) if "labelled_target" in self.needs else None
        by_target, (encoded_target, encoded_found, encoded_labelled) = encode_together(
            batches.team,
            network,
            "target",
            None if target is None else Portion(target.images, len(target.rows)),
            None if found is None else Portion(batches.matched_target(step, found.rows), len(found.rows)),
            None if labelled is None else Portion(labelled.images, len(labelled.rows)),
        )
        assert by_source is not None and encoded_source is not None
        pairs = None
        if "pairs" in self.needs:
            of_source = Group(z=encoded_source.z, labels=source.labels)
            labels = batches.data.source_train.labels
            assert labels is not None
            pairs = pairs_of(of_source, encoded_target, matches, encoded_matched, found, encoded_found, labels)
        return Step(
            source=source,
            encoded_source=encoded_source,
            encoded_by_source=by_source,
            encoded_source_by_target=(
                batches.team.encode(network, "target", [shown]) if self.train_both_branches else None
            ),
            target=target,
            encoded_target=encoded_target,
            encoded_by_target=by_target,
            taught=taught,
            matches=matches,
            pairs=pairs,
            labelled_target=labelled,
            encoded_labelled=encoded_labelled,
            progress=progress,
            generator=batches.generator(step, "mining"),
        )

    def exchange(self, name: str, term: Term) -> None:
        """Put another term in the place of one. What its part remembers goes over; no optimizer knows new weights."""
        if term.part != self.terms[name].part:
            part, old = term.part.build(self.context), self.parts[name].state_dict()
            part.to(next((tensor.device for tensor in old.values()), None)).load_state_dict(old)
            self.parts[name] = part
        self.terms[name] = term

    def forward(self, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Each term's weighted loss, by name."""
        values = {}
        for name, term in self.terms.items():
            part = self.parts[name]
            assert isinstance(part, PartModule)
            values[name] = part(step) * (term.weight * term.schedule.at(step.progress))
        return values


def encode_together(
    team: Team, network: nn.Module, domain: DomainName, *images: Portion | None
) -> tuple[Encoded | None, list[Encoded | None]]:
    """One pass over all images that there are, so that batch statistics are those of all: the whole, and its parts."""
    there = [part for part in images if part is not None]
    if not there:
        return None, [None for _ in images]
    whole = team.encode(network, domain, there)
    parts = iter((whole,) if len(there) == 1 else whole.cut([part.total for part in there]))
    return whole, [None if part is None else next(parts) for part in images]


def pairs_of(
    source: Group,
    encoded_target: Encoded | None,
    matches: Matches | None,
    encoded_matched: Encoded | None,
    found: Found | None,
    encoded_found: Encoded | None,
    source_labels: Int64[Tensor, " s"],
) -> StepPairs:
    """All pairs among the rows that there are: random source, target, matched source, and matched target items."""
    groups: dict[Role, Group] = {"source": source}
    if matches is not None and encoded_target is not None:
        groups["target"] = Group(z=encoded_target.z, labels=matches.label, keep=matches.keep)
    if matches is not None and encoded_matched is not None:
        groups["matched"] = anchors_of(matches, encoded_matched, source_labels)
    if found is not None and encoded_found is not None:
        groups["matched_target"] = Group(z=encoded_found.z, labels=source.labels, keep=found.keep)
    with part("pairs"):
        return StepPairs(groups)


def anchors_of(matches: Matches, encoded: Encoded, source_labels: Int64[Tensor, " s"]) -> Group:
    """The matched source items, a for each target item, the first with the matched label and the others with their own.

    `source_labels` are those of the source training set. Where a strategy decides a class, all of them are the matched
    one. Where it picks items, the others may be of other classes, and are then no positives of the target item.
    """
    anchors = matches.source_index.shape[1]
    keep = matches.keep[:, None].expand(-1, anchors)
    others = source_labels[matches.source_index[:, 1:].where(keep[:, 1:], 0)]  # of dropped items it may be anything
    return Group(z=encoded.z, labels=torch.cat([matches.label[:, None], others], 1).flatten(), keep=keep.flatten())


@torch.no_grad()
def find(
    team: Team, teacher: Network, target_anchors: TargetAnchors, source: SourceBatch, clean: Float[Tensor, "own c h w"]
) -> Found:
    """Which target items stand for the source items, as the teacher sees the clean source views."""
    mine = team.share(len(source.rows))
    seen: Encoded = teacher("source", clean)
    return Found(*team.gather(target_anchors.nearest(seen.z, source.labels[mine]), len(source.rows)))


@torch.no_grad()
def teach(
    team: Team, teacher: Network, target: TargetBatch, matcher: AnchorMatcher | None
) -> tuple[Encoded, Matches | None]:
    """The clean target views as the teacher sees them, and by that who stands for whom."""
    count, seen = len(target.rows), teacher("target", target.clean)
    if matcher is None or not matcher.by_row:
        whole = Encoded(*team.gather(seen, count))
        return whole, None if matcher is None else agreed(team, matcher(target.rows, *whole))
    matches = tensors_of(matcher(target.rows[team.share(count)], *seen))
    z, logits, *values = team.gather([*seen, *matches.values()], count)
    return Encoded(z=z, logits=logits), Matches(**dict(zip(matches, values, strict=True)))


def agreed(team: Team, matches: Matches) -> Matches:
    """The leading process' matches: devices that add in an order of their own could decide otherwise on a tie."""
    own = tensors_of(matches)
    return Matches(**dict(zip(own, team.same(list(own.values())), strict=True)))


def tensors_of(matches: Matches) -> dict[str, Tensor]:
    """Its tensors by name."""
    return {field.name: getattr(matches, field.name) for field in fields(Matches)}


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
