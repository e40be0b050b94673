"""How the process that shows a run in Weights & Biases is ended, and what it leaves is put in order."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from domainmetric import durable
from domainmetric.errors import RunFolderError
from domainmetric.serialize import without_home


def kill_family(process: subprocess.Popen[bytes]) -> None:
    """End the child and W&B's own process, which lives in a session of its own and may hang too."""
    tasks = Path(f"/proc/{process.pid}/task")  # on Linux; elsewhere W&B's process ends when it sees the child gone
    grandchildren = [int(pid) for listed in tasks.glob("*/children") for pid in listed.read_text().split()]
    process.kill()
    for pid in grandchildren:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def tidy(run: Path) -> None:
    """Remove what W&B has left beside its view."""
    for left in (run / "wandb" / "tmp", run / "wandb" / "cache", *run.glob("wandb/*/logs")):  # logs name folders, too
        shutil.rmtree(left, ignore_errors=True)


def unnamed(said: Path) -> None:
    """Take the user's home folder from what W&B has said, once the child is gone."""
    with suppress(OSError, RunFolderError):
        text = said.read_text(encoding="utf-8", errors="replace")
        plain = without_home(text, prose=True)
        if plain != text:
            durable.write(said, plain.encode())


def last_line(path: Path) -> str:
    """The last line of a file that says anything."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")
