"""What becomes of a run on a node, whatever Ray says of it; and what a cluster is asked before anything runs."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from domainmetric.ablation import ray_cluster
from domainmetric.ablation.executor import Work
from domainmetric.ablation.parcel import Parcel, Piece, digest
from domainmetric.ablation.plan import Job
from domainmetric.ablation.ray_cluster import Away, RayCluster, Site, in_short
from domainmetric.ablation.resources import check_device, reach, room
from domainmetric.ablation.sandbox import News
from domainmetric.ablation.shared_phases import SharedPhases
from domainmetric.ablation.sight import Sight
from domainmetric.ablation.worker import ELSEWHERE, STOPPED
from domainmetric.errors import ConfigError
from domainmetric.experiment import Runtime
from domainmetric.training.checkpoint import write_tensors
from tests import tiny

EMPTY = Parcel(pieces=(), names=frozenset())
BASE = tiny.experiment(Path("runs"), "mmd")
EXPERIMENT = replace(BASE, runtime=replace(BASE.runtime, threads=1))


class Gone(Exception):
    """As Ray's error for an actor that is lost."""


class Actor:
    """What Ray gives for an actor: methods whose `remote` promises what comes of them."""

    def __init__(self, ray: Ray, order: Any) -> None:
        self.order = order
        self.look = SimpleNamespace(remote=lambda: ray.news)
        self.stop = SimpleNamespace(remote=lambda: ray.done.append("stop"))
        self.close = SimpleNamespace(remote=lambda: ray.done.append("close"))


class Ray:
    """As much of Ray as a worker uses, with the news to come in a list: news, an error, or None for none yet."""

    exceptions = SimpleNamespace(RayError=Gone)

    def __init__(self) -> None:
        self.news: list[News | Gone | None] = []
        self.done: list[str] = []
        self.orders: list[Any] = []
        self.options: dict[str, float] = {}

    def wait(self, promises: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return (promises, []) if self.news and self.news[0] is not None else ([], promises)

    def get(self, promise: Any) -> News:
        found = self.news.pop(0)
        if isinstance(found, Gone):
            raise found
        assert found is not None
        return found

    def kill(self, actor: Actor) -> None:
        self.done.append("kill")

    def actors(self) -> Any:
        def remote(order: Any) -> Actor:
            self.orders.append(order)
            return Actor(self, order)

        def options(**given: float) -> Any:
            self.options = given
            return SimpleNamespace(remote=remote)

        return SimpleNamespace(options=options)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    found = Ray()
    monkeypatch.setitem(sys.modules, "ray", found)
    monkeypatch.setattr(ray_cluster, "NEWS_S", 0.0)
    return found


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def away(tmp_path: Path, ray: Ray, said: list[str]) -> Away:
    """A run that has begun, with a checkpoint."""
    folder = tmp_path / "runs" / "nearest-s0"
    folder.mkdir(parents=True)
    (folder / "checkpoint.safetensors").write_bytes(b"state")
    job = Job(variant="nearest", seed=0, experiment=EXPERIMENT, content="nearest", source="one")
    site = Site(
        actors=ray.actors(),
        gpus=0.25,
        file=None,
        phases=SharedPhases(tmp_path / "runs" / ".phases", []),
        say=said.append,
    )
    found = Away(work=Work(job=job, folder=folder), sight=Sight.of(folder), site=site)
    found.begin()
    return found


def news(code: int | None = None, error: str | None = None, **files: bytes) -> News:
    pieces = tuple(Piece(name=n, begin=0, content=c, digest=digest(c)) for n, c in files.items())
    return News(code=code, error=error, run=Parcel(pieces=pieces, names=frozenset(files)), phases=EMPTY)


def test_a_run_is_given_its_share_and_its_folder_and_finishes(ray: Ray, away: Away) -> None:
    assert ray.options == {"num_cpus": 1, "num_gpus": 0.25, "max_restarts": 0}
    assert ray.orders[0].run.names == {"checkpoint.safetensors"}
    assert not away.look()
    ray.news = [news(report=b"{}"), news(code=0, report=b"{}", log=b"log")]
    assert not away.look()
    assert away.look()
    assert (away.work.status, away.work.error) == ("finished", None)
    assert {path.name for path in away.folder.iterdir()} == {"report", "log"}
    assert ray.done == ["close", "kill"]


def test_a_run_that_fails_has_failed(ray: Ray, away: Away, said: list[str]) -> None:
    ray.news = [news(code=1, error="on node: no such data")]
    assert away.look()
    assert (away.work.status, away.work.error) == ("failed", "on node: no such data")
    assert not said


LOST = {
    "actor": Gone("the actor died"),
    "run": news(code=-signal.SIGKILL, error="on node: ended by SIGKILL", **{"checkpoint.safetensors": b"new"}),
    "shutdown": news(code=STOPPED, error="on node: x", **{"checkpoint.safetensors": b"new"}),
    "transport": News(
        code=0,
        error=None,
        run=Parcel(pieces=(Piece(name="a", begin=0, content=b"", digest=""),), names=frozenset("a")),
        phases=EMPTY,
    ),
}


@pytest.mark.parametrize("what", LOST)
def test_a_lost_run_goes_on_elsewhere_until_it_was_lost_too_often(
    what: str, ray: Ray, away: Away, said: list[str]
) -> None:
    ray.news = [LOST[what]] * 4
    assert [away.look() for _ in range(4)] == [False, False, False, True]
    assert len(ray.orders) == 4
    assert all(order.run.names == {"checkpoint.safetensors"} for order in ray.orders)
    assert [text.partition(" (")[0] for text in said] == ["nearest, seed 0: lost"] * 3
    assert away.work.status == "failed"
    assert away.work.error is not None and away.work.error.startswith("lost 4 times, the last time so: ")


def test_on_another_kind_of_machine_a_run_begins_anew(ray: Ray, away: Away, said: list[str]) -> None:
    ray.news = [news(code=ELSEWHERE, error="machine: device was a and is b", **{"checkpoint.safetensors": b"state"})]
    assert not away.look()
    assert ray.orders[1].run.names == set()
    assert "machine: device was a and is b" in said[0]


def test_a_run_that_is_asked_to_stop_is_interrupted(ray: Ray, away: Away) -> None:
    ray.news = [news()]
    away.look()
    away.stop()
    away.stop()
    assert ray.done == ["stop"]
    ray.news = [news(code=STOPPED, **{"checkpoint.safetensors": b"new"})]
    assert away.look()
    assert (away.work.status, away.work.error) == ("interrupted", None)
    assert (away.folder / "checkpoint.safetensors").read_bytes() == b"new"


def test_a_run_that_still_waits_for_room_need_not_be_asked(ray: Ray, away: Away) -> None:
    away.stop()
    assert ray.done == ["kill"]
    ray.news = [Gone("killed")]
    assert away.look()
    assert away.work.status == "interrupted"


def test_when_there_is_no_time_the_actor_goes(ray: Ray, away: Away) -> None:
    away.end()
    away.join()
    assert ray.done == ["kill"]
    assert away.work.status == "interrupted"


def test_phases_travel_with_the_runs_that_may_reuse_them(tmp_path: Path) -> None:
    phases = tmp_path / "runs" / ".phases"
    phases.mkdir(parents=True)
    write_tensors(phases / "before.safetensors", {}, {"run": "nearest-s0"})
    write_tensors(phases / "unknown.safetensors", {}, {"run": "deleted"})
    (phases / "broken.safetensors").write_bytes(b"?")
    job = Job(variant="nearest", seed=0, experiment=EXPERIMENT, content="nearest", source="one")
    shared = SharedPhases(phases, [Work(job=job, folder=tmp_path / "runs" / "nearest-s0")])
    assert shared.of("one").names == {"before.safetensors"}
    piece = Piece(name="new.safetensors", begin=0, content=b"new", digest=digest(b"new"))
    shared.take("two", Parcel(pieces=(piece,), names=frozenset({"new.safetensors"})))
    assert shared.of("two").names == {"new.safetensors"}
    assert shared.of("three").names == shared.of(None).names == set()


def test_how_many_runs_have_room() -> None:
    assert room([{"CPU": 4.0}, {"CPU": 3.0}], 2, 0) == 3
    assert room([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 16.0}], 1, 0.25) == 8
    assert room([{"CPU": 16.0, "GPU": 0.7}], 1, 0.1) == 7
    with pytest.raises(
        ConfigError, match=r"needs 1 CPUs and 0\.5 GPUs, but no node of the cluster has as much; they have 2"
    ):
        room([{"CPU": 2.0}], 1, 0.5)


