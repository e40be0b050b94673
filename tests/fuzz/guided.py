"""As `worker`, but atheris makes the inputs, guided by which code the earlier ones reached; what it learned is kept."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris
import sklearn.datasets  # noqa: F401 (with all that it imports, which is large and is not watched)

WATCHED = [
    "data_prep.formats",
    "data_prep.limits",
    "data_prep.mat_reader",
    "domainmetric.data.store",
    "scipy.io.matlab",
]
"""What reads files; their compiled parts cannot be watched."""
NEVER = 10**6
"""Seconds by the clock on the wall, which says nothing on a busy machine (and 0 of them means one); see `watched`."""
with atheris.instrument_imports(include=WATCHED):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.worker import in_forks, limit, watched  # noqa: E402 (it imports the targets, which must be watched first)


def main(name: str, first: int, count: int, folder: Path, corpus: Path) -> None:
    """Ends the process, as libFuzzer does."""
    target = TARGETS[name]
    corpus.mkdir(exist_ok=True)
    for index, seed in enumerate(target.seeds):
        (corpus / f"seed-{index}").write_bytes(seed)
    one = watched(target.check, first, folder)
    options: tuple[str, ...]
    options = (
        f"-runs={count}",
        f"-seed={first + 1}",
        "-max_len=8192",
        f"-timeout={NEVER}",
        "-rss_limit_mb=0",
        "-verbosity=0",
    )
    if target.contained:  # the process ends by the signal, as it does outside of these tests
        options += ("-handle_segv=0", "-handle_bus=0")
    limit()
    atheris.Setup(
        [sys.argv[0], *options, f"-exact_artifact_path={folder / 'culprit'}", str(corpus)],
        lambda data: (one(data), None)[1],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    reader, begin, number, place, kept = sys.argv[1:]
    in_forks(
        lambda first, count: main(reader, first, count, Path(place), Path(kept)),
        reader,
        int(begin),
        int(number),
        Path(place),
    )
