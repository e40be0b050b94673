"""Random numbers follow from a seed and a name, and the global generators stay as they were."""

from __future__ import annotations

import torch

from domainmetric.randomness import derive, generator, isolated


def test_derived_seeds_differ_by_seed_name_and_order() -> None:
    seeds = {
        derive(0, "a", 1),
        derive(1, "a", 1),
        derive(0, "b", 1),
        derive(0, "a", 2),
        derive(0, 1, "a"),
        derive(0, "a1"),
    }
    assert len(seeds) == 6
    assert derive(0, "a", 1) == derive(0, "a", 1)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_derived_seed_is_the_same_on_every_machine() -> None:
    assert derive(3, "adapt/target", 7) == 4124658615190003304


def test_generators_of_one_name_draw_the_same() -> None:
    one, two, other = (torch.rand(5, generator=generator("cpu", 0, name)) for name in ("a", "a", "b"))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_isolated_seeds_inside_and_restores_outside() -> None:
    before = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with isolated(0, "x"):
            drawn.append(torch.rand(3))
    with isolated(1, "x"):
        other = torch.rand(3)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], other)
    assert torch.equal(torch.get_rng_state(), before)
