"""Faults that show while a run trains: an alarm tells them at a reading or a look; numbers that are none, at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from domainmetric import terms
from domainmetric.alarms.discriminator import ChanceDiscriminator
from domainmetric.alarms.non_finite import NonFinite
from domainmetric.alignment import dann, information, mmd
from domainmetric.alignment.dann import Dann
from domainmetric.anchors.nearest import Nearest
from domainmetric.experiment import Experiment, Optimizer, Phase
from domainmetric.geometry import normalize
from domainmetric.losses.order import FirstOrder
from domainmetric.miners.hard import HardPositiveHardNegative
from domainmetric.models.network import Head, Network
from domainmetric.schedules import Constant
from domainmetric.terms import Metric, Term
from domainmetric.training import batches, phases
from domainmetric.types import Matches
from tests import tiny
from tests.faults.fault import Fault, Raised, often
from tests.faults.wiring import around
from tests.training.running import short

SOON = 2
"""Steps of a phase after which the numbers go wrong."""


def method(
    *names: str, source: int = 4, adapt: int = 12, lr: float | None = None, **terms: Term
) -> Callable[[Path], Experiment]:
    """A short run with some terms, read after every second step."""

    def make(root: Path) -> Experiment:
        experiment = short(tiny.experiment(root, *(names or ("mmd",))), source=source, adapt=adapt)
        experiment = often(experiment, 2)
        phase = experiment.phases["adapt"]
        phase = replace(phase, optimizer=phase.optimizer if lr is None else Optimizer(lr=lr, schedule=Constant()))
        anchors = Nearest() if any("matches" in term.part.needs for term in terms.values()) else experiment.anchors
        every = {**{name: experiment.terms[name] for name in ("classify", *names)}, **terms}
        phase = replace(phase, terms=tuple(every))
        return replace(
            experiment,
            terms=every,
            anchors=anchors,
            phases={**experiment.phases, "adapt": phase},
        )

    return make


def skipping(root: Path) -> Experiment:
    experiment = method("mmd")(root)
    return replace(experiment, alarms={**experiment.alarms, "non_finite": NonFinite(action="skip")})


def impatient(root: Path) -> Experiment:
    experiment = method(adapt=24, dann=Term(part=Dann(hidden=4)))(root)
    return replace(experiment, alarms={**experiment.alarms, "chance_discriminator": ChanceDiscriminator(steps=20)})


class Once:
    """Changes the second call of a function."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        self.change, self.calls = change, 0

    def __call__(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        value = original(*args, **kwargs)
        return self.change(value) if self.calls == SOON else value


def blot(batch: Any) -> Any:
    images = batch.images.clone()
    images[0, 0, 0, 0] = torch.inf
    return replace(batch, images=images)


def infinite_slope(original: Any, x: Tensor, y: Tensor, **more: Any) -> Tensor:
    """The root of a squared distance of equal vectors: a finite value with a gradient that is none."""
    value: Tensor = original(x, y, **more)
    return value + (y - y.detach()).square().sum().sqrt()


def to_a_point(original: Any, self: Any, domain: Any, features: Tensor) -> Tensor:
    z: Tensor = original(self, domain, features)
    return normalize(torch.ones_like(z) + 1e-3 * z)


def one_class(original: Any, self: Any, domain: Any, images: Tensor) -> Any:
    encoded = original(self, domain, images)
    shift = torch.zeros_like(encoded.logits)
    shift[:, 0] = 100.0 * (domain == "target")
    return encoded._replace(logits=encoded.logits + shift)


def matching(change: Callable[[Matches], Matches]) -> Callable[[Any], None]:
    """A strategy whose matches are spoiled."""

    def built(original: Any, experiment: Any, data: Any) -> Any:
        matcher = original(experiment, data)
        forward = matcher.forward
        matcher.forward = lambda *args: change(forward(*args))
        return matcher

    return around(phases, "build_matcher", built)


HPHN = Term(part=Metric(loss=FirstOrder(), miner=HardPositiveHardNegative()))
mmd_alone, triplets = method("mmd"), method("triplet")

BEHAVIOR = [
    Fault(
        name="a loss that is NaN",
        inject=around(mmd, "mmd2", Once(lambda value: value * torch.nan)),
        caught_by=Raised(alarm="non_finite", experiment=mmd_alone, within=SOON),
        wiring=True,
    ),
    Fault(
        name="a loss that is NaN, the step skipped",
        inject=around(mmd, "mmd2", Once(lambda value: value * torch.nan)),
        caught_by=Raised(alarm="non_finite", experiment=skipping, within=SOON),
        wiring=True,
    ),
    Fault(
        name="a gradient that is NaN, of a finite loss",
        inject=around(mmd, "mmd2", infinite_slope),
        caught_by=Raised(alarm="non_finite", experiment=mmd_alone, within=SOON),
        wiring=True,
    ),
    Fault(
        name="an infinite pixel in a batch",
        inject=around(batches.Batches, "target", Once(blot)),
        caught_by=Raised(alarm="non_finite", experiment=mmd_alone, within=SOON),
        wiring=True,
    ),
    Fault(
        name="a learning rate far too large",
        caught_by=Raised(alarm="divergence", experiment=method("mmd", source=30, lr=3.0), within=None),
    ),
    Fault(
        name="a loss with the wrong sign",
        inject=around(terms.F, "cross_entropy", lambda f, *args, **more: -f(*args, **more)),
        caught_by=Raised(alarm="divergence", subject="source accuracy", experiment=mmd_alone, within=None),
    ),
    Fault(
        name="an embedding that is one point",
        inject=around(Head, "forward", to_a_point),
        caught_by=Raised(alarm="collapse", experiment=mmd_alone, within=None),
    ),
    Fault(
        name="a triplet loss stuck at ln 2",
        inject=around(Head, "forward", to_a_point),
        caught_by=Raised(alarm="stuck_loss", experiment=method(triplet=HPHN), within=None),
    ),
    Fault(
        name="a triplet loss stuck at its margin",
        inject=around(Head, "forward", to_a_point),
        caught_by=Raised(alarm="stuck_loss", experiment=method(adapt=24, triplet=Term(part=Metric())), within=None),
    ),
    Fault(
        name="an adversary that drives all targets into one class",
        inject=around(Network, "forward", one_class),
        caught_by=Raised(alarm="one_class", experiment=mmd_alone, within=None),
    ),
    Fault(
        name="a discriminator that does not learn",
        inject=around(Phase, "build_optimizer", lambda f, self, moving, terms: f(self, moving, [])),
        caught_by=Raised(alarm="chance_discriminator", experiment=impatient, within=None),
    ),
    Fault(
        name="the gradient is not reversed, so that the branches help the discriminator",
        inject=around(dann.GradientReversal, "forward", lambda f, self, x: x),
        caught_by=Raised(
            alarm="perfect_discriminator", experiment=method(adapt=40, lr=0.01, dann=Term(part=Dann())), within=None
        ),
    ),
    Fault(
        name="one source image stands for all targets",
        inject=matching(lambda m: replace(m, source_index=torch.zeros_like(m.source_index))),
        caught_by=Raised(alarm="dead_anchors", subject="hubs", experiment=triplets, within=None),
    ),
    Fault(
        name="a class that is never matched",
        inject=matching(lambda m: replace(m, keep=m.keep & (m.label != 2))),
        caught_by=Raised(alarm="dead_anchors", subject="class 2", experiment=triplets, within=None),
    ),
    Fault(
        name="anchors that match nothing",
        inject=matching(lambda m: replace(m, keep=torch.zeros_like(m.keep))),
        caught_by=Raised(alarm="dead_anchors", subject="coverage", experiment=triplets, within=None),
    ),
    Fault(
        name="a term that never has a triplet",
        inject=matching(lambda m: replace(m, keep=torch.zeros_like(m.keep))),
        caught_by=Raised(alarm="idle_term", subject="triplet", experiment=triplets, within=None),
    ),
    Fault(
        name="an adaptation that ends below source-only",
        inject=around(information, "information", lambda f, p: -f(p)),
        caught_by=Raised(alarm="below_source", experiment=method("information", source=40, adapt=20), within=None),
    ),
]
