"""Every recipe of `experiments/` can be built: what an experiment refuses, it refuses here and not after an hour."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from domainmetric.ablation.plan import check_name
from domainmetric.recipes import ablations, load_file, recipes
from domainmetric.serialize import to_json

FILES = sorted((Path(__file__).parents[2] / "experiments").glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recipes_are_experiments_that_explain_themselves(file: Path) -> None:
    for name, recipe in recipes(load_file(file)).items():
        experiment = recipe()
        assert recipe.__doc__, f"{name} has no docstring"
        assert json.dumps(to_json(experiment))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_ablations_are_named_experiments_that_differ(file: Path) -> None:
    for name, ablation in ablations(load_file(file)).items():
        assert ablation.__doc__, f"{name} has no docstring"
        for variant in ablation():
            check_name(variant)
        records = {variant: json.dumps({**to_json(e), "name": ""}) for variant, e in ablation().items()}
        assert len(set(records.values())) == len(records) > 1


def test_the_ladder_names_recipes_that_exist() -> None:
    from experiments.ladder import LADDERS

    for rungs in LADDERS.values():
        for file, names in rungs.items():
            assert set(names) <= set(recipes(load_file(FILES[0].parent / file)))
