"""The code that travels with runs to other machines: this package as it stands here, and the user's own files.

Third-party packages do not travel: they are installed on every machine, as this package is.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import domainmetric

SITES = ("site-packages", "dist-packages")
FILE_FOLDER = "file"


def pack_code(folder: Path, file: Path | None) -> str | None:
    """Copy the code into a folder that Python is to search. Returns the name of the user's `file` in it.

    The packages and modules that have been imported here from outside of the installation travel with all their Python
    files.
    """
    for name in sorted({module.partition(".")[0] for module in sys.modules}):
        module = sys.modules.get(name)
        for root in () if module is None else roots(module):
            if module is domainmetric or not installed(root):
                copy(root, folder / (name if root.is_dir() else root.name))
    if file is None:
        return None
    copy(file, folder / FILE_FOLDER / file.name)
    return f"{FILE_FOLDER}/{file.name}"


def roots(module: ModuleType) -> Iterator[Path]:
    """The folders of a package, or the file of a module that can be imported by its name."""
    folders, file = getattr(module, "__path__", None), getattr(module, "__file__", None)
    if folders is not None:
        yield from map(Path, folders)
    elif file is not None and Path(file).name == f"{module.__name__}.py":
        yield Path(file)


def installed(path: Path) -> bool:
    """Whether a file or folder belongs to the installation rather than to the user."""
    library = Path(sysconfig.get_path("stdlib")).resolve()
    return any(site in path.parts for site in SITES) or path.resolve().is_relative_to(library)


def copy(source: Path, target: Path) -> None:
    """Copy a Python file, or those below a folder."""
    for path in source.rglob("*.py") if source.is_dir() else (source,):
        place = target / path.relative_to(source) if source.is_dir() else target
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
