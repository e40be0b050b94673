"""MMD against loops and pytorch-adapt, and the bounds of entropy and information."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from domainmetric.statistics import BANDWIDTHS, entropy, information, mmd2
from tests.reference import square, unit

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_adapt.layers import MMDLoss


def mmd2_by_loops(x: torch.Tensor, y: torch.Tensor, *, unbiased: bool) -> float:
    both = [*x, *y]
    pairs = [(i, j) for i in range(len(both)) for j in range(len(both)) if i != j]
    scale = sum(square(both[i], both[j]) for i, j in pairs) / len(pairs)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return sum(math.exp(-square(a, b) / (factor * scale)) for factor in BANDWIDTHS) / len(BANDWIDTHS)

    def within(z: torch.Tensor) -> float:
        n = len(z)
        total = sum(kernel(z[i], z[j]) for i in range(n) for j in range(n) if i != j or not unbiased)
        return total / (n * (n - 1) if unbiased else n * n)

    return within(x) + within(y) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


@pytest.mark.parametrize("unbiased", [False, True])
def test_mmd_is_that_of_a_loop(unbiased: bool) -> None:
    x, y = unit(0, 9), unit(1, 6)
    assert float(mmd2(x, y, unbiased=unbiased)) == pytest.approx(mmd2_by_loops(x, y, unbiased=unbiased), abs=1e-9)


def test_weights_are_those_of_a_loop() -> None:
    x, y = unit(0, 9), unit(1, 6)
    weights = torch.rand(9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weights /= weights.sum()
    both, signed = [*x, *y], [*weights.tolist(), *[-1 / 6] * 6]
    pairs = [(i, j) for i in range(15) for j in range(15)]
    scale = sum(square(both[i], both[j]) for i, j in pairs) / (15 * 14)
    expected = sum(
        signed[i] * signed[j] * math.exp(-square(both[i], both[j]) / (factor * scale)) / len(BANDWIDTHS)
        for i, j in pairs
        for factor in BANDWIDTHS
    )
    assert float(mmd2(x, y, weights=weights)) == pytest.approx(expected, abs=1e-9)
    assert float(mmd2(x, y, weights=torch.full_like(weights, 1 / 9))) == pytest.approx(float(mmd2(x, y)), abs=1e-9)
    with pytest.raises(ValueError, match="V-statistic"):
        mmd2(x, y, weights=weights, unbiased=True)


def test_the_u_statistic_agrees_with_pytorch_adapt() -> None:
    # Theirs is the U-statistic with kernels exp(-|a - b|^2 * scale / bandwidth): given our mean squared distance as the
    # bandwidth, and 1 / factor as their scales, the two are the same number.
    x, y = unit(0, 12), unit(1, 7)
    z = torch.cat([x, y])
    mean = torch.pdist(z).square().mean()
    scales = torch.tensor([1 / factor for factor in BANDWIDTHS], dtype=torch.float64)
    theirs = MMDLoss(kernel_scales=scales, mmd_type="quadratic", bandwidth=float(mean))(x, y)
    assert float(mmd2(x, y, unbiased=True)) == pytest.approx(float(theirs), abs=1e-9)


def test_mmd_of_equal_samples_is_zero_and_grows_with_the_shift() -> None:
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(mmd2(x, x)) == pytest.approx(0, abs=1e-12)
    assert float(mmd2(x, x[torch.randperm(60, generator=torch.Generator().manual_seed(1))])) == pytest.approx(
        0, abs=1e-12
    )
    shifted = [float(mmd2(x, x + shift)) for shift in (0.0, 0.3, 0.6, 1.2, 2.4)]
    assert shifted == sorted(shifted) and shifted[1] > 1e-3


def test_mmd_is_symmetric() -> None:
    x, y = unit(0, 8), unit(1, 5)
    assert float(mmd2(x, y)) == pytest.approx(float(mmd2(y, x)), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_collapsed_sample_gives_zero_without_a_gradient(dtype: torch.dtype) -> None:
    x = unit(0, 1, dtype=dtype).repeat(6, 1).requires_grad_()
    value = mmd2(x, x.detach()[:4].clone())
    value.backward()
    assert value.detach().item() == pytest.approx(0, abs=1e-6)
    assert x.grad is not None and torch.equal(x.grad, torch.zeros_like(x))


def test_the_scale_carries_no_gradient() -> None:
    # With it, the gradient would be orthogonal to a common scaling of both samples; as a constant it is not.
    x = unit(0, 8).requires_grad_()
    y = unit(1, 8)
    (gradient,) = torch.autograd.grad(mmd2(x, y), x)
    z = torch.cat([x.detach(), y])
    scale = torch.pdist(z).square().mean()

    def fixed(moved: torch.Tensor) -> torch.Tensor:
        def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            sq = (a[:, None] - b).square().sum(2)
            return torch.stack([torch.exp(-sq / (f * scale)) for f in BANDWIDTHS]).mean(0).mean()

        return kernel(moved, moved) + kernel(y, y) - 2 * kernel(moved, y)

    (expected,) = torch.autograd.grad(fixed(x), x)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)


def test_entropy_lies_between_zero_and_that_of_even_odds() -> None:
    p = torch.tensor([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(entropy(p), torch.tensor([0, math.log(4), math.log(2)], dtype=torch.float64))


def test_information_is_zero_for_equal_predictions_and_ln_k_for_decided_diverse_ones() -> None:
    k = 5
    assert float(information(torch.full((20, k), 1 / k, dtype=torch.float64))) == pytest.approx(0, abs=1e-12)
    assert float(information(torch.eye(k, dtype=torch.float64).repeat(4, 1))) == pytest.approx(math.log(k))
    assert float(information(torch.eye(k, dtype=torch.float64)[[0] * 20])) == pytest.approx(0, abs=1e-12)
    p = torch.rand(50, k, generator=torch.Generator().manual_seed(0), dtype=torch.float64).softmax(1)
    assert 0 < float(information(p)) < math.log(k)


def test_decided_predictions_have_a_finite_gradient() -> None:
    logits = (torch.eye(3) * 200).requires_grad_()
    information(logits.softmax(1)).backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
