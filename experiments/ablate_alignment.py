"""Which alignment term helps SVHN -> MNIST, alone and beside semantic anchors? And where target classes are unequal?

`alignment` has DANN, MMD, both, CORAL and information maximization, alone or beside both, each without and with the
triplets of semantic anchors. `unbalanced` is the same where MNIST's training classes are as rare as 10:1, which no
method is told, and has MMD and both weighted by predicted class as well. The baseline `none` has the source's
cross-entropy alone, and the target's batch statistics estimated anew. Arms share the source phase of their seed, and
each differs from `none` in the terms that its name says.

An alignment can ruin a branch that nothing else holds (`experiments/why_alignment_hurts.py`), so every arm reports the
checkpoint that a score without target labels likes best, and what the adaptation began from is one of them.

Command: `domainmetric ablate experiments/ablate_alignment.py:alignment --seeds 11 12 13` (42 runs of two to four
minutes of one thread), then `domainmetric report ablations/alignment`.

Finding of `alignment` with `--phases.adapt.steps=300` (three seeds, `experiments/results/ablate_alignment/`): alone,
DANN and CORAL ruin the target, and MMD does not help it: the start (77.4) is reported instead, for DANN with MMD too,
which had gained 2.8 points on the way; information maximization 93.9 (92.0 to 97.6: classes swapped). With anchors:
93.2, DANN 93.7, MMD 92.7, both 92.7, CORAL 93.0, information maximization 98.3, all 98.3. No arm ends below source only
in any seed. Among the arms agreement of neighbors would choose information maximization with anchors.

Finding of `unbalanced` with the same steps (`experiments/results/ablate_alignment_unbalanced/`): guarded by BNM alone,
MMD ended at 69.4 and DANN with MMD at 69.8, below source only in every seed. With `BestScore()` as it is now no arm
does: alone DANN, MMD, both and CORAL keep the start (76.7) in every seed, weighted or not; information maximization
80.5, with both 81.8. Anchors 90.7, and whatever is put beside them costs: DANN 90.0, MMD 88.6, CORAL 88.4, both 86.7,
information maximization 86.3, all 86.3. Agreement of neighbors and SND would choose anchors alone among the arms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from domainmetric import (
    BestScore,
    Coral,
    Evaluation,
    Experiment,
    Imbalanced,
    Mnist,
    Nearest,
    Pair,
    SigmoidRamp,
    Svhn,
    Term,
)
from experiments.svhn_to_mnist import (
    CLASSIFY,
    DANN,
    INFORMATION,
    MMD,
    SVHN_TO_MNIST,
    TRIPLET,
    quick_semantic_anchors,
)

CORAL = Term(part=Coral(), weight=1e5, schedule=SigmoidRamp())
ARMS: Mapping[str, Mapping[str, Term]] = {
    "none": {},
    "mmd": {"mmd": MMD},
    "dann": {"dann": DANN},
    "dann+mmd": {"dann": DANN, "mmd": MMD},
    "coral": {"coral": CORAL},
    "info_max": {"information": INFORMATION},
    "dann+mmd+info_max": {"dann": DANN, "mmd": MMD, "information": INFORMATION},
}
WEIGHTED_DANN = replace(DANN, part=replace(DANN.part, class_weighted=True))
WEIGHTED_MMD = replace(MMD, part=replace(MMD.part, class_weighted=True))
WEIGHTED: Mapping[str, Mapping[str, Term]] = {
    "mmd_weighted": {"mmd": WEIGHTED_MMD},
    "dann+mmd_weighted": {"dann": WEIGHTED_DANN, "mmd": WEIGHTED_MMD},
}
"""Source rows weighed by how common their class is among the target's predictions."""
ANCHORED = {"triplet": TRIPLET}


def arm(name: str, terms: Mapping[str, Term], data: Pair) -> Experiment:
    """The quick recipe with these terms beside the source's cross-entropy; anchors where triplets are among them."""
    base = quick_semantic_anchors()
    terms = {"classify": CLASSIFY, **terms}
    phases = {**base.phases, "adapt": replace(base.phases["adapt"], terms=tuple(terms))}
    return replace(
        base,
        name=name,
        data=data,
        terms=terms,
        phases=phases,
        anchors=Nearest() if "triplet" in terms else None,
        selection=BestScore(),
        evaluation=Evaluation(retrieval_queries=1000),
    )


def arms(data: Pair, more: Mapping[str, Mapping[str, Term]] | None = None) -> dict[str, Experiment]:
    """Every arm without anchors, `more` of these, then every arm with anchors."""
    alone = {name: arm(name, terms, data) for name, terms in {**ARMS, **(more or {})}.items()}
    names = {name: "anchors" if name == "none" else f"{name}+anchors" for name in ARMS}
    return alone | {names[name]: arm(names[name], {**ANCHORED, **terms}, data) for name, terms in ARMS.items()}


def alignment() -> dict[str, Experiment]:
    """Every alignment, without and with semantic anchors."""
    return arms(SVHN_TO_MNIST)


def unbalanced() -> dict[str, Experiment]:
    """The same where MNIST's training classes are unequal, 10:1; with alignment that is weighted by class beside it."""
    return arms(Pair(source=Svhn(), target=Imbalanced(domain=Mnist(), ratio=10)), WEIGHTED)
