"""What are a few labels of the target worth? SVHN -> MNIST with 0, 1, 5 and 10 labels of each class, and with all.

Question: `quick_full` as it is, and the same with `labelled_target=FewLabels(per_class=...)`, one field. `all` trains
on every label of MNIST's training set (`AllLabels()`, oracle). Arms share the source phase of their seed, and the
labelled images.

Command: `domainmetric ablate experiments/few_labels.py --seeds 21 22 23` (15 runs of about five minutes of one thread),
then `domainmetric report ablations/few_labels`.

Finding (three seeds, `experiments/results/few_labels/`): none 97.8, 99.1, 99.1; one of each class 99.2, 99.1, 99.1;
five 99.1, 99.2, 99.2; ten 99.1, 99.2, 99.2; all 99.4, 99.4, 99.5. One label of each class keeps a seed from reading an
eighth of the sevens as fours; beyond that a few labels add nothing, and all of them 0.3 points.
"""

from __future__ import annotations

from dataclasses import replace

from domainmetric import AllLabels, Evaluation, Experiment, FewLabels
from experiments.svhn_to_mnist import quick_full


def few_labels() -> dict[str, Experiment]:
    """No labels, a few, and all."""
    base = replace(quick_full(), evaluation=Evaluation(retrieval_queries=1000))
    few = {str(n): replace(base, labelled_target=FewLabels(per_class=n)) for n in (1, 5, 10)}
    return {"0": base, **few, "all": replace(base, labelled_target=AllLabels())}
