"""Slow references of the losses: every triplet and every pair enumerated, in float64, with autograd's gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from domainmetric.geometry import Distance, normalize
from domainmetric.losses.base import MetricLoss
from domainmetric.pairs import Role, Roles, StepPairs, label_pairs
from domainmetric.types import Group, Pairs, Triplets
from tests.contracts.family import named
from tests.reference import all_triplets, columns, labels, listed, unit

FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ChordSquared": lambda x, y: ((x - y) ** 2).sum(),
    "Chord": lambda x, y: ((x - y) ** 2).sum().sqrt(),
    "Cosine": lambda x, y: 1 - (x * y).sum(),
    "Geodesic": lambda x, y: (x * y).sum().acos(),
    "Lp": lambda x, y: ((x - y + 1e-6) ** 2).sum().sqrt(),
}
"""Distances of two vectors, with a gradient. Those that are missing here are asked themselves, pair by pair."""

List = list[tuple[int, int, int]]


class Setting(NamedTuple):
    """Pairs, and the leaves that their gradients are taken at."""

    pairs: Pairs
    leaves: list[Tensor]


def settings(dtype: torch.dtype = torch.float64) -> dict[str, Setting]:
    """Small pairs within a set, across two, and with roles and dropped rows."""
    z, other, third = (unit(seed, n, dtype=dtype).requires_grad_() for seed, n in ((0, 10), (2, 7), (4, 7)))
    y, other_y, keep = labels(1, 10), labels(3, 7), torch.arange(7) != 2
    groups: dict[Role, Group] = {
        "source": Group(z=normalize(z), labels=y),
        "target": Group(z=normalize(other), labels=other_y, keep=keep),
        "matched": Group(z=normalize(third), labels=other_y, keep=keep),
    }
    step = StepPairs(groups)
    return {
        "within": Setting(label_pairs(z, y), [z]),
        "across": Setting(label_pairs(z, y, other, other_y), [z, other]),
        "roles": Setting(step.of(Roles()), [other, third]),
        "roles of three groups": Setting(
            step.of(Roles(anchor="target", positive="matched", negative="source")), [z, other, third]
        ),
    }


def table(distance: Distance, rows: Tensor, others: Tensor) -> Tensor:
    """The distances of all rows to all others, one by one; those that coincide are at zero."""
    formula = FORMULAS.get(named(distance), lambda x, y: distance.pairwise(x[None], y[None])[0])
    zero = rows.new_zeros(())
    return torch.stack([torch.stack([zero if torch.equal(x, y) else formula(x, y) for y in others]) for x in rows])


class Reference(NamedTuple):
    value: Tensor
    used: int
    active: int


class Case(NamedTuple):
    """What the formulas need: the loss, distances, similarities, distances among the columns, triplets and pairs."""

    loss: Any
    d: Tensor
    between: Tensor
    triplets: List
    positives: list[list[int]]
    negatives: list[list[int]]
    anchors: int

    @property
    def s(self) -> Tensor:
        return 1 - self.d

    def used(self) -> int:
        return sum(len(p) + len(n) for p, n in zip(self.positives, self.negatives, strict=True))


class Loops:
    """The references of all losses on one setting: distances are found once, since loops are slow."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self._tables: dict[Distance, tuple[Tensor, Tensor]] = {}

    def of(self, loss: MetricLoss, triplets: Triplets | None = None) -> Reference:
        measure: Distance = loss.measure  # type: ignore[attr-defined]
        if measure not in self._tables:
            rows, others = self.pairs.rows.z, self.pairs.columns.z
            self._tables[measure] = table(measure, rows, others), table(measure, others, others)
        d, between = self._tables[measure]
        every = range(len(d))
        positives, negatives = ([columns(m, a) for a in every] for m in (self.pairs.positive, self.pairs.negative))
        chosen = all_triplets(self.pairs) if triplets is None else listed(triplets)
        if triplets is not None:
            positives = [sorted({p for a, p, _ in chosen if a == row}) for row in every]
            negatives = [sorted({n for a, _, n in chosen if a == row}) for row in every]
        if not chosen:
            return Reference(d.sum() * 0, 0, 0)
        anchors = int(self.pairs.rows.kept().sum())
        case = Case(loss, d, between, chosen, positives, negatives, anchors)
        return REFERENCES[named(loss)](case, triplets is None)


def over_triplets(case: Case, value: Callable[[Tensor, Tensor], Tensor], chosen: List, hinge: bool) -> Reference:
    """The mean over triplets of a function of the two distances."""
    a, p, n = ([triplet[part] for triplet in chosen] for part in range(3))
    d_ap, d_an = case.d[a, p], case.d[a, n]
    if getattr(case.loss, "swap", False):
        d_an = torch.stack([min(near, other) for near, other in zip(d_an, case.between[p, n], strict=True)])
    values = value(d_ap, d_an)
    active = int((values > 0).sum()) if hinge else len(values)
    return Reference(values.sum() / max(1, len(values)), len(values), active)


def hinge(case: Case, everything: bool) -> Reference:
    return over_triplets(case, lambda ap, an: (ap - an + case.loss.margin).clamp(min=0), case.triplets, True)


