"""What is official: the files of each data set, their addresses and md5s, as torchvision knows them.

MNIST-M is none of torchvision's: its address and md5 are those of pytorch-adapt's copy (`mnistm.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torchvision import datasets

from data_prep import emnist, formats, mnistm
from domainmetric.data.domain import Split
from domainmetric.data.mnist_likes import FASHION_CLASSES, KMNIST_CLASSES
from domainmetric.types import ImageSet

# md5s of MNIST's files once unpacked: torchvision lists only those of the .gz, whose bytes change with each re-packing.
_MNIST_UNPACKED = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


@dataclass(frozen=True, kw_only=True)
class OfficialFile:
    """One file as its publisher offers it."""

    name: str
    urls: tuple[str, ...]
    """The official address and its mirrors, in the order in which they are tried."""
    md5: str
    unpacked_md5: str | None = None
    """For a .gz file that may also be given unpacked or packed anew: the md5 of its content."""
    instead: str = ""
    """A closing sentence for errors where the file cannot be had: what serves in its place."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One data set that can be prepared."""

    name: str
    files: tuple[OfficialFile, ...]
    folders: tuple[str, ...]
    """Where the files may lie below a folder given with --from, besides the folder itself."""
    read: Callable[[Mapping[str, Path]], dict[Split, ImageSet]]
    """From official file name -> path to both splits. Raises DataError."""


def _listed(split_list: Mapping[str, list[str]]) -> tuple[OfficialFile, ...]:
    """Both splits of torchvision's {split: [url, file name, md5]}."""
    entries = [split_list[split] for split in ("train", "test")]
    return tuple(OfficialFile(name=name, urls=(url,), md5=md5) for url, name, md5 in entries)


def _idx_files(kind: type[datasets.MNIST], unpacked: Mapping[str, str] | None = None) -> tuple[OfficialFile, ...]:
    """The four files of MNIST or of a set in its layout, as torchvision's class lists them."""
    return tuple(
        OfficialFile(
            name=name,
            urls=tuple(mirror + name for mirror in kind.mirrors),
            md5=md5,
            unpacked_md5=(unpacked or {}).get(name.removesuffix(".gz")),
        )
        for name, md5 in kind.resources
    )


def known_datasets() -> dict[str, Dataset]:
    """Name -> data set, for all that can be prepared."""
    archive = OfficialFile(name=emnist.ARCHIVE, urls=(datasets.EMNIST.url,), md5=datasets.EMNIST.md5)
    blended = OfficialFile(name=mnistm.ARCHIVE, urls=(mnistm.URL,), md5=mnistm.MD5, instead=mnistm.INSTEAD)
    known = (
        Dataset(name="svhn", files=_listed(datasets.SVHN.split_list), folders=("svhn",), read=formats.read_svhn),
        Dataset(
            name="mnist",
            files=_idx_files(datasets.MNIST, _MNIST_UNPACKED),
            folders=("mnist/MNIST/raw", "MNIST/raw", "mnist", "raw"),
            read=formats.read_mnist,
        ),
        Dataset(name="usps", files=_listed(datasets.USPS.split_list), folders=("usps",), read=formats.read_usps),
        Dataset(
            name="kmnist",
            files=_idx_files(datasets.KMNIST),
            folders=("kmnist", "KMNIST/raw"),
            read=partial(formats.read_mnist, classes=KMNIST_CLASSES),
        ),
        Dataset(
            name="fashion",
            files=_idx_files(datasets.FashionMNIST),
            folders=("fashion", "FashionMNIST/raw"),
            read=partial(formats.read_mnist, classes=FASHION_CLASSES),
        ),
        Dataset(name="emnist", files=(archive,), folders=("emnist", "EMNIST/raw"), read=emnist.read_emnist),
        Dataset(name="mnistm", files=(blended,), folders=("mnistm", "mnist_m"), read=mnistm.read_mnistm),
    )
    return {dataset.name: dataset for dataset in known}
