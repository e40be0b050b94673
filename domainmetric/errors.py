"""Every error that domainmetric raises on purpose.

One family, so that callers can catch one class and the command line can print one clear paragraph. Each message says
what was expected, what came, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DomainMetricError(Exception):
    """Base of the family. The command line prints it without a traceback and exits with 1."""


class ConfigError(DomainMetricError, ValueError):
    """An experiment, or one of its parts, asks for something that cannot be done."""


class UsageError(DomainMetricError, ValueError):
    """The command line was used wrongly: an unknown command, recipe, field or value. Exit status 2."""


class DataError(DomainMetricError, ValueError):
    """Data has the wrong form: shape, type, range, labels, or a damaged file."""


class ChecksumMismatch(DataError):
    """A file is not the official one, by its md5."""


class DataNotPrepared(DomainMetricError, FileNotFoundError):
    """A domain's prepared store is missing; the message names the command that makes it.

    `domain` is the store's name, as `python -m data_prep` takes it, and `root` the folder that was searched.
    """

    def __init__(self, domain: str, root: object) -> None:
        self.domain = domain
        self.root = root
        super().__init__(
            f"No prepared data for '{domain}' was found in {root}. Prepare it with: "
            f"python -m data_prep {domain} --root {root}   (add --from FOLDER to take the files from a folder)"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class RunFolderError(DomainMetricError, ValueError):
    """A folder is not a run, is damaged, or is in use by another process."""


class OtherMachine(RunFolderError):
    """A run was trained on a machine that differs from this one, in device or software, and is not continued here."""


class Damaged(RunFolderError):
    """A file of a run folder does not hold what was written there."""


class NotRead(RunFolderError):
    """The disk refused to give a file of a run folder. The file may be good all the same, and stays."""


class NotWritten(RunFolderError):
    """The disk refused a file of a run folder. What was written before is kept, so that the run can be resumed."""


class Alarmed(DomainMetricError):
    """An alarm stopped the run, as the experiment asked."""


class ProcessLost(DomainMetricError):
    """Another process of a run on several devices has ended, or does not answer."""


class Interrupted(DomainMetricError):
    """The run was asked to stop; its state was saved and can be resumed."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A closing sentence that names the known words, and the one most like `word` where there is one."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{hint} Known: {', '.join(names) if names else 'none'}."