def semi_hard(case: Case, everything: bool) -> Reference:
    d, m, chosen = case.d.detach(), case.loss.margin, case.triplets
    if everything:
        chosen = [(a, p, n) for a, p, n in chosen if d[a, p] < d[a, n] <= d[a, p] + m]
    return over_triplets(case, lambda ap, an: (ap - an + m).clamp(min=0), chosen, True)


def soft(case: Case, everything: bool) -> Reference:
    return over_triplets(case, lambda ap, an: (1 + (ap - an).exp()).log(), case.triplets, False)


def first_order(case: Case, everything: bool) -> Reference:
    t = case.loss.temperature
    return over_triplets(case, lambda ap, an: -(((1 - ap) / t).exp() / sum_exp(1 - ap, 1 - an, t)).log(), *all_of(case))


def second_order(case: Case, everything: bool) -> Reference:
    def value(ap: Tensor, an: Tensor) -> Tensor:
        s_ap, s_an = 1 - ap, 1 - an
        return (1 + (s_an**2 / 2 - (s_ap - s_ap**2 / 2)).exp()).log()

    return over_triplets(case, value, *all_of(case))


def selective(case: Case, everything: bool) -> Reference:
    def value(ap: Tensor, an: Tensor) -> Tensor:
        s_ap, s_an, t, loss = 1 - ap, 1 - an, case.loss.temperature, case.loss
        terms = [
            loss.strength * n if n > p or n > loss.limit else (1 + ((n - p) / t).exp()).log()
            for p, n in zip(s_ap, s_an, strict=True)
        ]
        return torch.stack(terms)

    return over_triplets(case, value, *all_of(case))


def all_of(case: Case) -> tuple[List, bool]:
    return case.triplets, False


def sum_exp(s_ap: Tensor, s_an: Tensor, temperature: float) -> Tensor:
    return (s_ap / temperature).exp() + (s_an / temperature).exp()


def contrastive(case: Case, everything: bool) -> Reference:
    near = [case.d[a, p] - case.loss.pos_margin for a, ps in enumerate(case.positives) for p in ps]
    far = [case.loss.neg_margin - case.d[a, n] for a, ns in enumerate(case.negatives) for n in ns]
    near, far = [x for x in near if x > 0], [x for x in far if x > 0]
    value = sum(near, case.d.sum() * 0) / max(1, len(near)) + sum(far, case.d.sum() * 0) / max(1, len(far))
    return Reference(value, case.used(), len(near) + len(far))


def hinge_embedding(case: Case, everything: bool) -> Reference:
    near = [case.d[a, p] for a, ps in enumerate(case.positives) for p in ps]
    far = [(case.loss.margin - case.d[a, n]).clamp(min=0) for a, ns in enumerate(case.negatives) for n in ns]
    active = len(near) + sum(bool(x > 0) for x in far)
    return Reference(sum(near + far, case.d.sum() * 0) / case.used(), case.used(), active)


def ntxent(case: Case, everything: bool) -> Reference:
    s, values, used = case.s / case.loss.temperature, [], 0
    for a, (ps, ns) in enumerate(zip(case.positives, case.negatives, strict=True)):
        values += [-(s[a, p].exp() / (s[a, p].exp() + s[a, ns].exp().sum())).log() for p in ps]
        used += (len(ps) + len(ns)) * (bool(ps) and bool(ns))
    return Reference(torch.stack(values).mean(), used, used)


def supcon(case: Case, everything: bool) -> Reference:
    s, values, used = case.s / case.loss.temperature, [], 0
    for a, (ps, ns) in enumerate(zip(case.positives, case.negatives, strict=True)):
        terms = [-(s[a, p].exp() / s[a, ps + ns].exp().sum()).log() for p in ps]
        if terms and (ns or len(ps) > 1):
            values.append(torch.stack(terms).mean())
            used += len(ps) + len(ns)
    return Reference(torch.stack(values).mean(), used, used)


def multi_similarity(case: Case, everything: bool) -> Reference:
    loss, total = case.loss, case.d.sum() * 0
    for a, (ps, ns) in enumerate(zip(case.positives, case.negatives, strict=True)):
        total = total + (1 + (-loss.alpha * (case.s[a, ps] - loss.base)).exp().sum()).log() / loss.alpha
        total = total + (1 + (loss.beta * (case.s[a, ns] - loss.base)).exp().sum()).log() / loss.beta
    return Reference(total / case.anchors, case.used(), case.used())


REFERENCES: dict[str, Callable[[Case, bool], Reference]] = {
    "MarginTriplet": hinge,
    "SemiHardTriplet": semi_hard,
    "SoftMarginTriplet": soft,
    "FirstOrder": first_order,
    "SecondOrder": second_order,
    "SelectivelyContrastive": selective,
    "Contrastive": contrastive,
    "HingeEmbedding": hinge_embedding,
    "NTXent": ntxent,
    "SupCon": supcon,
    "MultiSimilarity": multi_similarity,
}
"""The reference of each loss; a new loss adds its formula here."""
