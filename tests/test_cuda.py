"""On a GPU: the whole method trains, and each term is what the CPU says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from domainmetric.anchors.random import RandomAnchors
from domainmetric.data.streamed import Ahead, Streamed
from domainmetric.experiment import Experiment
from domainmetric.training.banks import refresh
from tests import tiny
from tests.training.running import report, told, train, wired

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


def on(experiment: Experiment, device: str) -> Experiment:
    runtime = replace(experiment.runtime, device="cuda" if device == "cuda" else "cpu")
    return replace(experiment, runtime=runtime, runs_root=experiment.runs_root / device)


def test_fifty_steps_train_on_the_gpu(tmp_path: Path) -> None:
    folder = train(on(tiny.full(tmp_path, source_steps=50, adapt_steps=50), "cuda"))
    losses = [values["loss/classify"] for step, values in told(folder) if step <= 50 and "loss/classify" in values]
    assert losses[-1] < 0.7 * losses[0]
    assert report(folder)["target_accuracy"] > 0.4


def test_each_term_agrees_with_the_cpu_within_a_hundredth(tmp_path: Path) -> None:
    # The views are drawn by each device's own generator, so the GPU is given the CPU's: random anchors, no randomness
    # of its own, and the batches of one machine.
    experiment = tiny.experiment(tmp_path, *tiny.ADAPTATION, anchors=RandomAnchors())
    values = {}
    cpu_batches = wired(on(experiment, "cpu"), "adapt")[1]
    target, source = cpu_batches.target(0), cpu_batches.source(0)
    for device in ("cpu", "cuda"):
        here = on(experiment, device)
        state, batches = wired(here, "adapt")
        assert state.teacher is not None and state.matcher is not None
        state.objective.to(device)
        refresh(state.matcher, state.teacher, here, batches.data, 0)
        with pytest.MonkeyPatch.context() as patch:
            moved = [type(b)(**{name: value.to(device) for name, value in vars(b).items()}) for b in (source, target)]
            patch.setattr(batches, "source", lambda step, moved=moved: moved[0])
            patch.setattr(batches, "target", lambda step, moved=moved: moved[1])
            plain = batches.data.source_train.images
            patch.setattr(
                batches, "matched", lambda step, rows, plain=plain: plain[rows].permute(0, 3, 1, 2).float() / 255
            )
            step = state.objective.prepare(state.network, batches, 0, 0.5, teacher=state.teacher, matcher=state.matcher)
        values[device] = {name: value.item() for name, value in state.objective(step).items()}
        batches.close()
    cpu_batches.close()
    assert set(values["cuda"]) == {"classify", *tiny.ADAPTATION}
    assert values["cuda"] == pytest.approx(values["cpu"], rel=0.01)


def test_images_that_stay_on_the_host_come_to_the_gpu_by_rows() -> None:
    whole = torch.randint(256, (50, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images, rows = Streamed(whole, torch.arange(10, 50), torch.device("cuda")), torch.tensor([3, 0, 39])
    assert images.device.type == "cuda" and images[rows.cuda()].device.type == "cuda"
    assert torch.equal(images[rows.cuda()].cpu(), whole[rows + 10])
    ahead = Ahead(images)
    for now, following in ((rows, rows + 0), (rows, rows.flip(0))):
        found = ahead(now, following)
        assert found.device.type == "cuda" and torch.equal(found.cpu(), whole[rows + 10])
    ahead.close()
