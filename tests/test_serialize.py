"""Experiments as JSON: whole ones come back equal, and a record decides nothing about what is imported."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from domainmetric.errors import ConfigError, RunFolderError
from domainmetric.experiment import Optimizer
from domainmetric.geometry import Chord, FromMatrix, FromPairwise, squared_chord
from domainmetric.schedules import OneCycle, SigmoidRamp
from domainmetric.serialize import content_hash, from_json, known_names, to_json, user_names
from tests import reference, tiny
from tests.reference import city_block, inner


def test_an_experiment_of_a_users_classes_comes_back_equal(tmp_path: Path) -> None:
    experiment = tiny.full(tmp_path)
    written = json.loads(json.dumps(to_json(experiment)))
    assert from_json(written, known_names() | user_names(vars(tiny))) == experiment
    assert written["data"]["source"]["class"] == "user.Colored"


def test_the_order_of_phases_and_terms_is_kept(tmp_path: Path) -> None:
    experiment = tiny.full(tmp_path)
    read = from_json(to_json(experiment), known_names() | user_names(vars(tiny)))
    assert list(read.phases) == ["source", "adapt"]
    assert list(read.terms) == list(experiment.terms)


def test_functions_are_written_by_name_and_read_from_what_is_handed_in() -> None:
    experiments_own = {"pairs": FromPairwise(function=city_block), "matrix": FromMatrix(function=inner)}
    written = json.loads(json.dumps(to_json(experiments_own)))
    assert written["pairs"] == {
        "class": "domainmetric.geometry.FromPairwise",
        "function": {"function": "user.city_block"},
    }
    assert from_json(written, known_names() | user_names(vars(reference))) == experiments_own
    packaged = FromMatrix(function=squared_chord)
    assert to_json(packaged)["function"] == {"function": "domainmetric.geometry.squared_chord"}
    assert from_json(to_json(packaged), known_names()) == packaged


def renamed(x: object, y: object) -> object:
    return x, y


original, renamed = renamed, functools.wraps(renamed)(lambda x, y: (y, x))


def test_a_function_that_its_module_knows_under_another_name_is_refused() -> None:
    assert to_json(renamed) == {"function": "user.renamed"}
    with pytest.raises(ConfigError, match="but renamed is not found there by this name"):
        to_json(original)


@pytest.mark.parametrize(
    ("function", "came"),
    [
        (lambda x, y: x - y, "<lambda> is not found there"),
        (functools.partial(city_block), "partial is no such function"),
        (torch.pairwise_distance, "builtin_function_or_method is no such function"),
        (torch.nn.PairwiseDistance(), "PairwiseDistance is no such function"),
    ],
    ids=["lambda", "partial", "builtin", "module"],
)
def test_functions_without_a_name_at_the_top_of_a_file_are_refused(function: Any, came: str) -> None:
    with pytest.raises(ConfigError) as caught:
        to_json({"distance": FromPairwise(function=function)})
    assert str(caught.value).startswith("A function in an experiment must be defined at the top of a file")
    assert came in str(caught.value)
    assert str(caught.value).endswith("Write a `def` at module level, and give that.")


def test_a_closure_is_refused() -> None:
    def inside(x: object, y: object) -> object:
        return x, y

    with pytest.raises(ConfigError, match="inside is not found there by this name"):
        to_json(inside)


def test_every_spec_of_the_package_is_known() -> None:
    known = known_names()
    assert known["domainmetric.geometry.Chord"] is Chord
    assert "domainmetric.experiment.whole.Experiment" in known
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
        ({"function": "os.system"}, "the function 'os.system', which this version lacks."),
        ({"function": "user.mine"}, "the function 'mine' of a user's file. Name that file again with --file FILE."),
        ({"function": "domainmetric.geometry.Chord"}, "the function 'domainmetric.geometry.Chord', which this version"),
        ({"class": "user.city_block", "x": 1}, "the class 'city_block' of a user's file."),
        (
            {"class": "domainmetric.schedules.OneCycle", "warm": 1},
            "record of 'domainmetric.schedules.OneCycle' does not fit",
        ),
    ],
)
def test_records_that_do_not_fit_are_refused(record: dict[str, Any], message: str) -> None:
    names = {"domainmetric.geometry.Chord": Chord, "domainmetric.schedules.OneCycle": OneCycle}
    with pytest.raises(RunFolderError) as caught:
        from_json(record, {**names, "user.city_block": city_block})
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


def test_what_moved_into_a_file_of_a_package_is_still_known_by_the_packages_name() -> None:
    recorded = {"class": "domainmetric.experiment.Optimizer", "lr": 0.5}
    assert from_json(recorded, known_names()) == Optimizer(lr=0.5)
    assert to_json(Optimizer(lr=0.5))["class"] == "domainmetric.experiment.phases.Optimizer"


def test_a_path_at_home_is_read_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "somebody"
    monkeypatch.setenv("HOME", str(home))
    for path in (home / "data", home, tmp_path / "somebody else", tmp_path, Path("data"), Path("somebody")):
        written = to_json(path)
        assert from_json(written, {}) == path
        assert f"{home}/" not in f"{written['path']}/"
