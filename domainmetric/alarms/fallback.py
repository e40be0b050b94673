"""What is known to collapse, exchanged for what is not (Xuan et al., "Extreme triplet learning", and our own toy)."""

from __future__ import annotations

from dataclasses import replace

from domainmetric.alignment.dann import Dann
from domainmetric.losses.order import FirstOrder, SecondOrder
from domainmetric.miners.hard import EasyPositiveSemiHardNegative, HardPositiveHardNegative
from domainmetric.terms import Metric, Term

ADVERSARIAL = 0.1
"""Factor on the weight of an adversarial term."""


def calmer(term: Term) -> Term | None:
    """The term with EPSHN for HPHN, L2 for L1, or a tenth of an adversarial weight; None where it has none of these."""
    part = term.part
    if isinstance(part, Dann):
        return replace(term, weight=ADVERSARIAL * term.weight)
    if not isinstance(part, Metric):
        return None
    if isinstance(part.miner, HardPositiveHardNegative):
        part = replace(part, miner=EasyPositiveSemiHardNegative())
    if isinstance(part.loss, FirstOrder):
        part = replace(part, loss=SecondOrder())
    return None if part == term.part else replace(term, part=part)
