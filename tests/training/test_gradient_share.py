"""Each term's share of the gradient, at the embeddings that it acts on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from domainmetric.training.tracking import history
from tests import tiny
from tests.training.running import train


def test_shares_tell_where_each_term_acts(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "triplet", "information", source_steps=2, adapt_steps=2)
    watched = replace(experiment, evaluation=replace(experiment.evaluation, gradient_every=1))
    values = history(train(watched))
    assert values["gradient/source/classify"][1][0] == pytest.approx(1)  # alone, in the source phase
    last = {name: series[-1] for name, (_, series) in values.items() if name.startswith("gradient/")}
    assert last["gradient/source/classify"] > 0.01  # its logits come from the same embeddings as the triplets
    assert last["gradient/source/triplet"] > 0.01
    assert last["gradient/source/information"] == 0
    assert last["gradient/target/classify"] == 0
    assert last["gradient/target/triplet"] > 0.01
    assert last["gradient/target/information"] > 0.01
    for where in ("source", "target"):
        shares = [value for name, value in last.items() if name.startswith(f"gradient/{where}/")]
        assert sum(shares) == pytest.approx(1)
