"""pytorch-adapt's validators as selection scores: their own numbers, no target labels, and their faults told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from domainmetric.errors import ConfigError
from domainmetric.metrics.adapt import LOWEST, AdaptScore, shown_of
from domainmetric.metrics.selection import Entropy, Evidence
from domainmetric.serialize import from_json, to_json, user_names
from tests.interop import adapted
from tests.interop.adapted import Gap, Score, validators


def evidence() -> Evidence:
    draw = torch.Generator().manual_seed(0)
    return Evidence(
        target_z=torch.randn(40, 6, generator=draw),
        target_logits=3 * torch.randn(40, 4, generator=draw),
        source_z=torch.randn(30, 6, generator=draw),
        source_logits=torch.eye(4).repeat(8, 1)[:30],
        source_labels=(torch.arange(30) % 4).index_fill(0, torch.arange(3), 3),
        target_neighbors=torch.zeros(40, 0, dtype=torch.int64),
    )


@pytest.mark.parametrize(
    "make",
    [
        validators.EntropyValidator, validators.DiversityValidator, validators.IMValidator, validators.BNMValidator,
        validators.SNDValidator, validators.AccuracyValidator, validators.ISTValidator, validators.KNNValidator,
        validators.NearestSourceValidator, validators.NearestSourceL2Validator,
        partial(validators.ClassClusterValidator, centroid_init="label_centers"),
        partial(validators.MMDValidator, mmd_kwargs={"mmd_type": "quadratic"}),
    ],
)  # fmt: skip
def test_a_validator_gives_its_own_number(make: Callable[[], Any]) -> None:
    given = evidence()
    source = {
        "features": given.source_z,
        "logits": given.source_logits,
        "preds": given.source_logits.softmax(1),
        "domain": torch.zeros(30, dtype=torch.int64),
        "labels": given.source_labels,
    }
    target = {
        "features": given.target_z,
        "logits": given.target_logits,
        "preds": given.target_logits.softmax(1),
        "domain": torch.ones(40, dtype=torch.int64),
    }
    validator = make()
    shown = {name: target if name == "target_train" else source for name in validator.required_data}
    assert Score(make_validator=make).score(given) == pytest.approx(float(validator(**shown)), abs=1e-6)


def test_higher_is_better_as_with_our_own() -> None:
    given = evidence()
    theirs = Score(make_validator=validators.EntropyValidator)
    assert theirs.score(given) == pytest.approx(Entropy().score(given), abs=1e-5)
    assert Gap().score(replace(given, target_z=given.target_z + 3)) < Gap().score(given)


def test_what_draws_at_random_gives_the_same_each_time() -> None:
    """Their k-means starts from numpy's global state, which the tests' guard holds to what it was."""
    score = Score(make_validator=validators.ClassClusterValidator)
    assert score.score(evidence()) == score.score(evidence())


def test_target_labels_are_not_there_to_be_seen() -> None:
    assert "labels" not in shown_of(evidence())["target_train"]
    on_target = partial(validators.AccuracyValidator, key_map={"target_train": "src_val"})
    with pytest.raises(ConfigError, match=r"AccuracyValidator of Score failed with KeyError: 'labels'"):
        Score(make_validator=on_target).score(evidence())
    with pytest.raises(ConfigError, match=r"asks for target_val, but .* target labels never"):
        Score(make_validator=partial(validators.EntropyValidator, key_map={"target_val": "target_train"}))


def test_a_collapse_of_which_it_makes_no_number_is_the_worst() -> None:
    given = evidence()
    collapsed = replace(given, target_z=torch.ones(40, 6), source_z=torch.ones(30, 6))
    assert Gap().score(collapsed) == LOWEST < Gap().score(given)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (validators.MMDValidator, "Score.make failed: mmd_type must be 'quadratic'"),
        (validators.APValidator, "Score.make failed: 'num_classes' must be provided"),
    ],
)
def test_what_cannot_be_made_is_told_when_it_is_named(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Score(make_validator=make)


def test_one_that_fails_says_so(tmp_path: Any) -> None:
    def deep() -> Any:
        return validators.DeepEmbeddedValidator(temp_folder=str(tmp_path))

    with pytest.raises(ConfigError, match=r"DeepEmbeddedValidator of Score failed with .* Choose another score"):
        Score(make_validator=deep).score(evidence())


def test_it_is_a_spec_of_a_users_file() -> None:
    written = json.loads(json.dumps(to_json(Gap())))
    read = from_json(written, user_names(vars(adapted)))
    assert written == {"class": "user.Gap"} and isinstance(read, AdaptScore) and read == Gap()
