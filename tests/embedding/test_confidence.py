"""What a run says of its own confidence: fitted without target labels, kept, read again, and used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from domainmetric.embedding.embedder import Embedder
from domainmetric.errors import ConfigError, Damaged
from domainmetric.metrics.calibration import REJECT, expected_calibration_error
from domainmetric.runner import run
from domainmetric.training import confidence
from domainmetric.training.batches import load
from domainmetric.training.checkpoint import read_json
from domainmetric.training.confidence import CONFIDENCE
from domainmetric.training.evaluation import encode
from domainmetric.types import Encoded, ImageSet
from domainmetric.usage import calibration
from experiments.demo import semantic_anchors
from tests import tiny


@pytest.fixture(scope="module")
def test_set() -> ImageSet:
    return tiny.experiment(Path(), "mmd").data.target.load("test", root=Path(), size=tiny.SIZE)


def test_probabilities_are_those_of_the_calibrated_softmax(embedder: Embedder, test_set: ImageSet) -> None:
    seen = encode(embedder.network, "target", test_set.images)
    temperature = embedder.confidence["target"].temperature
    assert abs(temperature - 1) > 0.1
    made = embedder.embed(test_set.images)
    np.testing.assert_allclose(made.z, seen.z, atol=1e-6)
    logits = embedder.network.classifier(torch.from_numpy(made.z))  # a rounding of z is ten times as large in these
    torch.testing.assert_close(logits, seen.logits, atol=1e-5, rtol=0)
    np.testing.assert_allclose(made.probability, (logits / temperature).softmax(1).amax(1).numpy(), atol=1e-6)
    plain = replace(embedder, confidence={}).embed(test_set.images)
    np.testing.assert_allclose(plain.probability, logits.softmax(1).amax(1).numpy(), atol=1e-6)


def test_the_report_tells_what_the_run_is_worth(folder: Path, embedder: Embedder, test_set: ImageSet) -> None:
    found = read_json(folder / "report.json")["confidence"]
    source, target = found["source"], found["target"]
    assert source["calibration_error"] < source["calibration_error_uncalibrated"]
    logits = encode(embedder.network, "target", test_set.images).logits
    assert test_set.labels is not None
    for name, temperature in (("", target["temperature"]), ("_uncalibrated", 1.0)):
        error = expected_calibration_error(logits, test_set.labels, temperature=temperature)
        assert target[f"calibration_error{name}_oracle"] == pytest.approx(error, abs=1e-4)
    assert {name for name in target if not name.endswith("_oracle")} == {"temperature", "turned_away"}
    for rate in REJECT:
        away = ~embedder.known(embedder.embed(test_set.images), reject=rate)
        assert target["turned_away"][str(rate)] == pytest.approx(away.mean(), abs=1e-6)
        assert abs(away.mean() - rate) < 0.08, "the test images are like the training images"


def test_people_are_told_what_calibration_left_of_the_error() -> None:
    source = {"calibration_error": 0.012, "calibration_error_uncalibrated": 0.097}
    target = {"calibration_error_oracle": 0.062, "calibration_error_uncalibrated_oracle": 0.05}
    told = "source 1.20% (uncalibrated 9.70%)"
    assert calibration({"source": source, "target": {}}) == told
    assert calibration({"source": source, "target": target}) == f"{told}, target oracle 6.20% (uncalibrated 5.00%)"


def test_no_target_label_is_read(folder: Path, embedder: Embedder) -> None:
    """The same fit from data whose target labels are noise, and none in the test set."""
    experiment = tiny.experiment(Path(), "mmd")
    noisy = replace(experiment, data=tiny.pair(label_noise=3))
    found = confidence.of_target(embedder.network, load(noisy, Path(), torch.device("cpu")), seed=experiment.seed)
    kept = embedder.confidence["target"]
    assert (found.temperature, dict(found.thresholds)) == (kept.temperature, dict(kept.thresholds))
    assert torch.equal(found.means, kept.means)


def test_another_seed_mixes_other_images(embedder: Embedder) -> None:
    data = load(tiny.experiment(Path(), "mmd"), Path(), torch.device("cpu"))
    other = confidence.of_target(embedder.network, data, seed=1)
    assert other.temperature != embedder.confidence["target"].temperature
    assert torch.equal(other.means, embedder.confidence["target"].means)


def test_what_is_not_known_has_no_name(embedder: Embedder, test_set: ImageSet) -> None:
    known = embedder.known(embedder.embed(test_set.images), reject=0.2)
    named, all_named = embedder.classify(test_set.images, reject=0.2), embedder.classify(test_set.images)
    assert named == [name if sure else None for name, sure in zip(all_named, known, strict=True)]
    assert None in named and None not in all_named


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_is_no_digit_is_told_from_digits(tmp_path: Path) -> None:
    """On the demo's pair: noise and smooth blobs, neither of which training saw, against handwritten test images."""
    experiment = replace(semantic_anchors(), runs_root=tmp_path)
    embedder = Embedder.load(run(experiment), device="cpu")
    digits = experiment.data.target.load("test", root=Path(), size=experiment.image_size).images
    draw = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, digits.shape, dtype=torch.uint8, generator=draw)
    coarse = torch.rand(len(digits), 1, 5, 5, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=digits.shape[1:3], mode="bicubic").clamp(0, 1)
    own = embedder.embed(digits)
    assert embedder.known(own, reject=0.05).mean() > 0.85
    for others in (noise, smooth.permute(0, 2, 3, 1).mul(255).to(torch.uint8)):
        made = embedder.embed(others)
        kinds = np.repeat([1, 0], [len(digits), len(others)])
        auroc = roc_auc_score(kinds, np.concatenate([own.familiarity, made.familiarity]))
        assert auroc > 0.9, auroc
        assert embedder.known(made, reject=0.05).mean() < 0.5


