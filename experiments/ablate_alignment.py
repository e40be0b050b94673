"""Which alignment term helps SVHN -> MNIST, alone and beside semantic anchors? And where target classes are unequal?

`alignment` has DANN, MMD, both, CORAL and information maximization, alone or beside both, each without and with the
triplets of semantic anchors. `unbalanced` is the same where MNIST's training classes are as rare as 10:1, which no
method is told. The baseline `none` has the source's cross-entropy alone, and the target's batch statistics estimated
anew. Arms share the source phase of their seed, and each differs from `none` in the terms that its name says.

All arms move by an AdamW whose `epsilon` lies above the gradients of the alignment terms. With the usual 1e-8, the
target branch, which no term but the alignment pulls, moves at the full learning rate whatever the weight is, and DANN
ruins it: `experiments/why_alignment_hurts.py`. `undamped` repeats the arms without anchors in that way.

Command: `domainmetric ablate experiments/ablate_alignment.py:alignment --seeds 11 12 13` (42 runs of two to four
minutes of one thread), then `domainmetric report ablations/alignment`. Not yet run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from domainmetric import (
    AdaptationPhase,
    Coral,
    Dann,
    Evaluation,
    Experiment,
    Imbalanced,
    InformationMaximization,
    Mmd,
    Mnist,
    Nearest,
    Pair,
    SigmoidRamp,
    Svhn,
    Term,
)
from experiments.svhn_to_mnist import CLASSIFY, TRIPLET, quick_semantic_anchors

EPSILON = 1e-2
"""Of AdamW: under it DANN ends where it began on the digits of `demo.py`. MMD and CORAL have not been measured at the
weights below; MMD at 5 ended up to 7 points below its start there."""
DANN = Term(part=Dann(), weight=0.4)
MMD = Term(part=Mmd(), schedule=SigmoidRamp())
CORAL = Term(part=Coral(), weight=1e5, schedule=SigmoidRamp())
INFORMATION = Term(part=InformationMaximization())
ARMS: Mapping[str, Mapping[str, Term]] = {
    "none": {},
    "mmd": {"mmd": MMD},
    "dann": {"dann": DANN},
    "dann+mmd": {"dann": DANN, "mmd": MMD},
    "coral": {"coral": CORAL},
    "info_max": {"information": INFORMATION},
    "dann+mmd+info_max": {"dann": DANN, "mmd": MMD, "information": INFORMATION},
}
ANCHORED = {"triplet": TRIPLET}


def arm(name: str, terms: Mapping[str, Term], *, epsilon: float, data: Pair) -> Experiment:
    """The quick recipe with these terms beside the source's cross-entropy; anchors where triplets are among them."""
    base = quick_semantic_anchors()
    terms = {"classify": CLASSIFY, **terms}
    adapt = base.phases["adapt"]
    assert isinstance(adapt, AdaptationPhase)
    optimizer = replace(adapt.optimizer, epsilon=epsilon)
    phases = {**base.phases, "adapt": replace(adapt, terms=tuple(terms), optimizer=optimizer)}
    return replace(
        base,
        name=name,
        data=data,
        terms=terms,
        phases=phases,
        anchors=Nearest() if "triplet" in terms else None,
        evaluation=Evaluation(retrieval_queries=1000),
    )


def arms(*, epsilon: float = EPSILON, data: Pair | None = None) -> dict[str, Experiment]:
    """Every arm without anchors, then every arm with them."""
    data = Pair(source=Svhn(), target=Mnist()) if data is None else data
    alone = {name: arm(name, terms, epsilon=epsilon, data=data) for name, terms in ARMS.items()}
    names = {name: "anchors" if name == "none" else f"{name}+anchors" for name in ARMS}
    return alone | {
        names[name]: arm(names[name], {**ANCHORED, **terms}, epsilon=epsilon, data=data) for name, terms in ARMS.items()
    }


def alignment() -> dict[str, Experiment]:
    """Every alignment, without and with semantic anchors."""
    return arms()


def unbalanced() -> dict[str, Experiment]:
    """The same where MNIST's training classes are unequal, 10:1."""
    return arms(data=Pair(source=Svhn(), target=Imbalanced(domain=Mnist(), ratio=10)))


def undamped() -> dict[str, Experiment]:
    """Every alignment without anchors, by the usual AdamW: what it does to a branch that nothing else holds."""
    return {name: experiment for name, experiment in arms(epsilon=1e-8).items() if "anchors" not in name}
