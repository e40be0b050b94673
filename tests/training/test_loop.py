"""The loop: learning rates, calibration, repeatability, and looks that change nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from domainmetric.experiment import Optimizer
from domainmetric.models.standardize import standardize
from domainmetric.schedules import Constant, OneCycle
from domainmetric.training.batches import Batches
from domainmetric.training.loop import calibrate, set_learning_rate
from tests import tiny
from tests.training.running import same, short, told, train, weights, wired


def test_learning_rates_follow_the_schedule_of_their_group() -> None:
    one, other = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    settings = Optimizer(lr=0.2, branch_lr_factor=0.5), Optimizer(lr=0.01, schedule=Constant())
    optimizer = torch.optim.AdamW([settings[0].group([one], branch=True), settings[1].group([other], branch=False)])
    for progress in (0.0, 0.1, 0.99):
        set_learning_rate(optimizer, progress)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1 * OneCycle().at(progress), 0.01])


def test_measuring_and_looking_change_no_weight(tmp_path: Path) -> None:
    often, seldom = (
        replace(e, evaluation=replace(e.evaluation, every=every, gradient_every=every))
        for every, e in ((3, short(tiny.full(tmp_path / "a"))), (50, short(tiny.full(tmp_path / "b"))))
    )
    one, other = train(often), train(seldom)
    assert same(weights(one), weights(other))
    assert len(told(one)) > len(told(other))


def test_runs_of_one_seed_are_the_same_and_of_another_are_not(tmp_path: Path) -> None:
    one, again = (train(short(tiny.full(tmp_path / name))) for name in ("a", "b"))
    other = train(short(tiny.full(tmp_path / "c", seed=1)))
    assert same(weights(one), weights(again)) and told(one) == told(again)
    assert not same(weights(one), weights(other))


def test_calibration_is_the_mean_statistics_of_clean_target_batches() -> None:
    state, batches = wired(tiny.experiment(Path("runs"), "mmd"), "adapt")
    network = state.network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = {name: module.training for name, module in network.named_modules()}
    calibrate(network, batches, 3)
    first = network.branches["target"].backbone[1]  # the first batch norm, after the first convolution
    assert isinstance(first, torch.nn.BatchNorm2d)
    means = [mean_after_first_convolution(network, batches, step) for step in range(3)]
    torch.testing.assert_close(first.running_mean, torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)
    assert first.momentum == 0.1
    assert {name: module.training for name, module in network.named_modules()} == modes
    for name, value in network.state_dict().items():
        statistic = "target" in name and ("running_" in name or "num_batches" in name)
        assert statistic or torch.equal(value, before[name])
    batches.close()


@torch.no_grad()
def mean_after_first_convolution(network: torch.nn.Module, batches: Batches, step: int) -> torch.Tensor:
    images = standardize(batches.target(step).clean)
    return network.branches["target"].backbone[0](images).mean((0, 2, 3))  # type: ignore[no-any-return,index,operator]
