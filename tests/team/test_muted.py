"""A process that does not lead writes nothing, and holds no lock."""

from __future__ import annotations

import os
from pathlib import Path

from domainmetric import durable
from domainmetric.training.checkpoint import write_json
from domainmetric.training.folder import lock
from domainmetric.training.tracking import Log


def test_within_it_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("before")
    (tmp_path / "log.jsonl").write_text('{"kind": "metrics", "step": 0}\n')
    with durable.muted(), lock(tmp_path), lock(tmp_path):
        write_json(tmp_path / "new.json", {})
        durable.write(tmp_path / "kept", b"after")
        durable.remove(tmp_path / "kept")
        assert not durable.make_folder(tmp_path / "folder")
        log = Log(tmp_path)
        log.event("name", "text")
        log.save()
        log.cut_back(0)
        log.close()
    assert sorted(os.listdir(tmp_path)) == ["kept", "log.jsonl"]
    assert (tmp_path / "kept").read_text() == "before"
    assert (tmp_path / "log.jsonl").read_text() == '{"kind": "metrics", "step": 0}\n'
    durable.write(tmp_path / "kept", b"after")
    assert (tmp_path / "kept").read_text() == "after"
