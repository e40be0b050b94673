"""Preparing data sets: files in hand -> verified -> image sets -> store with manifest and contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from data_prep.blend import Photographs, make_mnistm
from data_prep.contact_sheet import store_sheet
from data_prep.fetch import Found, download, find, verify
from data_prep.official import Dataset, known_datasets
from domainmetric.data.domain import SPLITS
from domainmetric.data.store import Manifest, verify_store, write_store
from domainmetric.errors import DataError, DataNotPrepared, UsageError, nearest

DOWNLOADS = "downloads"
"""Folder below the root that keeps downloaded files, so that preparing again needs no network."""


def prepare(
    names: Sequence[str],
    root: Path,
    *,
    from_folder: Path | None = None,
    unofficial: bool = False,
    force: bool = False,
    photographs: Photographs | None = None,
    console: Console | None = None,
) -> None:
    """Prepare the named data sets below `root`; those that are there and sound are left as they are.

    `from_folder` is searched for the official files instead of downloading them; `unofficial` admits files whose md5 is
    not the official one; `force` prepares anew what is there; `photographs` has MNIST-M made from these and the
    prepared MNIST. Progress goes to `console` (default: standard error). Raises UsageError for an unknown name,
    ChecksumMismatch and DataError for what is wrong with the files.
    """
    console = console or Console(stderr=True)
    known = known_datasets()
    for name in names:
        if name not in known:
            raise UsageError(f"There is no data set '{name}' to prepare.{nearest(name, known)}")
    if photographs is not None and "mnistm" not in names:
        raise UsageError("Photographs are for 'mnistm', which is not among the data sets named. Name it, too.")
    for option, folder in (("--from", from_folder), ("--photographs", photographs.folder if photographs else None)):
        if folder is not None and not folder.is_dir():
            raise DataError(f"The folder given with {option} does not exist: {folder}.")
    for name in dict.fromkeys(names):
        manifest = None if force else _already(root, name)
        if manifest is None:
            if name == "mnistm" and photographs is not None:
                manifest = _blend(root, photographs, console)
            else:
                manifest = _prepare_one(known[name], root, from_folder, unofficial, console)
            _show(manifest, console)
            _say(console, f"Prepared '{name}' in {root / name} (contact sheet: {root / name / 'contact_sheet.png'}).")
        else:
            _say(console, f"'{name}' is already prepared in {root / name}: nothing to do (--force prepares it anew).")
        if manifest.made:
            _say(console, f"'{name}' was made here and is not its authors' file: say so beside any number.")
        elif manifest.unofficial:
            _say(console, f"'{name}' was made from unofficial files: say so beside any number.")


def _already(root: Path, name: str) -> Manifest | None:
    try:
        return verify_store(root, name)
    except DataNotPrepared:
        return None


def _prepare_one(
    dataset: Dataset, root: Path, from_folder: Path | None, unofficial: bool, console: Console
) -> Manifest:
    with _progress(console) as progress:
        step = progress.add_task(f"{dataset.name}", total=None)
        found: dict[str, Found] = {}
        for file in dataset.files:
            progress.update(step, description=f"{dataset.name}: verifying {file.name}")
            if from_folder is None:
                place = root / DOWNLOADS / dataset.name
                found[file.name] = download(file, place, progress, unofficial=unofficial)
            else:
                found[file.name] = verify(file, find(file, dataset, from_folder), unofficial=unofficial)
        progress.update(step, description=f"{dataset.name}: reading")
        splits = dataset.read({name: each.path for name, each in found.items()})
        progress.update(step, description=f"{dataset.name}: writing")
        sheet = store_sheet(dataset.name, splits)
        return write_store(
            root,
            dataset.name,
            splits,
            sources=[each.source for each in found.values()],
            extras={"contact_sheet.png": sheet},
        )


def _blend(root: Path, photographs: Photographs, console: Console) -> Manifest:
    with _progress(console) as progress:
        progress.add_task("mnistm: blending MNIST with photographs", total=None)
        splits, made = make_mnistm(root, photographs)
        sheet = store_sheet("mnistm", splits)
        return write_store(root, "mnistm", splits, sources=[], made=made, extras={"contact_sheet.png": sheet})


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _show(manifest: Manifest, console: Console) -> None:
    table = Table(title=f"{manifest.name}: number of images")
    table.add_column("class")
    for split in SPLITS:
        table.add_column(split, justify="right")
    for label, name in enumerate(manifest.classes):
        table.add_row(name, *(f"{manifest.class_counts[split][label]:,}" for split in SPLITS))
    table.add_section()
    table.add_row("all", *(f"{manifest.counts[split]:,}" for split in SPLITS))
    console.print(table)


def _say(console: Console, line: str) -> None:
    """One line as it is: paths are neither wrapped nor read as markup."""
    console.print(line, soft_wrap=True, markup=False, highlight=False)
