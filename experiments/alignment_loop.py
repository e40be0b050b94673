"""The adaptation of `why_alignment_hurts`: one loop, the terms of the library, and what no run measures.

The source branch is frozen in it, so the features of some augmented source images are computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from domainmetric import (
    Augment,
    Constant,
    Coral,
    Dann,
    Experiment,
    Imbalanced,
    InformationMaximization,
    Mmd,
    Optimizer,
    Pair,
    SigmoidRamp,
    SklearnDigits,
    Term,
    run,
)
from domainmetric.experiment import Trainable
from domainmetric.metrics.classification import confusion
from domainmetric.metrics.domain_gap import mmd, proxy_a_distance
from domainmetric.models.network import Network, evaluating
from domainmetric.randomness import generator, isolated
from domainmetric.statistics import information
from domainmetric.step import PartContext, Step
from domainmetric.training.batches import Batches, RunData, data_root, load
from domainmetric.training.checkpoint import read_tensors
from domainmetric.training.evaluation import encode
from domainmetric.training.loop import calibrate
from domainmetric.training.phases import MODEL, new_network
from domainmetric.training.state import load_weights, set_training
from domainmetric.types import Encoded, SourceBatch, TargetBatch
from experiments import demo, svhn_to_mnist

BANK, LOOK, EVERY = 4000, 2000, 25
"""Source images whose features are kept, images of a look, and steps between looks."""
PER_CLASS, TARGETS = 10, 64
"""Source images of each class, and target images, in a step."""


def digits() -> Experiment:
    """Street digits -> scikit-learn's digits."""
    return demo.semantic_anchors()


def digits_10_to_1() -> Experiment:
    """The same with target classes of unequal size."""
    pair = Pair(source=demo.semantic_anchors().data.source, target=Imbalanced(domain=SklearnDigits()))
    return replace(demo.semantic_anchors(), data=pair)


