"""Runs on the nodes of a Ray cluster. The only file that knows Ray.

Each run has an actor, which does nothing but keep a sandbox (`sandbox.py`). The ablation asks it for news, and so has
the run's folder as it stands there. Where the actor, the run or the node is lost, the run goes on elsewhere from the
last checkpoint that came back. Ray pickles what it moves: whoever is in a cluster can run code in all of it. Run
folders move as bytes, and hold no pickle.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

import torch

from domainmetric import durable
from domainmetric.ablation.executor import Crew, Executor, Say, Work, Worker, check_workers
from domainmetric.ablation.luggage import pack_code
from domainmetric.ablation.parcel import Sender
from domainmetric.ablation.plan import cores
from domainmetric.ablation.resources import check_device, check_gpus, cpus, reach, room
from domainmetric.ablation.sandbox import PHASES, News, Order, Sandbox
from domainmetric.ablation.shared_phases import SharedPhases
from domainmetric.ablation.sight import Sight
from domainmetric.ablation.worker import ELSEWHERE, STOPPED
from domainmetric.errors import ConfigError, Damaged
from domainmetric.experiment import Runtime
from domainmetric.runner import new_folder
from domainmetric.training import runtime
from domainmetric.training.batches import data_root
from domainmetric.training.phases import CHECKPOINT, PREVIOUS

NEWS_S, CLOSE_S = 2.0, 5.0
"""Seconds between two requests for news of a run, and for its actor to tidy up."""
LOSSES = 3
"""How often a run may be lost and goes on; the next time it has failed."""
STORE_BYTES = 2**28
"""Memory for what is on its way, in a cluster that is started here; what does not fit goes over the disk."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SCHEDULER_EVENTS": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
"""No usage statistics; and Ray writes nothing between the lines of the display, which tells of what is lost itself."""
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray binds to 127.0.0.1 where it takes itself to be on a system on which it has no clusters; there is no other way."""


@final
@dataclass(frozen=True, kw_only=True)
class RayCluster(Executor):
    """The nodes of a Ray cluster."""

    address: str | None = None
    """HOST:PORT of a cluster that this machine is a node of. None starts one on this machine, bound to loopback."""
    workers: int | None = None
    """Runs at a time; None for as many as there is room for."""
    gpus_per_run: float = 0.0
    """GPUs that a run is given: a whole number, or a fraction, so that several runs share one; 0 hides them."""

    def __post_init__(self) -> None:
        if find_spec("ray") is None:
            raise ConfigError(
                'Runs on a cluster need Ray, which is not installed: pip install "domainmetric[ray]". Or run them on '
                "this machine, without --executor."
            )
        if self.workers is not None:
            check_workers(self.workers)
        check_gpus(self.gpus_per_run)

    def threads(self) -> int:
        return 1

    def about(self) -> str:
        many = "as many at a time as there is room for" if self.workers is None else f"{self.workers} at a time"
        gpus = f", {self.gpus_per_run:g} GPU each" if self.gpus_per_run else ""
        return f"on {'a Ray of its own' if self.address is None else f'Ray at {self.address}'}, {many}{gpus}"

    def machine(self, settings: Runtime) -> dict[str, Any]:
        told = "that of its node: each run records it"
        return {**runtime.description(torch.device("cpu")), "device": told, "processor": told}

    @contextmanager
    def open(self, works: Sequence[Work], file: Path | None, say: Say) -> Iterator[Crew]:
        left = [work.job.experiment.runtime for work in works if work.status != "finished"]
        for settings in left:
            check_device(settings, self.gpus_per_run)
        with TemporaryDirectory(prefix="domainmetric-code-") as code:
            name = pack_code(Path(code), file)
            with connected(self.address, code):
                yield self._crew(works, max(map(cpus, left)), name, say)

    def _crew(self, works: Sequence[Work], need: int, file: str | None, say: Say) -> Crew:
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        fitting = room(nodes, need, self.gpus_per_run)
        size = fitting if self.workers is None else self.workers
        say(f"Ray: {len(nodes)} node{'s' * (len(nodes) != 1)}, room for {fitting} at a time.")
        idle = sum(node.get("GPU", 0.0) for node in nodes) if not self.gpus_per_run else 0.0
        if idle:
            say(f"Its {idle:g} GPUs are given to no run. To use them: --gpus-per-run 1, or a fraction.")
        runs = works[0].job.experiment.runs_root
        site = Site(
            actors=ray.remote(Sandbox),
            gpus=self.gpus_per_run,
            file=file,
            phases=SharedPhases(runs / PHASES, works),
            say=say,
        )
        return Crew(size=size, start=partial(start, site=site))


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the runs on a cluster have in common."""

    actors: Any
    """Ray's version of `Sandbox`."""
    gpus: float
    file: str | None
    phases: SharedPhases
    say: Say


