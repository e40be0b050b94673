"""pytorch-adapt's layers and loss hooks as alignment terms: their own values and gradients, and their faults told."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from domainmetric.alignment.adapt_keys import FEATURES, LOGITS, from_adapt, to_adapt
from domainmetric.alignment.base import AlignmentTerm
from domainmetric.alignment.coral import Coral
from domainmetric.errors import ConfigError
from domainmetric.randomness import isolated
from domainmetric.serialize import from_json, to_json, user_names
from domainmetric.step import PartContext, PartModule, Step
from tests.contracts.steps import D, K, aligned_step
from tests.interop import adapted
from tests.interop.adapted import LOGITS_OF_TARGET, Confusion, Hook, Layer, Reversed, hooks, layers

CONTEXT = PartContext(num_classes=K, embedding_dim=D)
QUADRATIC = partial(layers.MMDLoss, mmd_type="quadratic")


def built(term: AlignmentTerm, *, seed: int = 0) -> PartModule:
    with isolated(seed, "term"):
        return term.build(CONTEXT)


def gradients(value: Tensor, step: Step) -> list[Tensor]:
    leaves = [step.encoded_source.z, step.z_t]
    found = torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(z) if g is None else g for z, g in zip(leaves, found, strict=True)]


def test_a_step_in_their_words() -> None:
    step = aligned_step(n=12, m=17)
    found = to_adapt(step)
    assert set(found) == {
        "src_imgs", "src_labels", "src_sample_idx", "src_domain", "target_imgs", "target_sample_idx", "target_domain",
        *FEATURES, *LOGITS,
    }  # fmt: skip
    assert found["src_domain"].tolist() == [0] * 12 and found["target_domain"].tolist() == [1] * 17
    assert found["src_imgs_features"] is step.encoded_source.z and found[LOGITS_OF_TARGET] is step.aligned().logits
    source, target = from_adapt({**found, "target_labels": torch.zeros(17)})
    assert source.images is step.source.images and source.labels is step.source.labels
    assert torch.equal(target.rows, step.target.rows) and target.clean is target.images is step.target.images


@pytest.mark.parametrize(
    ("make", "keys"),
    [
        (QUADRATIC, FEATURES),
        (layers.CORALLoss, FEATURES),
        (layers.MMDLoss, ("src_imgs_features", "src_imgs_features")),
        (layers.MCCLoss, (LOGITS_OF_TARGET,)),
        (layers.BNMLoss, (LOGITS_OF_TARGET,)),
        (layers.EntropyLoss, (LOGITS_OF_TARGET,)),
        (layers.DiversityLoss, (LOGITS_OF_TARGET,)),
        (layers.BatchSpectralLoss, ("target_imgs_features",)),
        (layers.AdaptiveFeatureNorm, ("target_imgs_features",)),
        (partial(layers.MMDBatchedLoss, mmd_type="quadratic", batch_size=5), FEATURES),
    ],
)
def test_a_layer_gives_its_own_value_and_gradient(make: Callable[[], nn.Module], keys: tuple[str, ...]) -> None:
    step = aligned_step()
    ours, theirs = built(Layer(make_layer=make, keys=keys))(step), make()(*(to_adapt(step)[key] for key in keys))
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(gradients(ours, step), gradients(theirs, step), strict=True):
        torch.testing.assert_close(one, other)


def test_their_coral_is_ours() -> None:
    step = aligned_step()
    torch.testing.assert_close(built(Layer(make_layer=layers.CORALLoss))(step), built(Coral())(step))


def test_a_layer_that_draws_is_repeatable_and_draws_anew_each_step() -> None:
    module = built(Layer(make_layer=layers.SlicedWasserstein, keys=LOGITS))
    step = aligned_step(n=12, m=12)
    first, second = module(step), module(step)
    assert torch.equal(first, module(aligned_step(n=12, m=12))) and not torch.equal(first, second)
    assert module(replace(step, generator=None)).isfinite()


def test_sides_follow_from_what_a_layer_is_called_with() -> None:
    assert Confusion().moves(0.5) == {"target"}
    assert Layer(make_layer=layers.CORALLoss).moves(0.5) == {"source", "target"}


@pytest.mark.parametrize(
    "make",
    [
        partial(hooks.AlignerHook, loss_fn=QUADRATIC()),
        partial(hooks.AlignerHook, loss_fn=layers.CORALLoss(), layer="logits"),
        partial(hooks.JointAlignerHook, loss_fn=QUADRATIC()),
        partial(hooks.FeaturesLogitsAlignerHook, loss_fn=QUADRATIC()),
        partial(hooks.ManyAlignerHook, loss_fn=layers.CORALLoss()),
        hooks.BNMHook, hooks.MCCHook, hooks.BSPHook, hooks.AFNHook, hooks.TargetEntropyHook, hooks.TargetDiversityHook,
        hooks.ISTLossHook, hooks.CLossHook,
    ],
)  # fmt: skip
def test_a_hook_gives_the_mean_of_its_own_losses(make: Callable[[], Any]) -> None:
    step = aligned_step()
    losses = make()(to_adapt(step))[1]
    theirs = sum(loss.mean() for loss in losses.values()) / len(losses)
    ours = built(Hook(make_hook=make))(step)
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(gradients(ours, step), gradients(theirs, step), strict=True):
        torch.testing.assert_close(one, other)


def test_dann_by_their_hooks_reverses_and_trains_the_discriminator() -> None:
    step, module = aligned_step(), built(Reversed(strength=0.5))
    (weight, bias), value = module.parameters(), module(step)
    logits = [z @ weight.T + bias for z in (step.encoded_source.z, step.z_t)]
    plain = (nn.functional.softplus(logits[0]).mean() + nn.functional.softplus(-logits[1]).mean()) / 2
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(torch.autograd.grad(value, weight, retain_graph=True), torch.autograd.grad(
        plain, weight, retain_graph=True))  # fmt: skip
    for reverse, straight in zip(gradients(value, step), gradients(plain, step), strict=True):
        torch.testing.assert_close(reverse, -0.5 * straight)


@pytest.mark.parametrize("term", [Reversed(), Hook(make_hook=hooks.BSPHook), Confusion()])
def test_what_a_term_keeps_is_saved_and_copied(term: AlignmentTerm) -> None:
    module, other = built(term), built(term, seed=1)
    other.load_state_dict(module.state_dict())
    copied = copy.deepcopy(module)
    with torch.no_grad():
        for weight in copied.parameters():
            weight.mul_(2)
    assert torch.equal(module(aligned_step()), other(aligned_step()))
    assert torch.equal(module(aligned_step()), built(term)(aligned_step())), "a copy has weights of its own"


def test_no_number_of_equal_embeddings_is_passed_on_for_the_alarm() -> None:
    step = aligned_step()
    same = step.encoded_source._replace(z=torch.ones_like(step.encoded_source.z))
    collapsed = replace(step, encoded_source=same, encoded_target=same)
    assert math.isnan(float(built(Layer(make_layer=QUADRATIC))(collapsed)))


def optimizing() -> Any:
    return hooks.AlignerPlusCHook(opts=["G"])


def silent() -> Any:
    return hooks.FeaturesHook()


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (Layer(make_layer=layers.MMDBatchedLoss), r"Layer.make failed: mmd_type must be 'quadratic'"),
        (Layer(make_layer=layers.MMDLoss), r"Layer made refuses this step. ValueError: .* the same batch size"),
        (Layer(make_layer=layers.SlicedWasserstein), r"RuntimeError: The size of tensor a"),
        (Layer(make_layer=layers.CORALLoss, keys=("features",)), r"KeyError: 'features'. .* none of these: .*src_imgs"),
        (Hook(make_hook=hooks.DomainLossHook), r"KeyError: in DomainLossHook.* D. .* nor a model that it was given"),
        (Hook(make_hook=optimizing), r"The hook of Hook steps an optimizer of its own"),
        (Hook(make_hook=silent), r"it returned no loss"),
    ],
)
def test_what_cannot_be_used_is_told(term: AlignmentTerm, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        built(term)(aligned_step())


def test_they_compute_in_float32_under_autocast() -> None:
    module = built(Layer(make_layer=QUADRATIC))
    plain = module(aligned_step())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(module(aligned_step()), plain, rtol=0, atol=0)


def test_it_is_a_spec_of_a_users_file() -> None:
    written = json.loads(json.dumps(to_json(Confusion(temperature=3))))
    assert written == {"class": "user.Confusion", "temperature": 3}
    assert from_json(written, user_names(vars(adapted))) == Confusion(temperature=3)
