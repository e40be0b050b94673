"""A run looks for a user's files once, and the next run notices what has changed since."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domainmetric import runner
from domainmetric.data import folder as folders
from domainmetric.data.folder import Folder, UnlabelledFolder
from domainmetric.data.looked_once import looked_once
from domainmetric.data.pair import Pair
from domainmetric.data.table import Table
from domainmetric.experiment import Experiment
from tests import tiny
from tests.data.own import folder, picture
from tests.data.test_own_images import write_table
from tests.training.running import Killed


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each folder is looked through."""
    counted, walk = Counter[str](), folders.walk

    def counting(place: Path) -> Any:
        counted[place.name] += 1
        return walk(place)

    monkeypatch.setattr(folders, "walk", counting)
    return counted


def begin(experiment: Experiment) -> None:
    """A run until its data is loaded."""

    def stop(*_: Any) -> Any:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "start", stop)
        with pytest.raises(Killed):
            runner.run(experiment)


def test_a_run_walks_each_folder_once_and_the_next_one_sees_what_has_changed(
    tmp_path: Path, walked: Counter[str]
) -> None:
    photos, found = folder(tmp_path / "photos", count=12), folder(tmp_path / "found", count=8)
    pair = Pair(source=Folder(path=photos, test_share=0.3), target=UnlabelledFolder(path=found, test_share=0.3))
    experiment = replace(tiny.experiment(tmp_path / "runs", "mmd"), data=pair, data_root=tmp_path / "data")
    begin(experiment)  # converts, which takes another look
    walked.clear()
    begin(experiment)
    assert walked == {"photos": 1, "found": 1}
    before = pair.source.hashes(tmp_path / "data", size=tiny.SIZE)
    picture(1, 99).save(photos / "dog" / "003.png")
    walked.clear()
    begin(experiment)
    assert walked == {"photos": 2, "found": 1}
    assert pair.source.hashes(tmp_path / "data", size=tiny.SIZE) != before


def test_a_table_is_read_once_and_anew_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, root = folder(tmp_path / "pets", count=4), tmp_path / "data"
    files = sorted(p.relative_to(tmp_path).as_posix() for p in path.rglob("*.png"))
    columns = {"path": files, "label": [f.split("/")[1] for f in files]}
    domain = Table(path=write_table(tmp_path / "list.csv", columns), test_share=0.4)
    before = domain.hashes(root, size=tiny.SIZE)
    read, count = Path.read_bytes, Counter[str]()

    def counting(path: Path) -> bytes:
        count[path.name] += 1
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", counting)
    with looked_once():
        for _ in range(2):
            assert domain.hashes(root, size=tiny.SIZE) == before
            domain.load("train", root=root, size=tiny.SIZE)
    assert count["list.csv"] == 1
    write_table(tmp_path / "list.csv", {name: values[:-1] for name, values in columns.items()})
    with looked_once():
        assert domain.hashes(root, size=tiny.SIZE) != before


def test_another_size_and_another_place_are_looked_for_apart(tmp_path: Path, walked: Counter[str]) -> None:
    domain = Folder(path=folder(tmp_path / "pets"), test_share=0.3)
    with looked_once():
        for root, size in ((tmp_path / "a", 8), (tmp_path / "a", 16), (tmp_path / "b", 8)):
            with looked_once():
                assert domain.load("train", root=root, size=size).images.shape[1] == size
    assert walked["pets"] == 6  # a look and a conversion each