def test_what_cannot_be_asked_of_a_cluster() -> None:
    with pytest.raises(ConfigError, match=r"fraction of a GPU, or whole ones, but --gpus-per-run is 1\.5"):
        RayCluster(gpus_per_run=1.5)
    with pytest.raises(ConfigError, match="but --gpus-per-run is nan"):
        RayCluster(gpus_per_run=float("nan"))
    with pytest.raises(ConfigError, match="There must be at least one worker"):
        RayCluster(workers=0)
    with pytest.raises(ConfigError, match="a run on Ray is given no GPU"):
        check_device(Runtime(device="cuda"), 0)
    with pytest.raises(ConfigError, match=r"so --gpus-per-run 0\.5 would be of no use"):
        check_device(Runtime(device="cpu"), 0.5)
    with pytest.raises(ConfigError, match=r"runtime\.num_nodes is 2"):
        check_device(Runtime(num_nodes=2), 0)


def test_a_cluster_that_does_not_answer_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"No Ray cluster answers at 127\.0\.0\.1:1 \(.*refused\)\. Start one with"):
        reach("127.0.0.1:1")
    for wrong in ("auto", "ray://head:10001/x", "head:", "127.0.0.1:99999999"):
        with pytest.raises(ConfigError, match=r"The address of a Ray cluster is HOST:PORT|No Ray cluster answers"):
            reach(wrong)


def test_without_ray_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "domainmetric\[ray\]"'):
        RayCluster()


def test_of_an_error_the_line_that_tells_is_kept() -> None:
    assert in_short(ValueError("what\n\tdetails")) == "what"
    assert in_short(ValueError("ray::look()\nTraceback (most recent call last):\n  x\nOSError: disk full\n")) == (
        "OSError: disk full"
    )
    died = "The actor died unexpectedly.\n\tpid: 7\nThe actor died because its node has died. Node Id: 1\n\tmore"
    assert in_short(ValueError(died)) == "The actor died because its node has died"
    assert in_short(ValueError()) == "ValueError"
