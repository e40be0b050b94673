"""The log is the truth: it survives torn lines, odd numbers and full disks; W&B shows it without touching the run."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from domainmetric import durable
from domainmetric.errors import DataError, NotWritten, RunFolderError
from domainmetric.tracking import Tracking
from domainmetric.training.tracking import LOG_NAME, Log, history, read_log
from domainmetric.training.wandb_mirror import Mirror, follow, start_mirror

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="processes are listed through Linux's /proc"
)
OFFLINE = Tracking(wandb="offline", tags=("quick",))


@pytest.fixture(autouse=True)
def wandb_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about the real wandb, which all others switch off."""
    monkeypatch.delenv("WANDB_MODE", raising=False)


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.metrics(0, {"loss/total": 2.5, "accuracy (oracle)": float("nan")})
    log.metrics(10, {"loss/total": float(np.float32(1.5)), "score": -math.inf})
    log.figure("embedding", tmp_path / "figures" / "embedding.png")
    log.summary({"accuracy": np.float64(0.5), "nested": {"count": np.int64(3), "low": math.inf}, "file": Path("a/b")})
    log.event("phase", "The adaptation began.")
    log.close()
    log.close()

    records = read_log(tmp_path)
    assert [record["kind"] for record in records] == ["metrics", "metrics", "figure", "summary", "event", "end"]
    assert math.isnan(records[0]["values"]["accuracy (oracle)"])
    assert records[1]["values"] == {"loss/total": 1.5, "score": -math.inf}
    assert records[2]["path"] == "figures/embedding.png"
    assert records[3]["values"] == {"accuracy": 0.5, "nested": {"count": 3, "low": math.inf}, "file": "a/b"}
    assert records[4]["text"] == "The adaptation began."
    assert history(tmp_path)["loss/total"] == ([0, 10], [2.5, 1.5])
    assert history(tmp_path)["score"] == ([10], [-math.inf])
    for line in (tmp_path / LOG_NAME).read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_each_record_is_on_disk_at_once(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.metrics(1, {"loss": 1.0})
    assert history(tmp_path) == {"loss": ([1], [1.0])}
    log.close()


def test_cut_back_forgets_what_was_written_later_and_a_torn_line(tmp_path: Path) -> None:
    log = Log(tmp_path)
    for step in (10, 20, 30):
        if step == 30:
            size = log.save()
        log.metrics(step, {"loss": float(step)})
    log.event("late", "Not known to the checkpoint.")
    log.close()
    with (tmp_path / LOG_NAME).open("ab") as file:
        file.write(b'{"kind": "metrics", "step": 15, "val')

    log = Log(tmp_path)
    log.cut_back(size)
    log.metrics(21, {"loss": 21.0})
    log.close()
    assert history(tmp_path)["loss"] == ([10, 20, 21], [10.0, 20.0, 21.0])
    assert [record["kind"] for record in read_log(tmp_path)] == ["metrics", "metrics", "metrics", "end"]
    assert [path.name for path in tmp_path.iterdir()] == [LOG_NAME]


def test_a_log_that_does_not_fit_its_checkpoint_is_refused(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.metrics(10, {"loss": 1.0})
    for size in (log.save() + 1, log.save() - 1):
        with pytest.raises(RunFolderError, match=f"its checkpoint knows {size} bytes"):
            log.cut_back(size)
    log.close()


def test_a_torn_last_line_is_not_read(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_bytes(b'{"kind": "metrics", "time": 1, "step": 1, "values": {"a": 2.0}}\n{"kind": "met')
    assert history(tmp_path) == {"a": ([1], [2.0])}


def test_a_damaged_line_is_an_error(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_bytes(b'garbage\n{"kind": "end", "time": 1}\n')
    with pytest.raises(RunFolderError, match="is damaged: b'garbage' is not a record"):
        read_log(tmp_path)


def test_a_folder_without_a_log_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        read_log(tmp_path)


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.close()
    with pytest.raises(RunFolderError, match="is closed"):
        log.event("late", "Too late.")


def test_a_confusion_matrix_fits_its_classes(tmp_path: Path) -> None:
    log = Log(tmp_path)
    with pytest.raises(DataError, match=r"2 classes must be square, but its shape is \(2, 3\)"):
        log.confusion("final", [[1, 2, 3], [4, 5, 6]], ["a", "b"])
    log.close()


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, payload: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = Log(tmp_path)
    monkeypatch.setattr(durable, "put", full)
    with pytest.raises(NotWritten, match=r"No space left on device\. Make room"):
        log.metrics(1, {"loss": 1.0})
    with pytest.raises(NotWritten, match="No space left on device"):
        log.close()
    log.close()


def test_what_tells_of_processes_stays_when_the_log_is_cut_back(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.metrics(1, {"loss": 1.0})
    size = log.save()
    log.metrics(2, {"loss": 1.0})
    log.event("resumed", "From step 1.")
    log.event("no matches", "At step 2.")
    log.close()
    with (tmp_path / LOG_NAME).open("ab") as file:
        file.write(b"garbage" + b"\n")
    log = Log(tmp_path)
    log.cut_back(size)
    log.cut_back(size)
    log.close()
    assert [record.get("name", record["kind"]) for record in read_log(tmp_path)] == ["metrics", "resumed", "end"]


def test_follow_reads_on_until_the_end(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.metrics(1, {"loss": 1.0})
    records = follow(tmp_path / LOG_NAME, lambda: True, pause_s=0.001)
    assert next(records)["step"] == 1
    log.metrics(2, {"loss": 1.0})
    assert next(records)["step"] == 2
    log.close()
    assert [record["kind"] for record in records] == ["end"]


def test_follow_waits_for_a_log_and_keeps_to_one_that_is_cut_back(tmp_path: Path) -> None:
    def write_at_once() -> bool:
        return next(steps)

    def events() -> Iterator[bool]:
        yield True  # no log yet
        log = Log(tmp_path)
        for step in (10, 20, 30):
            size = log.save()
            log.metrics(step, {"loss": 1.0})
        yield True
        log.cut_back(size)
        log.metrics(21, {"loss": 2.0})
        yield True
        log.close()
        yield True

    steps = events()
    records = list(follow(tmp_path / LOG_NAME, write_at_once, pause_s=0.001))
    assert [record.get("step") for record in records] == [10, 20, 30, 21, None]


def test_follow_goes_past_the_end_of_an_earlier_session(tmp_path: Path) -> None:
    Log(tmp_path).close()
    log = Log(tmp_path)
    log.event("resumed", "It goes on.")
    log.close()
    assert [record["kind"] for record in follow(tmp_path / LOG_NAME, lambda: True)] == ["end", "event", "end"]


def test_follow_stops_with_its_writer(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.metrics(1, {"loss": 1.0})
    assert len(list(follow(tmp_path / LOG_NAME, lambda: False))) == 1
    log.close()


def test_neither_torch_nor_wandb_is_imported_with_the_mirror() -> None:
    code = "import sys, domainmetric.training.wandb_mirror; print(sorted({'torch', 'wandb'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("mode", ["off", "auto"])
def test_off_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Any) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled" if mode == "auto" else "online")
    mirror = start_mirror(tmp_path, Tracking(wandb=mode))
    assert mirror.close() == "W&B: off."
    assert mirror.process is None
    assert not list(tmp_path.iterdir())


def test_offline_wandb_holds_what_the_log_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, run = tmp_path / "home", tmp_path / "runs" / "full-1"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    (run / "figures").mkdir(parents=True)
    (run / "experiment.json").write_text(json.dumps({"seed": 3, "terms": {"dann": {"weight": 0.1}}}))
    log = Log(run)
    mirror = start_mirror(run, Tracking(tags=("quick",)))
    written = {step: {"loss/total": 1.0 / (step + 1), "score": float(step)} for step in (0, 10, 20, 15)}
    written[20]["score"] = math.nan
    for step, values in written.items():
        log.metrics(step, values)
    Image.new("RGB", (8, 6), "teal").save(run / "figures" / "map.png")
    log.figure("map", run / "figures" / "map.png")
    rows = np.arange(1500)
    np.savez(run / "bank.npz", z=np.eye(1500, 4), label=rows, domain=np.zeros(1500, int), prediction=rows)
    log.table("bank", run / "bank.npz")
    log.confusion("test", [[5, 1], [0, 4]], ["zero", "one"])
    log.summary({"target_accuracy": 0.985, "retrieval": {"p@1": 0.9}})
    log.close()
    assert mirror.close(deadline_s=60.0) == "W&B: offline, since nobody is logged in"

    (file,) = run.glob("wandb/offline-run-*/*.wandb")
    records = list(read_wandb(file))
    begun = next(record.run for record in records if record.HasField("run"))
    assert (begun.project, begun.display_name, list(begun.tags)) == ("domainmetric", "full-1", ["quick"])
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert config["seed"] == 3
    assert config["terms"] == {"dann": {"weight": 0.1}}

    logged = [nested(record.history.item) for record in records if record.HasField("history")]
    metrics = [row for row in logged if "score" in row]
    assert [row["step"] for row in metrics] == [0, 10, 20, 15]
    for row in metrics:
        assert row["loss/total"] == written[row["step"]]["loss/total"]
        assert row["score"] == pytest.approx(written[row["step"]]["score"], abs=0, nan_ok=True)
    assert {(m.name, m.glob_name, m.step_metric) for m in (r.metric for r in records if r.HasField("metric"))} >= {
        ("step", "", ""),
        ("", "*", "step"),
    }
    shown = {key: value for row in logged for key, value in row.items()}
    media = file.parent / "files"
    with Image.open(media / shown["figures/map"]["path"]) as picture:
        assert (picture.size, picture.getpixel((0, 0))) == ((8, 6), (0, 128, 128))
    table = json.loads((media / shown["tables/bank"]["path"]).read_text())
    assert table["columns"] == ["label", "domain", "prediction", "z0", "z1", "z2", "z3"]
    assert (len(table["data"]), table["data"][0], table["data"][-1][0]) == (1000, [0, 0, 0, 1, 0, 0, 0], 1499)
    chart = json.loads((media / shown["confusion/test_table"]["path"]).read_text())
    assert chart["data"] == [["zero", "zero", 5], ["zero", "one", 1], ["one", "zero", 0], ["one", "one", 4]]
    updates = [nested(record.summary.update) for record in records if record.HasField("summary")]
    summary = {key: value for update in updates for key, value in update.items()}
    assert summary["target_accuracy"] == 0.985
    assert summary["retrieval"] == {"p@1": 0.9}

    assert not list(home.iterdir())
    assert begun.host == ""
    for record in records:
        for entry in record.artifact.manifest.contents:
            assert Path(entry.local_path).is_file()  # what `wandb sync` uploads later; the path itself stays here
            entry.local_path = ""
        assert str(tmp_path) not in str(record)
        assert sys.executable not in str(record)


def stop(mirror: Mirror, kind: signal.Signals) -> None:
    assert mirror.process is not None
    mirror.process.send_signal(kind)


@needs_proc
@pytest.mark.parametrize("kind", [signal.SIGSTOP, signal.SIGKILL])
def test_a_stopped_or_killed_mirror_never_holds_up_the_run(tmp_path: Path, kind: signal.Signals) -> None:
    log = Log(tmp_path)
    mirror = start_mirror(tmp_path, OFFLINE)
    wait_for(lambda: list(tmp_path.glob("wandb/offline-run-*/*.wandb")))
    family = children(mirror)
    if kind == signal.SIGSTOP:  # W&B's own process hangs too
        for pid in family:
            os.kill(pid, kind)
    stop(mirror, kind)
    start = time.monotonic()
    for step in range(500):
        log.metrics(step, {"loss": 1.0})
    log.close()
    outcome = mirror.close(deadline_s=0.5)
    assert time.monotonic() - start < 5.0
    assert ("ended after 0.5 s" if kind == signal.SIGSTOP else "failed with status -9") in outcome
    assert len(history(tmp_path)["loss"][0]) == 500
    assert [record["text"] for record in read_log(tmp_path) if record["kind"] == "event"] == [outcome]
    assert family
    wait_for(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in family))


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("raise ImportError('no wandb here')", "wandb cannot be imported: no wandb here"),
        ("import time; time.sleep(60)", "ended after 0.5 s"),
    ],
)
def test_an_absent_or_hanging_wandb_never_holds_up_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, expected: str
) -> None:
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "wandb.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    log = Log(tmp_path / "run")
    mirror = start_mirror(tmp_path / "run", OFFLINE)
    log.close()
    start = time.monotonic()
    assert expected in mirror.close(deadline_s=0.5 if "sleep" in module else 20.0)
    assert time.monotonic() - start < 5.0


def test_an_unreachable_server_never_holds_up_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    log = Log(tmp_path)
    mirror = start_mirror(tmp_path, Tracking(wandb="online"))
    log.metrics(1, {"loss": 1.0})
    wait_for(lambda: list(tmp_path.glob("wandb/run-*")))
    log.close()
    start = time.monotonic()
    assert "ended after 0.3 s" in mirror.close(deadline_s=0.3)
    assert time.monotonic() - start < 3.0


@needs_proc
def test_the_mirror_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_text('{"kind": "metrics", "step": 1, "values": {"loss": 1.0}}\n')
    code = (
        "import os, pathlib, sys; from domainmetric.training.wandb_mirror import start_mirror, Tracking;"
        "print(start_mirror(pathlib.Path(sys.argv[1]), Tracking(wandb='offline')).process.pid, flush=True); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    wait_for(lambda: not Path(f"/proc/{pid}/exe").exists())
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert [nested(r.history.item)["loss"] for r in read_wandb(file) if r.HasField("history")] == [1.0]


def wait_for(condition: Any, timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def children(mirror: Mirror) -> list[int]:
    assert mirror.process is not None
    tasks = Path(f"/proc/{mirror.process.pid}/task")
    return [int(pid) for listed in tasks.glob("*/children") for pid in listed.read_text().split()]


def nested(items: Any) -> dict[str, Any]:
    """W&B's list of (key or nested key, JSON value) as a dictionary of whole values."""
    values: dict[str, Any] = {}
    for item in items:
        *path, last = list(item.nested_key) or [item.key]
        place = values
        for key in path:
            place = place.setdefault(key, {})
        place[last] = json.loads(item.value_json)
    return values


def read_wandb(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: a 7-byte header, then LevelDB's log format in blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    content, position, whole = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while position + 7 <= len(content):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        whole += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # full, last
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(whole)
            whole = b""
            yield record
