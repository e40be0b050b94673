"""Deep CORAL against numpy's covariances, by its laws, and where an embedding has collapsed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from domainmetric.alignment.coral import Coral, coral, covariance
from domainmetric.step import PartContext
from tests.contracts.steps import D, K, aligned_step


def sample(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=draw, dtype=dtype)
    return torch.randn(n, d, generator=draw, dtype=dtype) @ mixing + 3


def reference(x: torch.Tensor, y: torch.Tensor) -> float:
    """The paper's equation 1 by loops over the entries of numpy's covariance matrices."""
    one, two = np.cov(x.numpy(), rowvar=False), np.cov(y.numpy(), rowvar=False)
    d, total = x.shape[1], 0.0
    for row in range(d):
        for column in range(d):
            total += (one[row, column] - two[row, column]) ** 2
    return total / (4 * d * d)


@pytest.mark.parametrize(("n", "m", "d"), [(12, 12, 5), (7, 40, 5), (2, 3, 8), (30, 9, 2)])
def test_against_numpy(n: int, m: int, d: int) -> None:
    x, y = sample(n, d, 0), sample(m, d, 1)
    assert coral(x, y).item() == pytest.approx(reference(x, y), rel=1e-10)


def test_its_gradient_is_that_of_finite_differences() -> None:
    x, y = sample(5, 3, 0).requires_grad_(), sample(7, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(coral, (x, y))


def test_laws() -> None:
    x, y = sample(20, 6, 0), sample(30, 6, 1)
    assert coral(x, x).item() == 0
    assert coral(x, y).item() == pytest.approx(coral(y, x).item(), rel=1e-12)
    assert coral(x + 5, y).item() == pytest.approx(coral(x, y).item(), rel=1e-9), "means are not compared"
    turn = torch.linalg.qr(sample(6, 6, 2)).Q
    assert coral(x @ turn, y @ turn).item() == pytest.approx(coral(x, y).item(), rel=1e-9)
    assert coral(2 * x, 2 * y).item() == pytest.approx(16 * coral(x, y).item(), rel=1e-9)
    wider = [coral(x, x * factor).item() for factor in (1.0, 1.5, 2.0, 3.0)]
    assert wider == sorted(wider) and wider[1] > 0


def test_digits_survive_near_collapse() -> None:
    x, y = (1e-3 * sample(50, 4, seed) + torch.tensor([1.0, 0, 0, 0], dtype=torch.float64) for seed in (0, 1))
    assert coral(x.float(), y.float()).item() == pytest.approx(coral(x, y).item(), rel=1e-3)


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_a_collapsed_embedding_is_no_disaster(rows: int) -> None:
    point = torch.zeros(rows, D)
    point[:, 0] = 1
    x, y = point.clone().requires_grad_(), point.clone().requires_grad_()
    value = coral(x, y)
    value.backward()
    assert value.item() == 0
    assert x.grad is not None and y.grad is not None and not x.grad.any() and not y.grad.any()
    other = sample(6, D, 0, torch.float32).requires_grad_()
    coral(other, y).backward()
    assert other.grad is not None and other.grad.isfinite().all() and other.grad.any()
    assert y.grad.isfinite().all()


def test_half_precision_is_computed_in_float32() -> None:
    x, y = sample(40, 4, 0, torch.float32), sample(40, 4, 1, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = coral(x, y)
    assert inside.dtype == torch.float32
    assert inside.item() == coral(x, y).item()


def test_covariance_of_one_row_is_zero() -> None:
    assert not covariance(torch.ones(1, 3)).any()


def test_the_term_compares_source_and_target_embeddings() -> None:
    step = aligned_step()
    value = Coral().build(PartContext(num_classes=K, embedding_dim=D))(step)
    assert torch.equal(value, coral(step.encoded_source.z, step.z_t))
    assert 0 < value.item() <= 1 / (2 * D**2)
