"""The cross-batch memory: a ring like a deque, offered after its warm-up, without gradient, and saved whole."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from domainmetric.errors import ConfigError, DataError
from domainmetric.geometry import normalize
from domainmetric.losses.base import MetricLoss
from domainmetric.losses.margin import MarginTriplet
from domainmetric.memory import CrossBatchMemory, Memory
from domainmetric.miners.hard import EasyPositiveHardNegative, HardNegative
from domainmetric.pairs import Role, Roles, StepPairs
from domainmetric.step import PartContext, PartModule, Step
from domainmetric.terms import SOURCE_DIRECTIONS, Metric
from domainmetric.types import Group
from tests.contracts.steps import D, K, aligned_step
from tests.reference import labels, square, unit

CONTEXT = PartContext(num_classes=K, embedding_dim=D)
WITHIN = Roles(anchor="source", positive="source", negative="source")
SIZES = (5, 3, 7, 1, 6, 40, 2, 16, 9)
"""Batches of a ring of 16: it wraps in the middle of one, one fills it exactly, and one is larger than it."""


def batch(index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, labels, and which are kept."""
    n = SIZES[index]
    return unit(index, n, dtype=torch.float32), labels(index + 50, n), torch.arange(n) % 3 != index % 3


def test_a_memory_is_a_queue_of_fixed_length() -> None:
    memory, reference = CrossBatchMemory(16, 6), deque[tuple[Tensor, int, bool]](maxlen=16)
    for index in range(len(SIZES)):
        z, y, keep = batch(index)
        memory.enqueue(z, y, keep)
        reference.extend(zip(z, y.tolist(), keep.tolist(), strict=True))
        kept = [(row, label) for row, label, k in reference if k]
        assert torch.equal(memory.z, torch.stack([row for row, _ in kept]))
        assert memory.labels.tolist() == [label for _, label in kept]
        assert int(memory.fill) == len(reference)
        assert int(memory.pointer) == sum(SIZES[: index + 1]) % 16
        offered = memory.group()
        assert int(offered.kept().sum()) == len(kept) and len(offered) == 16


def test_without_a_mask_everything_is_kept() -> None:
    memory = CrossBatchMemory(16, 6)
    memory.enqueue(unit(0, 5), labels(1, 5))
    assert memory.z.dtype == torch.float32
    torch.testing.assert_close(memory.z, unit(0, 5, dtype=torch.float32))
    assert torch.equal(memory.labels, labels(1, 5))


