"""Official weights from torch's hub cache, or from where their publishers keep them.

The file is held against the digits of its SHA-256 that its name bears, also where it lay in the cache already. Torch's
own loader reads it with `weights_only=True`: tensors, and nothing that could be executed.
"""

from __future__ import annotations

import hashlib
import sys
from contextlib import redirect_stdout
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

import torch
from torch import Tensor

from domainmetric.errors import ConfigError


def official_weights(url: str) -> dict[str, Tensor]:
    """The weights that an address of torch's hub stands for. Raises ConfigError where they cannot be had."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(urlparse(url).path).name
    try:
        if path.is_file():
            check(path)
        with redirect_stdout(sys.stderr):  # it tells of a download, and standard output is for results
            state = torch.hub.load_state_dict_from_url(
                url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
    except ConfigError:
        raise
    except Exception as error:  # of urllib, of the disk, of torch where the digits are others
        raise ConfigError(
            f"The pretrained weights {path.name} are not in {path.parent}, and fetching them from {url} failed "
            f"({type(error).__name__}: {error}). Fetch the file where there is a network and put it there, under this "
            "name; or begin at random, with weights=None."
        ) from error
    return state


def check(path: Path) -> None:
    """Raise ConfigError unless the digits in a file's name are those that its SHA-256 begins with."""
    named = torch.hub.HASH_REGEX.search(path.name)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if named is None or not digest.startswith(named.group(1)):
        raise ConfigError(
            f"{path} is damaged or not the official file: its SHA-256 begins with {digest[:8]}, not as its name says. "
            "Delete it, or put the official file in its place."
        )
