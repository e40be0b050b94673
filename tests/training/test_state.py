"""The moving parts of a phase: written down and taken up again, frozen and free, and the window of a report."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from domainmetric.errors import RunFolderError
from domainmetric.experiment import AdaptationPhase, Optimizer, Trainable
from domainmetric.models.cnn import SmallCnn
from domainmetric.models.network import Model, Network, Tied
from domainmetric.randomness import isolated
from domainmetric.schedules import Constant
from domainmetric.training.banks import refresh
from domainmetric.training.state import PhaseState, Window, group, load_weights, set_training
from tests import tiny
from tests.training.running import same, wired


def tied() -> Network:
    with isolated(0, "network"):
        return Model(branches=Tied(shared=SmallCnn(widths=(4, 8))), embedding_dim=6).build(
            {"source": 3, "target": 1}, 12, 4
        )


def stepped(seed: int) -> PhaseState:
    """The state of the whole method after one step, from another seed's network."""
    experiment = tiny.full(Path("runs"), seed=seed)
    state, batches = wired(experiment, "adapt")
    assert state.teacher is not None and state.matcher is not None
    refresh(state.matcher, state.teacher, experiment, batches.data, 0)
    step = state.objective.prepare(state.network, batches, 0, 0.5, teacher=state.teacher, matcher=state.matcher)
    values = state.objective(step)
    torch.stack(list(values.values())).sum().backward()
    state.optimizer.step()
    state.window.add(values)
    state.window.add({name: 2 * value for name, value in values.items()})
    batches.close()
    return state


def test_a_state_takes_up_all_that_another_wrote_down() -> None:
    one, other = stepped(0), stepped(1)
    written = {name: value.detach().clone() for name, value in one.tensors().items()}
    assert set(group(written)) == {"network", "objective", "teacher", "matcher", "optimizer", "window"}
    assert not same(other.tensors(), written)
    other.restore(written, 7)
    assert same({name: value.detach() for name, value in other.tensors().items()}, written)
    assert other.step == 7
    for parameter, values in other.optimizer.state.items():
        assert values["exp_avg"].stride() == parameter.stride()
    assert other.window.means() == one.window.means()


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RunFolderError, match="The checkpoint does not fit this experiment"):
        load_weights(torch.nn.LayerNorm(2), {"weight": torch.zeros(3), "bias": torch.zeros(3)})


def test_a_window_is_the_mean_of_its_steps_and_starts_anew() -> None:
    window = Window()
    assert window.tensors() == {}
    for value in (1.0, 2.0, 6.0):
        window.add({"a": torch.tensor(value), "b": torch.tensor(-value)})
    again = Window()
    again.restore(window.tensors())
    assert window.means() == again.means() == {"a": 3.0, "b": -3.0}
    assert window.values == []
    again.restore({})
    assert again.values == []


def test_only_what_is_named_trains() -> None:
    state, batches = wired(tiny.experiment(Path("runs"), "mmd"), "adapt")
    batches.close()
    network = state.network
    moving = set_training(network, ("target_branch", "classifier"))
    named = {id(p) for module in (network.branches["target"], network.classifier) for p in module.parameters()}
    assert {id(p) for parameters in moving.values() for p in parameters} == named
    assert not moving["source_branch"] and not moving["head"]
    assert {id(p) for p in network.parameters() if p.requires_grad} == named
    assert network.branches["target"].training and not network.branches["source"].training and not network.head.training


def test_a_shared_branch_is_trained_once() -> None:
    network = tied()
    moving = set_training(network, ("source_branch", "target_branch", "head", "classifier"))
    assert len(moving["source_branch"]) == len(list(network.branches["source"].parameters()))
    assert not moving["target_branch"]


def test_parts_move_by_their_own_settings() -> None:
    one, two, other, weight = (torch.nn.Parameter(torch.zeros(1)) for _ in range(4))
    phase = AdaptationPhase(
        terms=("mmd",),
        steps=10,
        trains=("source_branch", "target_branch", "head"),
        optimizer=Optimizer(lr=0.2, branch_lr_factor=0.5),
        target_optimizer=Optimizer(lr=0.01, weight_decay=0.3, epsilon=0.5, schedule=Constant()),
    )
    moving: dict[Trainable, list[torch.nn.Parameter]] = {
        "source_branch": [one],
        "target_branch": [two],
        "head": [other],
        "classifier": [],
    }
    optimizer = phase.build_optimizer(moving, [weight])
    assert [group["params"] for group in optimizer.param_groups] == [[one], [two], [other], [weight]]
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.01, 0.2, 0.2]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-3, 0.3, 1e-3, 1e-3]
    assert [group["eps"] for group in optimizer.param_groups] == [1e-8, 0.5, 1e-8, 1e-8]


@pytest.mark.parametrize(("epsilon", "ratio"), [(1e-8, 1.0), (1e3, 100.0)])
def test_a_weight_counts_only_where_epsilon_is_above_the_gradients(epsilon: float, ratio: float) -> None:
    """The same gradients, once with a weight of 1 and once of 0.01: how many times as far does the first one move?"""
    gradients = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    moved = []
    for weight in (1.0, 0.01):
        parameter = torch.nn.Parameter(torch.zeros(3))
        group = Optimizer(lr=0.1, weight_decay=0, epsilon=epsilon).group([parameter], branch=False)
        optimizer = torch.optim.AdamW([group])
        for gradient in gradients:
            parameter.grad = weight * gradient
            optimizer.step()
        moved.append(parameter.detach().norm().item())
    assert moved[0] / moved[1] == pytest.approx(ratio, rel=1e-2)


def test_two_groups_are_two_optimizers() -> None:
    """AdamW over two groups moves each as an AdamW of its own would."""
    draw = torch.Generator().manual_seed(0)
    gradients = torch.randn(5, 2, 3, generator=draw)
    together = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    alone = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    settings = [Optimizer(lr=0.1), Optimizer(lr=0.01, weight_decay=0.5)]
    both = torch.optim.AdamW([s.group([p], branch=True) for s, p in zip(settings, together, strict=True)])
    apart = [torch.optim.AdamW([p], lr=s.lr, weight_decay=s.weight_decay) for s, p in zip(settings, alone, strict=True)]
    for gradient in gradients:
        for parameters in (together, alone):
            for parameter, value in zip(parameters, gradient, strict=True):
                parameter.grad = value.clone()
        for optimizer in (both, *apart):
            optimizer.step()
    for p, q in zip(together, alone, strict=True):
        assert torch.equal(p, q)
