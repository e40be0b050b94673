"""The audit at the start of a run and by `inspect`: written down once, the same for any labels of the target."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from domainmetric.audit import facts as facts_module
from domainmetric.audit.facts import CACHE, data_facts
from domainmetric.audit.inspection import inspect
from domainmetric.audit.record import AUDIT, SHEET, SOUND, audit
from domainmetric.audit.show import aligned
from domainmetric.audit.views import here, see
from domainmetric.data.augment import Augment
from domainmetric.data.pipelines import DigitViews
from domainmetric.data.view_bank import AlbumentationsViews
from domainmetric.training.batches import load
from domainmetric.training.circumstances import data_hashes
from domainmetric.training.tracking import read_log
from tests import tiny
from tests.audit.made_data import data, experiment, mapped
from tests.training.running import after, go_on, train


def told(folder: Path) -> list[str]:
    return [record["text"] for record in read_log(folder) if record.get("name") == "audit"]


def test_a_run_writes_its_audit_once_and_a_resumed_one_not_again(tmp_path: Path) -> None:
    folder = train(tiny.experiment(tmp_path, source_steps=4), after(2))
    written = json.loads((folder / AUDIT).read_text())
    assert written["data"]["domains"]["source"]["splits"]["train"]["count"] == 320  # what is held out, too
    assert written["data"]["domains"]["target"]["class_counts"] is None
    assert written["findings"] == []
    assert told(folder) == [SOUND]
    with Image.open(folder / SHEET) as sheet:
        assert min(sheet.size) > 200
    before = (folder / AUDIT).stat().st_mtime_ns
    assert go_on(folder) == folder
    assert told(folder) == [SOUND]
    assert (folder / AUDIT).stat().st_mtime_ns == before


def test_what_is_found_is_told_on_screen_and_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("domainmetric.audit.record.findings", lambda *_: ["Something [bold] is wrong."])
    folder = train(tiny.experiment(tmp_path, source_steps=2))
    assert told(folder) == ["Something [bold] is wrong."]
    assert json.loads((folder / AUDIT).read_text())["findings"] == ["Something [bold] is wrong."]
    assert "Data: Something [bold] is wrong." in capsys.readouterr().err


def test_the_audit_does_not_see_the_labels_of_the_target(tmp_path: Path) -> None:
    made = experiment(tmp_path)
    seen = []
    for noise in (None, 1):
        changed = replace(made, data=tiny.pair(label_noise=noise))
        sets = load(changed, Path(), torch.device("cpu"))
        seen.append(audit(changed, sets, data_hashes(changed)))
    assert seen[0].facts == seen[1].facts
    assert (seen[0].views, seen[0].findings, seen[0].sheet) == (seen[1].views, seen[1].findings, seen[1].sheet)
    without = replace(sets, target_train_labels_oracle=None, target_test=sets.target_test.unlabelled())
    assert audit(made, without, {}).sheet == seen[0].sheet


def test_figures_are_taken_once_for_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, sets = experiment(tmp_path), data(tmp_path)
    first = data_facts(made, sets, {"a": "1"})
    (kept,) = (tmp_path / CACHE).iterdir()
    for damage in ("{", "[" * 100_000, "3", '{"class": "domainmetric.audit.facts.DataFacts"}'):
        kept.write_text(damage)
        assert data_facts(made, sets, {"a": "1"}) == first
    monkeypatch.setattr(facts_module, "take", lambda *_: 1 / 0)
    assert data_facts(made, sets, {"a": "1"}) == first
    assert data_facts(replace(made, seed=5), sets, {"a": "1"}) == first
    for other, hashes in ((made, {"a": "2"}), (replace(made, image_size=32), {"a": "1"})):
        with pytest.raises(ZeroDivisionError):
            data_facts(other, sets, hashes)


def test_views_are_those_of_the_recipe_and_what_enters_the_network_is_standardized(tmp_path: Path) -> None:
    made, sets = experiment(tmp_path), data(tmp_path)
    seen = see(made, sets, "target")
    assert seen.views.shape == (256, 16, 16, 1)
    assert not np.array_equal(seen.views, sets.target_train.images[seen.rows].numpy())
    assert np.array_equal(seen.views, see(made, sets, "target").views)
    still = replace(made, augmentation=replace(made.augmentation, target=Augment(affine=0)))
    seen = see(still, sets, "target")
    assert np.array_equal(seen.views, sets.target_train.images[seen.rows].numpy())
    dull = replace(sets, target_train=mapped(sets.target_train, sets.target_train.images // 4 + 100))
    assert abs(see(still, dull, "target").standardized.std() - seen.standardized.std()) < 2
    assert abs(seen.standardized.mean() - 127.5) < 2


def test_inspect_tells_figures_and_oracle_counts_and_writes_a_sheet(tmp_path: Path) -> None:
    made = replace(experiment(tmp_path / "runs"), name="looked at")
    found = inspect(made)
    assert found.sheet == tmp_path / "runs" / "looked at-views.png"
    with Image.open(io.BytesIO(found.sheet.read_bytes())) as sheet:
        assert sheet.mode == "RGB"
    lines = found.text.splitlines()
    assert lines[0].split()[:3] == ["images", "size", "range"]
    assert lines[1].split()[:4] == ["colored", "train", "320", "16x16x3"]
    assert "class  colored train  colored test  grey train (oracle)  grey test (oracle)" in found.text
    assert lines[-1] == SOUND
    assert inspect(made, tmp_path / "new" / "other.png").sheet.is_file()


def test_names_that_would_break_the_table_do_not() -> None:
    assert aligned([("a\nb", "1"), ("\x1b[31mred", "22")]) == ["'a\\nb'          1", "'\\x1b[31mred'  22"]


def test_no_process_is_started_to_look_at_views() -> None:
    spec = AlbumentationsViews(pipeline=DigitViews(), num_workers=3)
    assert here(spec) == replace(spec, num_workers=0, block_steps=1)
    assert here(Augment(affine=0.1)) == Augment(affine=0.1)
