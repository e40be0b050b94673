"""What holds for every part of an objective, alignment terms included."""

from __future__ import annotations

import copy

import pytest
import torch

from domainmetric.alignment.base import AlignmentTerm
from domainmetric.randomness import isolated
from domainmetric.step import Part, PartContext, PartModule
from tests.contracts.family import classes, members, named
from tests.contracts.steps import D, K, aligned_step

parts = pytest.mark.parametrize("part", members(Part), ids=named)


def built(part: Part) -> PartModule:
    with isolated(0, "part"):
        return part.build(PartContext(num_classes=K, embedding_dim=D))


@parts
@pytest.mark.parametrize(("n", "m"), [(12, 17), (17, 12), (4, 4)])
def test_a_part_is_one_finite_number_with_a_gradient(part: Part, n: int, m: int) -> None:
    step = aligned_step(n=n, m=m)
    value = built(part)(step)
    assert value.ndim == 0 and value.isfinite() and value.dtype == torch.float32
    leaves = [step.encoded_source.z, step.z_t, *([] if step.encoded_labelled is None else [step.encoded_labelled.z])]
    found = [g for g in torch.autograd.grad(value, leaves, allow_unused=True) if g is not None]
    assert found and all(g.isfinite().all() for g in found)
    assert any(g.abs().max() > 0 for g in found)


@parts
def test_one_class_only_is_no_disaster(part: Part) -> None:
    step = aligned_step(one_class=True)
    value = built(part)(step)
    value.backward()
    assert value.isfinite()
    for z in (step.encoded_source.z, step.z_t):
        assert z.grad is None or z.grad.isfinite().all()


@parts
def test_a_part_is_repeatable(part: Part) -> None:
    assert torch.equal(built(part)(aligned_step()), built(part)(aligned_step()))


@parts
def test_a_part_does_not_change_the_step(part: Part) -> None:
    step = aligned_step()
    before = copy.deepcopy((step.source.labels, step.z_t.detach(), step.encoded_source.z.detach()))
    built(part)(step)
    after = (step.source.labels, step.z_t, step.encoded_source.z)
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    assert all(note.ndim == 0 and not note.requires_grad for note in step.notes.values())


@parts
def test_what_a_part_keeps_can_be_saved(part: Part) -> None:
    module, other = built(part), built(part)
    other.load_state_dict(module.state_dict())
    assert torch.equal(module(aligned_step()), other(aligned_step()))


@pytest.mark.parametrize("cls", classes(AlignmentTerm), ids=lambda cls: cls.__name__)
def test_alignment_moves_the_target(cls: type[AlignmentTerm]) -> None:
    part, step = cls(), aligned_step()
    assert "target" in part.needs and "labelled_target" not in part.needs
    (gradient,) = torch.autograd.grad(built(part)(step), step.z_t)
    assert gradient.abs().max() > 0
