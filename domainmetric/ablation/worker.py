"""The process of one run of an ablation: the ordinary runner, which stops when the process that started it does.

`python -m domainmetric.ablation.worker RUN [FILE]` continues the run folder RUN, new or not, with the classes of the
user's FILE. Its standard input is a pipe that nothing is written to: when the other end closes, because the ablation
was interrupted or has died in whatever way, the run is asked to stop, which saves its state.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path

from domainmetric.errors import DomainMetricError, Interrupted

STOPPED = 130
"""Exit status of a run that was asked to stop."""


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
    except (Interrupted, KeyboardInterrupt):
        return STOPPED
    except DomainMetricError as error:
        return failed(str(error))
    except Exception as error:
        traceback.print_exc()
        return failed(f"{type(error).__name__}: {error}")
    return 0


def failed(why: str) -> int:
    """Tell why, on one line."""
    sys.stderr.write(" ".join(why.split()) + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
