"""What every test lives under: no word to W&B, and nothing global left changed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import cv2  # noqa: F401 (sets LD_LIBRARY_PATH when first imported: before any test, whichever comes first)
import numpy as np
import pytest
import torch

import tests.shapes  # noqa: F401 (found as an attribute of `tests` by --jaxtyping-packages)

os.environ["MPLBACKEND"] = "Agg"
os.environ["WANDB_MODE"] = "disabled"  # a test of the real wandb deletes or sets it for itself, by monkeypatch

OTHERS_VARIABLES = {
    "PYTEST_CURRENT_TEST",
    *("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"),  # scikit-learn sets them when it is first imported
    *("PYTORCH_NVML_BASED_CUDA_CHECK", "TORCHINDUCTOR_CACHE_DIR"),  # so do Lightning Fabric and torch
    "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR",  # and torch.compile
}


def global_state() -> dict[str, Any]:
    """Everything global that a test or the code under it could leave changed, as values that compare with ==."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    handlers = {s.name: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)}
    return {
        "torch's default dtype": torch.get_default_dtype(),
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "numpy's random state": (kind, np.asarray(keys).tobytes(), *rest),
        "the signal handlers": handlers,
        "the working folder": os.getcwd(),
        "the environment": {k: v for k, v in os.environ.items() if k not in OTHERS_VARIABLES},
    }


@pytest.fixture(autouse=True)
def nothing_global_changes() -> Iterator[None]:
    """Fail a test that leaves global state changed, and put back what would spoil the tests after it."""
    before = global_state()
    threads, numpy_state, torch_state = torch.get_num_threads(), np.random.get_state(), torch.get_rng_state()
    yield
    after = global_state()
    changed = [name for name, value in before.items() if after[name] != value]
    torch.set_default_dtype(before["torch's default dtype"])
    torch.set_rng_state(torch_state)
    torch.set_num_threads(threads)
    torch.set_grad_enabled(before["torch's grad mode"])
    torch.use_deterministic_algorithms(before["torch's deterministic mode"])
    np.random.set_state(numpy_state)
    for name, handler in before["the signal handlers"].items():
        signal.signal(signal.Signals[name], handler)
    os.chdir(before["the working folder"])
    assert not changed, f"The test left changed: {', '.join(changed)}."


@pytest.fixture
def unchecked_shapes(pytestconfig: pytest.Config) -> None:
    """For tests of our own refusals of wrong shapes: jaxtyping's hook, where it is on, would refuse them first."""
    if pytestconfig.getoption("--jaxtyping-packages", default=None):
        pytest.skip("jaxtyping's hook checks the shapes in this run")