@final
@dataclass(kw_only=True)
class Away(Worker):
    """A run on a node."""

    site: Site
    actor: Any = None
    news: Any = None
    """Ray's promise of news; None while nothing is asked."""
    asked: float = 0.0
    here: bool = False
    """Whether the actor has answered yet."""
    stopped: bool = False
    losses: int = 0

    @property
    def folder(self) -> Path:
        """The run's folder on this machine."""
        assert self.work.folder is not None
        return self.work.folder

    def begin(self) -> None:
        """Send the folder as it stands here, and begin or go on."""
        experiment = self.work.job.experiment
        assert experiment.runtime.threads is not None, "every job says how many"
        order = Order(
            name=self.folder.name,
            run=Sender(self.folder, without={PREVIOUS}).pack(),
            phases=self.site.phases.of(self.work.job.source),
            without=frozenset({PREVIOUS}),
            file=self.site.file,
            threads=experiment.runtime.threads,
            work_folder=os.getcwd(),
            variables={"DOMAINMETRIC_DATA": str(data_root(experiment).absolute())},
        )
        options = {"num_cpus": cpus(experiment.runtime), "num_gpus": self.site.gpus, "max_restarts": 0}
        self.actor, self.here = self.site.actors.options(**options).remote(order), False
        self._ask()

    def _ask(self) -> None:
        self.news, self.asked = self.actor.look.remote(), time.monotonic()

    def look(self) -> bool:
        import ray

        if self.news is None and time.monotonic() - self.asked >= NEWS_S:
            self._ask()
        if self.news is None or not ray.wait([self.news], timeout=0)[0]:
            return False
        try:
            news: News = ray.get(self.news)
            self.site.phases.take(self.work.job.source, news.phases)
            news.run.unpack(self.folder)
        except (ray.exceptions.RayError, Damaged) as error:
            return self._lost(in_short(error))
        self.news, self.here = None, True
        self.sight.look()
        return news.code is not None and self._ended(news, news.code)

    def _ended(self, news: News, code: int) -> bool:
        """Write down what came of the process of the run, or begin again. Returns whether the run has ended."""
        news.run.sweep(self.folder)
        if code in (ELSEWHERE, STOPPED) or code < 0:
            if code == ELSEWHERE:  # a fraction of a run on each of two machines would be neither's
                durable.remove(self.folder / CHECKPOINT)
            return self._lost(news.error or "no reason is known")
        self._dismiss()
        self.work.status = "failed" if code else "finished"
        self.work.error = news.error
        return True

    def _lost(self, why: str) -> bool:
        """Go on elsewhere, as long as that makes sense. Returns whether the run has ended."""
        self._dismiss()
        self.losses += 1
        if self.stopped:
            self.work.status, self.work.error = "interrupted", None
        elif self.losses > LOSSES:
            self.work.status, self.work.error = "failed", f"lost {self.losses} times, the last time so: {why}"
        else:
            self.site.say(f"{self.work.job}: lost ({why}). It goes on from what came back.")
            self.begin()
            return False
        return True

    def _dismiss(self) -> None:
        import ray

        ray.wait([self.actor.close.remote()], timeout=CLOSE_S)
        ray.kill(self.actor)

    def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            if self.here:
                self.actor.stop.remote()
            else:  # it may be waiting for room, and has nothing to save
                self.end()

    def end(self) -> None:
        import ray

        ray.kill(self.actor)

    def join(self) -> None:
        self.work.status, self.work.error = "interrupted", None


def start(work: Work, *, site: Site) -> Worker:
    """Begin or continue a job on the cluster."""
    work.folder = work.folder or new_folder(work.job.experiment)
    away = Away(work=work, sight=Sight.of(work.folder), site=site)
    away.begin()
    return away


@contextmanager
def connected(address: str | None, code: str) -> Iterator[None]:
    """In a cluster, with a folder of code for its nodes. Raises ConfigError where there is none."""
    if address is not None:
        reach(address)  # Ray itself would wait for minutes
    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    os.environ.update(QUIET if address is not None else {**QUIET, **LOOPBACK, **secret})
    import ray

    try:
        enter(address, code)
        yield
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, handler)
        os.environ.clear()
        os.environ.update(before)


def enter(address: str | None, code: str) -> None:
    """Start Ray on this machine, or make this process part of a cluster. Raises ConfigError where that fails."""
    import ray

    common: dict[str, Any] = {"runtime_env": {"working_dir": code}, "log_to_driver": False, "logging_level": "CRITICAL"}
    try:
        if address is None:
            ray.init("local", num_cpus=cores(), include_dashboard=False, object_store_memory=STORE_BYTES, **common)
        else:
            ray.init(address, **common)
    except Exception as error:  # Ray raises whatever, down to a bare Exception where a node does not start in time
        if address is None:
            what, hint = "Ray could not be started", "It gives up after half a minute: this machine may be too busy"
        else:
            what = f"The Ray cluster at {address} could not be joined"
            hint = "This machine must be a node of it, with the same versions of Python and Ray"
        raise ConfigError(f"{what}: {in_short(error).rstrip('.')}. {hint}.") from error
    address_of: Callable[[], str] = ray.util.get_node_ip_address
    if address is None and address_of() != "127.0.0.1":
        raise ConfigError(
            "Ray was imported before it was told to stay on this machine, so the network could reach it. Start the "
            "ablation in a process that has not imported Ray."
        )


def in_short(error: Exception) -> str:
    """What of an error says what happened: Ray's have many lines, and some a traceback of another process."""
    text = str(getattr(error, "cause", None) or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    if "Traceback" in text:
        return lines[-1]
    return next((line for line in lines if " because its " in line), lines[0]).partition(". ")[0]
