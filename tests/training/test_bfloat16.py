"""`precision="bf16"` on a CPU: the networks in bfloat16, all that compares embeddings in float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from domainmetric.training import runtime
from domainmetric.training.banks import refresh
from domainmetric.training.loop import losses
from tests import tiny
from tests.training.running import wired


def test_networks_compute_in_bfloat16_and_distances_in_float32(tmp_path: Path) -> None:
    values = {}
    for precision in ("32", "bf16"):
        experiment = tiny.full(tmp_path)
        experiment = replace(experiment, runtime=replace(experiment.runtime, precision=precision))  # type: ignore[arg-type]
        fabric = runtime.fabric(experiment.runtime)
        state, batches = wired(experiment, "adapt")
        assert state.teacher is not None and state.matcher is not None
        with fabric.autocast():
            refresh(state.matcher, state.teacher, experiment, batches.data, 0)
            step, values[precision] = losses(
                fabric.setup_module(state.network), batches, experiment.phases["adapt"], state
            )
        total = torch.stack(list(values[precision].values())).sum()
        fabric.backward(total)
        features = step.encoded_source.features  # which Fabric has made wide again
        assert torch.equal(features, features.bfloat16().float()) == (precision == "bf16")
        assert step.pairs is not None and step.encoded_source.z.dtype == torch.float32
        assert state.matcher.memory["z"].dtype == torch.float32
        for roles in experiment.terms["triplet"].part.roles:  # type: ignore[attr-defined]
            assert step.pairs.of(roles).sq_chord.dtype == torch.float32
        assert all(value.dtype == torch.float32 for value in values[precision].values())
        gradients = [p.grad for p in state.network.parameters() if p.requires_grad]
        assert all(g is not None and g.dtype == torch.float32 and g.isfinite().all() for g in gradients)
    for name, value in values["32"].items():
        torch.testing.assert_close(values["bf16"][name], value, rtol=0.05, atol=0.05)
