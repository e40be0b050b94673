"""The command `python -m data_prep`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from data_prep.blend import Photographs
from data_prep.official import known_datasets
from data_prep.pipeline import prepare
from domainmetric.errors import DomainMetricError, UsageError
from domainmetric.escaping import visible


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare what the arguments name. Returns the exit status: 0, 1 for a failure, 2 for wrong usage."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.seed is not None and options.photographs is None:
        parser.error("--seed draws patches of photographs: give --photographs FOLDER, too")
    photographs = None
    if options.photographs is not None:
        photographs = Photographs(folder=options.photographs, seed=options.seed or 0)
    try:
        prepare(
            options.names,
            options.root,
            from_folder=options.from_folder,
            unofficial=options.unofficial,
            force=options.force,
            photographs=photographs,
            console=Console(),
        )
    except (DomainMetricError, OSError, KeyboardInterrupt) as error:
        if options.debug:
            raise
        print(visible(_explained(error)), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def _explained(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted. Nothing was left half-written; the same command starts again."
    if isinstance(error, OSError) and not isinstance(error, DomainMetricError):
        change = "Change that, or choose other folders with --from and --root."
        return f"Error: {error.filename}: {error.strerror or error}. {change}"
    return f"Error: {error}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m data_prep", description="Fetch, verify and convert data sets.")
    names = ", ".join(known_datasets())
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"{names}; several may be named")
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of the prepared stores (default: data)")
    parser.add_argument(
        "--from", dest="from_folder", type=Path, metavar="FOLDER", help="take the official files from here; no download"
    )
    parser.add_argument("--unofficial", action="store_true", help="admit files whose md5 is not the official one")
    parser.add_argument(
        "--photographs", type=Path, metavar="FOLDER", help="make mnistm from the prepared mnist and these photographs"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="draws the patches of the photographs (default: 0)")
    parser.add_argument("--force", action="store_true", help="prepare anew what is already prepared")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


if __name__ == "__main__":
    sys.exit(main())
