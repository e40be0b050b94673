"""Short runs with nothing wrong, each otherwise: no alarm may be raised.

A run is a function of its number alone. The hint `below_source` is judged by the oracle: it is false where the target
accuracy did not fall.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from domainmetric.anchors.base import AnchorStrategy
from domainmetric.anchors.cluster import Cluster
from domainmetric.anchors.mutual import Mutual
from domainmetric.anchors.nearest import Nearest
from domainmetric.anchors.propagation import Propagation
from domainmetric.anchors.prototype import Prototype
from domainmetric.anchors.quota import ClassQuota
from domainmetric.anchors.transport import Transport
from domainmetric.experiment import Experiment, Optimizer
from domainmetric.losses.margin import MarginTriplet, SoftMarginTriplet
from domainmetric.losses.order import FirstOrder, SecondOrder
from domainmetric.losses.softmax import SupCon
from domainmetric.miners.hard import EasyPositiveSemiHardNegative, HardNegative
from domainmetric.models.cnn import SmallCnn
from domainmetric.models.network import Model, Separate, Tied
from domainmetric.schedules import SigmoidRamp
from domainmetric.terms import BOTH_DIRECTIONS, SOURCE_DIRECTIONS, Metric, Term
from domainmetric.training.tracking import history, read_log
from tests import tiny
from tests.training.running import after, train

SOURCE, ADAPT = 50, 30
RECIPES: tuple[tuple[str, ...], ...] = (
    ("information",),
    ("mmd", "information"),
    ("dann", "information"),
    ("dann", "mmd", "information"),
    ("triplet",),
    ("triplet", "mmd"),
    ("triplet", "information"),
    ("triplet", "dann", "mmd", "information"),
)
STRATEGIES: tuple[AnchorStrategy, ...] = (
    Nearest(), Prototype(), Mutual(), Cluster(), Transport(), Propagation(), ClassQuota(inner=Nearest()),
)  # fmt: skip
METRICS = (
    Metric(),
    Metric(loss=MarginTriplet(margin=0.5), roles=SOURCE_DIRECTIONS),
    Metric(loss=SecondOrder(), miner=EasyPositiveSemiHardNegative(), roles=SOURCE_DIRECTIONS),
    Metric(loss=FirstOrder(temperature=0.1), roles=BOTH_DIRECTIONS + SOURCE_DIRECTIONS),
    Metric(loss=SoftMarginTriplet(), miner=HardNegative()),
    Metric(loss=SupCon(), miner=None, roles=SOURCE_DIRECTIONS),
)
ORACLE = "eval/target/accuracy_oracle"


@dataclass(frozen=True, kw_only=True)
class Healthy:
    """A run, by its number."""

    number: int


def experiment(number: int, root: Path) -> Experiment:
    """What the run of this number is."""
    draw = random.Random(number)
    recipe = RECIPES[number % len(RECIPES)]
    anchors = draw.choice(STRATEGIES) if "triplet" in recipe else None
    made = tiny.experiment(root, *recipe, anchors=anchors, source_steps=SOURCE, adapt_steps=ADAPT, seed=number)
    terms = dict(made.terms)
    if "triplet" in recipe:
        terms["triplet"] = Term(part=draw.choice(METRICS), schedule=SigmoidRamp())
    backbone = SmallCnn(widths=draw.choice([(8, 16, 32), (4, 8, 16)]))
    branches = draw.choice([Separate(source=backbone, target=backbone), Tied(shared=backbone)])
    phase = replace(
        made.phases["adapt"], optimizer=Optimizer(lr=draw.choice([2e-3, 5e-3])), ema=draw.choice([0.9, 0.99])
    )
    return replace(
        made,
        terms=terms,
        phases={**made.phases, "adapt": phase},
        model=Model(branches=branches, embedding_dim=draw.choice([8, 16])),
        evaluation=replace(made.evaluation, every=15, num_images=200, gradient_every=5),
    )


def carry_out(healthy: Healthy) -> dict[str, Any]:
    """Do the run. Returns its alarms, and the oracle accuracy at the start of the adaptation and at its end."""
    with tempfile.TemporaryDirectory() as root:
        made = experiment(healthy.number, Path(root))
        folder = train(made, after(SOURCE + ADAPT))
        told = [r for r in read_log(folder) if r["kind"] == "alarm"]
        steps, accuracies = history(folder)[ORACLE]
        inside = [a for step, a in zip(steps, accuracies, strict=True) if step >= SOURCE]
    alarms = [f"{r['name']}, {r['phase']} {r['step']}: {r['text']}" for r in told]
    return {"terms": list(made.terms), "alarms": alarms, "start": inside[0], "end": inside[-1]}


def false_alarms(result: dict[str, Any]) -> list[str]:
    """Those of its alarms that are false."""
    worse = result["end"] < result["start"]
    return [alarm for alarm in result["alarms"] if not (worse and alarm.startswith("below_source"))]