def test_images_of_other_classes_are_counted_apart(embedder: Embedder) -> None:
    z = torch.eye(4)
    of = replace(embedder.confidence["target"], means=z[:2], thresholds={0.1: 0.5})
    test = Encoded(z=z, logits=10 * z[:, :2])
    figures = of.judged(test, torch.tensor([0, 1, 2, 3]))
    assert figures["unknown_auroc"] == 1 and figures["calibration_error"] < 0.01
    assert of.judged(test, None) == {} and of.judged(test, torch.tensor([2, 3, 4, 5])) == {}
    assert "unknown_auroc" not in of.judged(test, torch.tensor([0, 1, 0, 1]))
    assert of.figures(test)["turned_away"] == {"0.1": 0.5}


def test_a_target_of_one_predicted_class_keeps_its_logits(embedder: Embedder) -> None:
    data = load(tiny.experiment(Path(), "mmd"), Path(), torch.device("cpu"))
    images = data.target_train.take(torch.zeros(5, dtype=torch.int64))
    assert confidence.of_target(embedder.network, replace(data, target_train=images), seed=0).temperature == 1


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_is_not_there_cannot_reject(embedder: Embedder, test_set: ImageSet) -> None:
    made = embedder.embed(test_set.images[:3])
    with pytest.raises(ConfigError, match=r"reject must be one of 0.01, 0.02, 0.05, 0.1, 0.2, but is 0.5"):
        embedder.known(made, reject=0.5)
    with pytest.raises(ConfigError, match=r"it has no confidence.safetensors"):
        replace(embedder, confidence={}).known(made)
    with pytest.raises(ConfigError, match="must be 'source' or 'target'"):
        embedder.known(made, domain="svhn")  # type: ignore[arg-type]


def test_a_damaged_file_is_refused(folder: Path, tmp_path: Path) -> None:
    content = bytearray((folder / CONFIDENCE).read_bytes())
    content[-1] ^= 1
    (tmp_path / CONFIDENCE).write_bytes(content)
    with pytest.raises(Damaged):
        confidence.read(tmp_path / CONFIDENCE)
