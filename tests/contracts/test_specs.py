"""What holds for every spec: frozen, keyword-only, explained field by field, and written as JSON and back."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domainmetric.alarms.base import Alarm
from domainmetric.anchors.base import AnchorStrategy
from domainmetric.anchors.search import Search
from domainmetric.data.digits import Mnist
from domainmetric.data.domain import Domain
from domainmetric.data.draws import Sampling, TargetSampling
from domainmetric.data.folder import Folder, UnlabelledFolder
from domainmetric.data.framing import CenterCrop, Framing
from domainmetric.data.from_dataset import FromDataset
from domainmetric.data.table import Table
from domainmetric.data.with_classes import WithClasses
from domainmetric.experiment import AdaptationPhase, BestScore, Phase, Selection, SourcePhase
from domainmetric.geometry import Distance
from domainmetric.losses.base import MetricLoss
from domainmetric.metrics.selection import Entropy, SelectionScore
from domainmetric.miners.base import Miner
from domainmetric.models.backbone import Backbone
from domainmetric.models.network import Branches
from domainmetric.schedules import Schedule
from domainmetric.serialize import from_json, known_names, to_json, user_names
from domainmetric.step import Part
from tests import reference
from tests.contracts.family import members, modules, named

FAMILIES: tuple[type, ...] = (
    Alarm, AnchorStrategy, Backbone, Branches, Distance, Domain, Framing, MetricLoss, Miner, Part, Phase, Schedule,
    Selection, Sampling, Search, SelectionScore, TargetSampling,
)  # fmt: skip
FACTORIES: dict[type, dict[str, Callable[[], Any]]] = {
    Backbone: {**reference.BACKBONE_FACTORIES},
    Distance: {**reference.DISTANCE_FACTORIES},
    Domain: {
        "Folder": lambda: Folder(path=Path("photographs"), classes=("a", "b")),
        "FromDataset": lambda: FromDataset(get=reference.no_images),
        "Table": lambda: Table(path=Path("photographs.csv"), classes=("a", "b")),
        "UnlabelledFolder": lambda: UnlabelledFolder(path=Path("photographs")),
        "WithClasses": lambda: WithClasses(domain=Mnist(), names={"1": "one", "7": "seven"}),
    },
    Framing: {"CenterCrop": lambda: CenterCrop(side=4)},
    Selection: {"BestScore": lambda: BestScore(score=Entropy())},
    Phase: {
        "SourcePhase": lambda: SourcePhase(terms=("classify",), steps=3),
        "AdaptationPhase": lambda: AdaptationPhase(terms=("classify",), steps=3),
    },
}
MEMBERS = [member for family in FAMILIES for member in members(family, FACTORIES.get(family))]
specs = pytest.mark.parametrize("spec", MEMBERS, ids=named)


@specs
def test_a_spec_survives_json(spec: Any) -> None:
    written = json.loads(json.dumps(to_json(spec)))
    assert from_json(written, known_names() | user_names(vars(reference))) == spec


@specs
def test_a_spec_is_a_value(spec: Any) -> None:
    assert dataclasses.is_dataclass(spec)
    assert dataclasses.replace(spec) == spec
    assert hash(dataclasses.replace(spec)) == hash(spec)
    for field in dataclasses.fields(spec):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(spec, field.name, None)
    if dataclasses.fields(spec):
        with pytest.raises(TypeError, match="positional"):
            type(spec)(*[getattr(spec, field.name) for field in dataclasses.fields(spec)])


@specs
def test_a_spec_is_final(spec: Any) -> None:
    subclasses = [c for c in type(spec).__subclasses__() if c.__module__.startswith("domainmetric")]
    assert subclasses == [], "a concrete class is never subclassed"


def spec_classes() -> list[type]:
    families = (*FAMILIES, *{type(m) for m in MEMBERS})
    found = {v for m in modules() for v in vars(m).values() if isinstance(v, type) and dataclasses.is_dataclass(v)}
    return sorted((c for c in found if issubclass(c, families)), key=lambda c: c.__name__)


@pytest.mark.parametrize("cls", spec_classes(), ids=lambda cls: cls.__name__)
def test_each_field_has_its_docstring(cls: type) -> None:
    (definition,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    assert ast.get_docstring(definition)
    if inspect.isabstract(cls) and cls.__name__.startswith("_"):
        return
    for node, following in zip(definition.body, [*definition.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign):
            explained = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            assert explained, f"{cls.__name__}.{ast.unparse(node.target)} has no docstring under it"
