"""What a conversion does is on record; an edit of its code converts anew, and a pipeline that fails is told."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch

from domainmetric.data.conversion import described
from domainmetric.data.folder import Folder
from domainmetric.data.framing import CentralSquare, Resize
from domainmetric.data.store import read_manifest
from domainmetric.data.view_bank import Pipeline
from domainmetric.errors import DataError
from domainmetric.recipes import load_file
from tests.data.own import folder

SIZE = 8
STRENGTH = 1.0
PIPELINE = """
from dataclasses import dataclass
import albumentations as A
from domainmetric.data.view_bank import Pipeline

@dataclass(frozen=True, kw_only=True)
class Mine(Pipeline):
    def build(self):
        return A.Compose([A.InvertImg(p={p})])
"""
FRAMING = """
from dataclasses import dataclass
from domainmetric.data.framing import Framing, Resize

@dataclass(frozen=True, kw_only=True)
class Mine(Framing):
    def apply(self, images, size):
        return Resize().apply(images, size) // {p}
"""


@pytest.mark.parametrize(("field", "text", "values"), [("pipeline", PIPELINE, (1, 0)), ("framing", FRAMING, (1, 2))])
def test_edited_code_converts_anew(field: str, text: str, values: tuple[int, int], tmp_path: Path) -> None:
    path, root, file = folder(tmp_path / "pets"), tmp_path / "data", tmp_path / f"own_{field}.py"

    def made(value: int) -> tuple[str, torch.Tensor]:
        file.write_text(text.format(p=value))
        domain = Folder(path=path, test_share=0.3, **{field: load_file(file).Mine()})
        name = domain.convert(root, SIZE)
        return name, domain.load("train", root=root, size=SIZE).images.clone()

    name, before = made(values[0])
    stamp = (root / name / "train_images.npy").stat().st_mtime_ns
    assert made(values[0])[0] == name and (root / name / "train_images.npy").stat().st_mtime_ns == stamp
    again, after = made(values[1])
    assert again == name and not torch.equal(before, after)


def test_the_manifest_names_the_conversion(tmp_path: Path) -> None:
    domain = Folder(path=folder(tmp_path / "pets"), test_share=0.3, pipeline=Own(), framing=CentralSquare())
    made = read_manifest(tmp_path, domain.convert(tmp_path, SIZE)).made["conversion"]
    assert made["pipeline"] == {"class": "user.Own", "how": "invert"} and made["channels"] == 3
    assert made["framing"] == {"class": "domainmetric.data.framing.CentralSquare"} and len(made["code"]) == 64
    assert made["transforms"]["__version__"] == A.__version__ and "InvertImg" in str(made["transforms"])


def test_of_the_own_classes_the_code_is_not_read() -> None:
    made = described(Resize(), 3, None)
    assert made["code"] is None and made["pipeline"] is None and made["transforms"] is None


def test_without_a_pipeline_albumentations_is_not_imported(tmp_path: Path) -> None:
    folder(tmp_path / "pets")
    code = """
import sys
from pathlib import Path
from domainmetric import Folder
Folder(path=Path("pets"), test_share=0.3).load("train", root=Path("data"), size=8)
assert "albumentations" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@dataclass(frozen=True, kw_only=True)
class Own(Pipeline):
    """One of several, some of which are wrong."""

    how: str = "invert"

    def build(self) -> A.Compose:
        steps: dict[str, Any] = {
            "invert": A.InvertImg(p=STRENGTH),
            "normalize": A.Normalize(p=1.0),
            "flat": A.Lambda(image=flat, p=1.0),
            "fails": A.Lambda(image=fails, p=1.0),
            "in place": A.Lambda(image=in_place, p=1.0),
        }
        return A.Compose([steps[self.how]])


def flat(image: np.ndarray[Any, Any], **_: Any) -> Any:
    """Without its axis of channels."""
    return image[..., 0]


def fails(image: np.ndarray[Any, Any], **_: Any) -> Any:
    """Only for cats."""
    if image[0, 0, 0] > 100:
        raise RuntimeError("too bright")
    return image


def in_place(image: np.ndarray[Any, Any], **_: Any) -> Any:
    """Changes what it is given."""
    image[:] = 7
    return image


def test_a_pipeline_that_fails_names_itself_and_the_image(tmp_path: Path) -> None:
    domain = Folder(path=folder(tmp_path / "pets"), test_share=0.3, pipeline=Own(how="fails"))
    told = r"cat/\d+\.png: The conversion pipeline Own failed on an image of shape \(12, 14, 3\): RuntimeError: too b"
    with pytest.raises(DataError, match=told):
        domain.load("train", root=tmp_path / "data", size=SIZE)


def test_a_pipeline_that_returns_no_image_of_ours_is_told_what_to_leave_out(tmp_path: Path) -> None:
    path = folder(tmp_path / "pets")
    for how, came in (("normalize", r"float32 of shape \(12, 14, 3\)"), ("flat", r"uint8 of shape \(12, 14\)")):
        with pytest.raises(DataError, match=rf"png: .*Own returned {came}\. Leave out Normalize and ToTensorV2"):
            Folder(path=path, pipeline=Own(how=how), test_share=0.3).load("train", root=tmp_path / "data", size=SIZE)


def test_grey_may_come_without_an_axis_and_nothing_given_is_changed(tmp_path: Path) -> None:
    path, images = folder(tmp_path / "pets"), torch.full((2, 9, 9, 1), 5, dtype=torch.uint8)
    framed = Folder(path=path, channels=1, pipeline=Own(how="flat")).frame(images, SIZE)
    assert framed.shape == (2, SIZE, SIZE, 1) and framed.unique().tolist() == [5]
    assert Folder(path=path, channels=1, pipeline=Own(how="in place")).frame(images, SIZE).unique().tolist() == [7]
    assert images.unique().tolist() == [5]
