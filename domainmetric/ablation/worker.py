"""The process of one run of an ablation: the ordinary runner, which stops when the process that started it does.

`python -m domainmetric.ablation.worker RUN [FILE]` continues the run folder RUN, new or not, with the classes of the
user's FILE. Its standard input is a pipe that nothing is written to: when the other end closes, because the ablation
was interrupted or has died in whatever way, the run is asked to stop, which saves its state.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from domainmetric.errors import DomainMetricError, Interrupted, OtherMachine
from domainmetric.serialize import without_home
from domainmetric.team.process import told_elsewhere

LOG = "worker.log"
"""What the process says, in the run folder."""
STOPPED, ELSEWHERE = 130, 3
"""Exit status of a run that was asked to stop, and of one that was trained on another machine and not continued."""


def launch(
    folder: Path,
    file: Path | None,
    *,
    threads: int,
    search: Sequence[str],
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start the process of a run, which looks for code in the folders `search` before it looks in the installation.

    `variables` are added to the environment, and the files `keep_open` stay open as long as the process lives.
    """
    command = [sys.executable, "-P", "-m", "domainmetric.ablation.worker", str(folder)]
    command += [] if file is None else [str(file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(search), "OMP_NUM_THREADS": str(threads)}
    with (folder / LOG).open("ab") as output:
        return subprocess.Popen(
            command,
            env={**environment, **(variables or {})},
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=keep_open,
            start_new_session=True,  # Ctrl-C is for the ablation, which stops its runs in its own way
        )


def why(code: int, log: Path) -> str:
    """Why a process failed, from its exit status and what it said."""
    if code < 0:
        hint = "; the system may have run out of memory, try fewer --workers" * (code == -signal.SIGKILL)
        return f"ended by {signal.Signals(-code).name}{hint}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


def stop_with_parent() -> None:
    """Wait for the end of standard input, then ask this process to stop."""
    while os.read(0, 1):  # not sys.stdin, whose lock a thread must not hold when Python ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Do the run. Returns the exit status; the last line of standard error says why it is not zero."""
    threading.Thread(target=stop_with_parent, daemon=True).start()
    folder, file = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
    try:
        from domainmetric.recipes import names_of
        from domainmetric.runner import resume

        resume(folder, names_of(file))
    except (Interrupted, KeyboardInterrupt) as stopped:
        return 0 if told_elsewhere(stopped) else STOPPED
    except OtherMachine as error:
        failed(str(error))
        return ELSEWHERE
    except DomainMetricError as error:
        return 0 if told_elsewhere(error) else failed(str(error))
    except Exception as error:
        sys.stderr.write(without_home(traceback.format_exc(), prose=True))
        return failed(f"{type(error).__name__}: {error}")
    return 0


def failed(why: str) -> int:
    """Tell why, on one line, which is kept: so the user's home folder is not named in it."""
    sys.stderr.write(without_home(" ".join(why.split()), prose=True) + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