def test_a_memory_is_saved_and_restored_whole() -> None:
    memory, other = CrossBatchMemory(16, 6, warmup=4), CrossBatchMemory(16, 6, warmup=4)
    for index in range(3):
        memory.enqueue(*batch(index))
    assert list(memory.parameters()) == []
    other.load_state_dict({name: value.clone() for name, value in memory.state_dict().items()})
    for index in range(3, 6):
        memory.enqueue(*batch(index))
        other.enqueue(*batch(index))
        assert torch.equal(memory.z, other.z) and torch.equal(memory.labels, other.labels)
    assert all(
        torch.equal(a, b) for a, b in zip(memory.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_nothing_is_offered_before_the_warm_up() -> None:
    memory = CrossBatchMemory(16, 6, warmup=3)
    for index in range(5):
        assert (len(memory.z) > 0) == bool(memory.group().kept().any()) == (index >= 3)
        memory.enqueue(*batch(index))


def test_what_a_step_does_never_waits_for_the_device() -> None:
    with torch.device("meta"):  # where tensors have no values, so that asking for one fails
        memory, z, y = CrossBatchMemory(16, 6, warmup=2), torch.empty(5, 6), torch.empty(5, dtype=torch.int64)
        for _ in range(3):
            assert len(memory.group()) == len(memory.group().kept()) == 16
            memory.enqueue(z, y, torch.empty(5, dtype=torch.bool))
        with pytest.raises(RuntimeError):
            bool(memory.fill > 0)


def test_a_batch_of_another_shape_is_refused(unchecked_shapes: None) -> None:
    with pytest.raises(DataError, match=r"shape \(n, 6\) and n labels, but they came as \(3, 5\) and \(3,\)"):
        CrossBatchMemory(16, 6).enqueue(unit(0, 3, d=5), labels(0, 3))
    with pytest.raises(DataError, match=r"\(3, 6\) and \(2,\)"):
        CrossBatchMemory(16, 6).enqueue(unit(0, 3), labels(0, 2))


def test_outside_a_step_a_memory_is_a_reference_set() -> None:
    memory, loss, miner = CrossBatchMemory(16, 6), MarginTriplet(margin=0.3), EasyPositiveHardNegative()
    memory.enqueue(*batch(0))
    memory.enqueue(*batch(2))
    z, y = unit(9, 8, dtype=torch.float32).requires_grad_(), labels(9, 8)
    chosen = miner(z, y, memory.z, memory.labels)
    value = loss(z, y, chosen, ref_emb=memory.z, ref_labels=memory.labels)
    rows = z.detach()
    expected = [
        max(0.0, square(rows[a], memory.z[p]) - square(rows[a], memory.z[n]) + 0.3)
        for a, p, n in zip(chosen.anchor, chosen.positive, chosen.negative, strict=True)
    ]
    assert len(expected) > 2
    assert float(value.detach()) == pytest.approx(sum(expected) / len(expected), abs=1e-5)
    value.backward()
    assert z.grad is not None and z.grad.abs().max() > 0 and not memory.embeddings.requires_grad


def built(part: Metric) -> PartModule:
    return part.build(CONTEXT)


def another_step(seed: int) -> Step:
    """A step of the same sizes and labels with other embeddings."""
    step = aligned_step()
    assert step.pairs is not None
    groups: dict[Role, Group] = {}
    for place, role in enumerate(("source", "target", "matched")):
        group = step.pairs.group(role)  # type: ignore[arg-type]
        draw = torch.Generator().manual_seed(100 * seed + place)
        z = normalize(torch.randn(len(group), D, generator=draw)).requires_grad_()
        groups[role] = replace(group, z=z)  # type: ignore[index]
    source = step.encoded_source._replace(z=groups["source"].z)  # the leaf, for those who ask for its gradient
    return replace(step, pairs=StepPairs(groups), encoded_source=source)


def rows(step: Step, role: Role) -> list[tuple[Tensor, int]]:
    """The kept rows of a role, with their labels."""
    assert step.pairs is not None
    group = step.pairs.group(role)
    return [(z.detach(), int(y)) for z, y, k in zip(group.z, group.labels, group.kept(), strict=True) if k]


def by_loops(step: Step, before: list[Step], roles: Roles, size: int) -> list[float]:
    """Hinges (margin 0.3) over all triplets of the step, with the memory of earlier steps among the columns."""

    def remembered(role: Role) -> list[tuple[Tensor, int]]:
        if role == "matched":
            return []
        if role == "both":
            return remembered("source") + remembered("target")
        queue = deque[tuple[Tensor, int, bool]](maxlen=size)
        for earlier in before:
            assert earlier.pairs is not None
            group = earlier.pairs.group(role)
            queue.extend(zip(group.z.detach(), group.labels.tolist(), group.kept().tolist(), strict=True))
        return [(z, y) for z, y, k in queue if k]

    found = []
    for z, y in rows(step, roles.anchor):
        positives = [p for p, label in rows(step, roles.positive) if label == y and not torch.equal(p, z)]
        positives += [p for p, label in remembered(roles.positive) if label == y]
        negatives = [n for n, label in rows(step, roles.negative) + remembered(roles.negative) if label != y]
        found += [max(0.0, square(z, p) - square(z, n) + 0.3) for p in positives for n in negatives]
    return found


@pytest.mark.parametrize(
    "roles",
    [
        WITHIN,
        Roles(),
        SOURCE_DIRECTIONS[0],
        Roles(anchor="target", positive="source", negative="target"),
        Roles(anchor="source", positive="matched", negative="target"),
        Roles(anchor="both", positive="both", negative="both"),
        Roles(anchor="target", positive="both", negative="source"),
    ],
    ids=lambda r: f"{r.anchor}-{r.positive}-{r.negative}",
)
def test_a_step_with_a_memory_is_the_loop_over_batch_and_queue(roles: Roles) -> None:
    part = built(Metric(roles=(roles,), miner=None, loss=MarginTriplet(margin=0.3), memory=Memory(size=20, warmup=0)))
    steps = [another_step(seed) for seed in range(3)]
    for index, step in enumerate(steps):
        expected = by_loops(step, steps[:index], roles, 20)
        assert float(part(step).detach()) == pytest.approx(sum(expected) / len(expected), abs=1e-5)
        prefix = "source_triplets" if roles == WITHIN else "triplets"
        assert int(step.notes[f"{prefix}/used"]) == len(expected)


def test_the_gradient_flows_through_the_batch_alone() -> None:
    part, first, second = (
        built(Metric(roles=(WITHIN,), memory=Memory(size=20, warmup=0))),
        another_step(0),
        another_step(1),
    )
    part(first)
    value = part(second)
    gradients = torch.autograd.grad(value, [second.encoded_source.z, first.encoded_source.z], allow_unused=True)
    assert gradients[0] is not None and gradients[0].abs().max() > 0
    assert gradients[1] is None
    assert not any(buffer.requires_grad for buffer in part.buffers())


@pytest.mark.parametrize("miner", [None, HardNegative(), EasyPositiveHardNegative()], ids=["all", "hard", "easy"])
def test_the_warm_up_gives_the_loss_without_a_memory(miner: HardNegative | None) -> None:
    plain = Metric(miner=miner, roles=SOURCE_DIRECTIONS)
    with_memory, without = built(replace(plain, memory=Memory(size=64, warmup=3))), built(plain)
    for seed in range(5):
        one, two = another_step(seed), another_step(seed)
        value, expected = with_memory(one), without(two)
        if seed < 3:
            torch.testing.assert_close(value, expected)
            assert all(torch.equal(one.notes[name], note) for name, note in two.notes.items() if "used" in name)
        else:
            assert not torch.isclose(value, expected)


def test_what_is_remembered_is_part_of_the_state() -> None:
    part, other = (built(Metric(memory=Memory(size=20, warmup=0), roles=SOURCE_DIRECTIONS)) for _ in range(2))
    for seed in range(3):
        part(another_step(seed))
    other.load_state_dict(part.state_dict())
    assert torch.equal(part(another_step(9)), other(another_step(9)))
    assert {name.rpartition(".")[0] for name in part.state_dict()} == {
        "memories.of_domain.source",
        "memories.of_domain.target",
    }
    assert list(part.parameters()) == []


def test_only_domains_that_the_roles_draw_from_are_remembered() -> None:
    assert built(Metric(memory=Memory(), roles=(WITHIN,))).state_dict().keys() == {
        f"memories.of_domain.source.{name}" for name in CrossBatchMemory(1, 1).state_dict()
    }
    assert built(Metric()).state_dict() == {}


def test_remembered_items_are_no_items_of_the_step() -> None:
    seen = []

    class Spy(MetricLoss):
        def of(self, pairs, triplets=None):  # type: ignore[no-untyped-def]
            seen.append(pairs)
            return MarginTriplet().of(pairs, triplets)

    three = Roles(anchor="matched", positive="source", negative="target")  # whose columns come from both memories
    part = built(Metric(loss=Spy(), roles=(*SOURCE_DIRECTIONS, three), memory=Memory(size=20, warmup=0)))
    part(another_step(0))
    part(another_step(1))
    for pairs in seen:
        items = torch.cat([pairs.column_items, pairs.row_items]).tolist()
        assert len(set(items)) == len(items), "rows and columns of these roles are all unlike"
        assert len(pairs.column_items) == pairs.sq_chord.shape[1] == len(pairs.columns)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Memory(size=0), "Memory.size must be at least 1, but is 0. To do without, set memory=None."),
        (lambda: Memory(warmup=-1), "Memory.warmup must not be negative, but is -1."),
        (
            lambda: Metric(memory=Memory(), roles=(Roles(anchor="target", positive="matched", negative="matched"),)),
            (
                "Metric.memory remembers source and target items, but `roles` take no positives or negatives from "
                "these, so it would be ignored. Set memory=None."
            ),
        ),
    ],
)
def test_refused_settings(make: type, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
