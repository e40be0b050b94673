"""Experiments as JSON: whole ones come back equal, and a record decides nothing about what is imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from domainmetric.errors import RunFolderError
from domainmetric.geometry import Chord
from domainmetric.schedules import OneCycle, SigmoidRamp
from domainmetric.serialize import content_hash, from_json, known_classes, to_json, user_classes
from tests import tiny


def test_an_experiment_of_a_users_classes_comes_back_equal(tmp_path: Path) -> None:
    experiment = tiny.full(tmp_path)
    written = json.loads(json.dumps(to_json(experiment)))
    assert from_json(written, known_classes() | user_classes(vars(tiny))) == experiment
    assert written["data"]["source"]["class"] == "user.Colored"


def test_the_order_of_phases_and_terms_is_kept(tmp_path: Path) -> None:
    experiment = tiny.full(tmp_path)
    read = from_json(to_json(experiment), known_classes() | user_classes(vars(tiny)))
    assert list(read.phases) == ["source", "adapt"]
    assert list(read.terms) == list(experiment.terms)


def test_every_spec_of_the_package_is_known() -> None:
    known = known_classes()
    assert known["domainmetric.geometry.Chord"] is Chord
    assert "domainmetric.experiment.Experiment" in known
    assert all(name.startswith("domainmetric.") for name in known)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"class": "domainmetric.geometry.Cord"},
            "which this version lacks. Did you mean 'domainmetric.geometry.Chord'?",
        ),
        ({"class": "os.system", "command": "true"}, "'os.system', which this version lacks."),
        ({"class": "user.Mine"}, "the class 'Mine' of a user's file. Name that file again with --file FILE."),
        (
            {"class": "domainmetric.schedules.OneCycle", "warm": 1},
            "record of 'domainmetric.schedules.OneCycle' does not fit",
        ),
    ],
)
def test_records_that_do_not_fit_are_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(RunFolderError) as caught:
        from_json(record, {"domainmetric.geometry.Chord": Chord, "domainmetric.schedules.OneCycle": OneCycle})
    assert message in str(caught.value)


def test_values_that_are_no_experiment_are_refused() -> None:
    with pytest.raises(TypeError, match="but not <class 'object'>"):
        to_json({"a": object()})


def test_paths_and_tuples_come_back_as_such() -> None:
    value = {"root": Path("a/b"), "pair": (1, 2.5, None, "x", True)}
    assert from_json(json.loads(json.dumps(to_json(value))), {}) == value


def test_equal_content_has_equal_hashes() -> None:
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    assert content_hash(to_json(SigmoidRamp())) != content_hash(to_json(SigmoidRamp(sharpness=9.0)))