PAIRS: dict[str, Callable[[], Experiment]] = {
    "digits": digits,
    "digits_10_to_1": digits_10_to_1,
    "svhn_to_mnist": svhn_to_mnist.quick_semantic_anchors,
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One adaptation. A term of weight 0 is left out."""

    pair: str
    seed: int
    steps: int
    dann: float = 0.0
    mmd: float = 0.0
    coral: float = 0.0
    information: float = 0.0
    epsilon: float = 1e-8
    """Of AdamW, for all that moves."""
    moves: tuple[Trainable, ...] = ("target_branch", "head", "classifier")
    fixed_norms: bool = False
    """Whether the target's batch statistics stay as they were estimated at the start."""
    reads_source: bool = False
    """Whether the target branch is also trained to classify source images, as a branch of both domains is."""

    def terms(self) -> dict[str, Term]:
        """Those whose weight is not 0."""
        found = {
            "dann": (Dann(), self.dann, Constant()),  # its gradient reversal has the ramp
            "mmd": (Mmd(), self.mmd, SigmoidRamp()),
            "coral": (Coral(), self.coral, SigmoidRamp()),
            "information": (InformationMaximization(), self.information, Constant()),
        }
        return {
            name: Term(part=part, weight=weight, schedule=schedule)
            for name, (part, weight, schedule) in found.items()
            if weight
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """What all arms of a seed begin with."""

    experiment: Experiment
    data: RunData
    network: Network
    weights: dict[str, Tensor]
    features: Tensor
    """Of `labels`' source images through the frozen source branch."""
    rows: Tensor
    labels: Tensor

    @property
    def by_class(self) -> list[Tensor]:
        """Places in the bank of each class."""
        return [(self.labels == label).nonzero()[:, 0] for label in range(len(self.data.source_train.classes))]

    def moved(self) -> float:
        """How far the target branch's weights are from the start, relative to their length there."""
        names = [name for name, _ in self.network.named_parameters() if name.startswith("branches.target")]
        now, then = self.network.state_dict(), self.weights
        distance = torch.cat([(now[name] - then[name]).flatten() for name in names]).norm()
        return float(distance / torch.cat([then[name].flatten() for name in names]).norm())


@cache
def start(pair: str, seed: int, runs_root: Path) -> Start:
    """Train the source phase, or take it from an earlier run; estimate the target's batch statistics."""
    experiment = replace(PAIRS[pair](), seed=seed, runs_root=runs_root)
    phases = {"source": experiment.phases["source"]}
    terms = {"classify": experiment.terms["classify"]}
    alone = replace(experiment, name=f"source_of_{pair}", phases=phases, terms=terms, anchors=None)
    trained = next(iter(sorted(runs_root.glob(f"{alone.name}-s{seed}-*/{MODEL}"))), None) or run(alone) / MODEL
    data = load(experiment, data_root(experiment), torch.device("cpu"))
    network = new_network(experiment, torch.device("cpu"))
    load_weights(network, read_tensors(trained)[0])
    calibrate(network, Batches(experiment, "adapt", experiment.phases["adapt"], data), 20)
    rows = torch.randperm(len(data.source_train), generator=generator("cpu", seed, "bank"))[:BANK]
    assert data.source_train.labels is not None
    network.eval()
    views = experiment.augmentation.source
    assert isinstance(views, Augment)
    with torch.no_grad():
        images = (
            views(part, generator("cpu", seed, "bank views", index))
            for index, part in enumerate(data.source_train.images[rows].split(500))
        )
        features = torch.cat([network.branches["source"](part) for part in images])
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    labels = data.source_train.labels[rows]
    return Start(
        experiment=experiment, data=data, network=network, weights=weights, features=features, rows=rows, labels=labels
    )


def work(arm: Arm, *, runs_root: Path) -> dict[str, Any]:
    """Adapt, and look at the domains every 25 steps: {"looks": [...]}, the first one before the first step."""
    begin = start(arm.pair, arm.seed, runs_root)
    network = begin.network
    load_weights(network, begin.weights)
    modules = [*network.branches["target"].modules(), network.head.norms["target"]]
    norms = [m for m in modules if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    parts, optimizer, base = prepare(arm, begin, norms)
    looks: list[dict[str, Any]] = [{"step": 0, **look(begin)}]
    noted: list[float] = []
    for number in range(arm.steps):
        progress = number / arm.steps
        for group in optimizer.param_groups:
            group["lr"] = base.lr * base.schedule.at(progress)
        step = encoded(arm, begin, number, progress)
        loss = F.cross_entropy(step.encoded_source.logits, step.source.labels, label_smoothing=0.1)
        if arm.reads_source:
            loss = loss + source_loss(begin, step.source.rows, norms, number)
        for name, term in arm.terms().items():
            loss = loss + term.weight * term.schedule.at(progress) * parts[name](step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        noted += [float(step.notes[name]) for name in step.notes]
        if (number + 1) % EVERY == 0 or number + 1 == arm.steps:
            fooled = {"discriminator": sum(noted) / len(noted)} if noted else {}
            looks.append({"step": number + 1, **look(begin), **fooled})
            noted.clear()
    return {"looks": looks}


def prepare(arm: Arm, begin: Start, norms: Sequence[nn.Module]) -> tuple[nn.ModuleDict, torch.optim.AdamW, Optimizer]:
    """The arm's terms, what moves, and the optimizer of both."""
    network, experiment = begin.network, begin.experiment
    context = PartContext(num_classes=len(experiment.data.classes), embedding_dim=experiment.model.embedding_dim)
    with isolated(arm.seed, "terms"):
        parts = nn.ModuleDict({name: term.part.build(context) for name, term in arm.terms().items()})
    set_training(network, arm.moves)
    if arm.fixed_norms:
        for norm in norms:
            norm.eval()
    base = replace(experiment.phases["adapt"].optimizer, epsilon=arm.epsilon)
    moving = [p for p in network.parameters() if p.requires_grad]
    groups = [base.group(found, branch=False) for found in (moving, list(parts.parameters())) if found]
    return parts, torch.optim.AdamW(groups), base


def encoded(arm: Arm, begin: Start, number: int, progress: float) -> Step:
    """One step's batches, class-balanced source and shuffled target, through the network."""
    network, experiment, data = begin.network, begin.experiment, begin.data
    draw = generator("cpu", arm.seed, "step", number)
    picked = torch.cat(
        [of_class[torch.randint(len(of_class), (PER_CLASS,), generator=draw)] for of_class in begin.by_class]
    )
    rows = torch.randint(len(data.target_train), (TARGETS,), generator=draw)
    views = experiment.augmentation.target
    assert isinstance(views, Augment)
    images = views(data.target_train.images[rows], draw)
    z_s = network.head("source", begin.features[picked])
    source = Encoded(z=z_s, logits=network.classifier(z_s))
    return Step(
        source=SourceBatch(rows=begin.rows[picked], images=images[:0], labels=begin.labels[picked]),
        encoded_source=source,
        encoded_by_source=source,
        target=TargetBatch(rows=rows, images=images, clean=images),
        encoded_target=network("target", images),
        progress=progress,
    )


def source_loss(begin: Start, rows: Tensor, norms: Sequence[nn.BatchNorm1d | nn.BatchNorm2d], number: int) -> Tensor:
    """Cross-entropy of source images through the *target* branch, which forgets their batch statistics again."""
    views, data = begin.experiment.augmentation.source, begin.data.source_train
    assert isinstance(views, Augment) and data.labels is not None
    images = views(data.images[rows], generator("cpu", begin.experiment.seed, "read", number))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    logits = begin.network("target", images).logits
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return F.cross_entropy(logits, data.labels[rows], label_smoothing=0.1)


def look(begin: Start) -> dict[str, Any]:
    """The domains side by side: the source through its frozen branch, the target as it stands; oracle accuracies.

    `matched_oracle` is the accuracy under the best permutation of the classes: where it is high and the accuracy low,
    whole classes have changed places.
    """
    network, data = begin.network, begin.data
    rows = torch.linspace(0, len(data.target_train) - 1, min(LOOK, len(data.target_train))).long()
    target = encode(network, "target", data.target_train.images[rows])
    with evaluating(network), torch.no_grad():
        z_s = network.head("source", begin.features[:LOOK])
    assert data.target_train_labels_oracle is not None
    table = confusion(target.logits.argmax(1), data.target_train_labels_oracle[rows], target.logits.shape[1])
    moved = begin.moved()
    return {
        "accuracy_oracle": float(table.diagonal().sum() / table.sum()),
        "matched_oracle": float(table.numpy()[linear_sum_assignment(-table.numpy())].sum() / table.sum()),
        "mmd": mmd(z_s, target.z),
        "proxy_a_distance": proxy_a_distance(z_s, target.z, seed=0),
        "information": float(information(target.logits.softmax(1))),
        "moved": moved,
        "confusion_oracle": table.tolist(),
    }
