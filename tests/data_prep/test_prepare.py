"""`python -m data_prep`: from files in hand, or downloaded, to a sound store; and every way in which that can fail."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep import official, prepare
from data_prep.__main__ import main
from data_prep.official import Dataset
from domainmetric.data.store import read_manifest, read_split
from domainmetric.errors import ChecksumMismatch, DataError
from tests.data_prep.official_files import DIGITS, made_official, write_all, write_mnist

NAMES = ("svhn", "mnist", "usps", "kmnist", "fashion", "emnist", "mnistm")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_all(tmp_path / "files")
    return tmp_path / "files"


@pytest.fixture
def known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Dataset]:
    """The files in `folder` are the official ones."""
    made = made_official(folder)
    monkeypatch.setattr("data_prep.pipeline.known_datasets", lambda: made)
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_all_from_a_folder(
    folder: Path, known: dict[str, Dataset], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*NAMES, "--root", root, "--from", folder) == 0
    for name in NAMES:
        labels = DIGITS["train"][::-1] if name == "mnistm" else DIGITS["train"]
        assert read_split(root, name, "train").labels.tolist() == labels.tolist()
        assert not read_manifest(root, name).unofficial
        with Image.open(root / name / "contact_sheet.png") as sheet:
            assert sheet.size[0] > 500
    assert sorted(path.name for path in root.iterdir()) == sorted(NAMES)
    printed = capsys.readouterr().out
    assert "svhn: number of images" in printed
    assert "unofficial" not in printed


def test_again_does_nothing_unless_forced(
    folder: Path, known: dict[str, Dataset], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("usps", "--root", root, "--from", folder) == 0
    before = (root / "usps" / "manifest.json").stat()
    capsys.readouterr()
    assert run("usps", "--root", root, "--from", folder) == 0
    assert "already prepared" in capsys.readouterr().out
    after = (root / "usps" / "manifest.json").stat()  # reading it moves its access time, and nothing else
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert run("usps", "--root", root, "--from", folder, "--force") == 0
    assert (root / "usps" / "manifest.json").stat().st_ino != before.st_ino


def test_unofficial_files_are_refused_with_both_md5s_unless_admitted(
    folder: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    official_md5 = official.known_datasets()["svhn"].files[0].md5
    assert run("svhn", "--root", root, "--from", folder) == 1
    message = capsys.readouterr().err
    assert official_md5 in message
    assert not root.exists()
    assert run("svhn", "--root", root, "--from", folder, "--unofficial") == 0
    manifest = read_manifest(root, "svhn")
    assert manifest.unofficial
    assert manifest.sources[0]["official_md5"] == official_md5
    assert manifest.sources[0]["md5"] in message
    assert "say so beside any number" in capsys.readouterr().out


def test_repacked_and_unpacked_mnist_is_official_by_its_content(
    folder: Path, known: dict[str, Dataset], root: Path, tmp_path: Path
) -> None:
    raw = folder / "mnist" / "MNIST" / "raw"
    known["mnist"] = replace(known["mnist"], files=tuple(replace(f, md5="0" * 32) for f in known["mnist"].files))
    assert run("mnist", "--root", root, "--from", raw) == 0
    write_mnist(tmp_path / "plain", packed=False)
    assert run("mnist", "--root", root, "--from", tmp_path / "plain", "--force") == 0
    assert not read_manifest(root, "mnist").unofficial
    (tmp_path / "plain" / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    assert run("mnist", "--root", root, "--from", tmp_path / "plain", "--force") == 1
    assert read_manifest(root, "mnist").counts["train"] == len(DIGITS["train"])


def test_missing_file_is_named(folder: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "usps" / "usps.t.bz2").unlink()
    assert run("usps", "--root", root, "--from", folder, "--unofficial") == 1
    assert "usps.t.bz2 of 'usps' was not found" in capsys.readouterr().err
    assert run("usps", "--root", root, "--from", folder / "nowhere") == 1
    assert "does not exist" in capsys.readouterr().err
    assert not root.exists()


def test_truncated_file_is_refused(folder: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "svhn" / "test_32x32.mat"
    path.write_bytes(path.read_bytes()[:-1000])
    assert run("svhn", "--root", root, "--from", folder, "--unofficial") == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert "test_32x32.mat is damaged or truncated" in error
    assert error.count("\n") == 1
    assert not root.exists()


def test_unknown_name_is_wrong_usage(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("minst", "--root", root) == 2
    assert "Did you mean 'mnist'?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_status:
        run("mnist", "--rooot", root)
    assert exit_status.value.code == 2


def test_damaged_store_asks_for_force(
    folder: Path, known: dict[str, Dataset], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("usps", "--root", root, "--from", folder) == 0
    (root / "usps" / "train_images.npy").write_bytes(b"")
    assert run("usps", "--root", root, "--from", folder) == 1
    assert "--force" in capsys.readouterr().err
    assert run("usps", "--root", root, "--from", folder, "--force") == 0
    assert len(read_split(root, "usps", "train")) == len(DIGITS["train"])


def test_full_disk_and_interrupt_leave_nothing(
    folder: Path,
    known: dict[str, Dataset],
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for failure, message in (
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (KeyboardInterrupt(), "Interrupted"),
    ):

        def fail(*_: object, failure: BaseException = failure) -> None:
            raise failure

        monkeypatch.setattr(np, "save", fail)
        assert run("usps", "--root", root, "--from", folder) == 1
        assert message in capsys.readouterr().err
        assert list(root.iterdir()) == []


def test_debug_shows_the_traceback(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        run("usps", "--root", root, "--from", tmp_path / "nowhere", "--debug")


def test_the_function_reports_on_standard_error(
    folder: Path, known: dict[str, Dataset], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(["usps"], root, from_folder=folder)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Prepared 'usps'" in captured.err


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    """The address of a server of `folder`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def served(dataset: Dataset, *bases: str) -> Dataset:
    return replace(
        dataset, files=tuple(replace(f, urls=tuple(f"{base}/{f.name}" for base in bases)) for f in dataset.files)
    )


def test_download_tries_the_mirrors_and_is_kept(
    known: dict[str, Dataset], server: str, root: Path, folder: Path
) -> None:
    known["usps"] = served(known["usps"], f"{server}/nowhere", f"{server}/svhn", f"{server}/usps")
    prepare(["usps"], root)
    assert not read_manifest(root, "usps").unofficial
    for path in (folder / "usps").iterdir():
        path.unlink()
    prepare(["usps"], root, force=True)
    assert sorted(path.name for path in (root / "downloads" / "usps").iterdir()) == ["usps.bz2", "usps.t.bz2"]


def test_wrong_download_is_refused_and_not_kept(known: dict[str, Dataset], server: str, root: Path) -> None:
    usps = served(known["usps"], f"{server}/usps")
    known["usps"] = replace(usps, files=tuple(replace(f, md5="0" * 32) for f in usps.files))
    with pytest.raises(ChecksumMismatch, match="the official one is 0000"):
        prepare(["usps"], root)
    assert list((root / "downloads" / "usps").iterdir()) == []
    prepare(["usps"], root, unofficial=True)
    assert read_manifest(root, "usps").unofficial


def test_unreachable_server_points_to_from(known: dict[str, Dataset], root: Path) -> None:
    known["usps"] = served(known["usps"], "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"could not be downloaded.*ConnectionError.*--from"):
        prepare(["usps"], root)
    assert not (root / "usps").exists()


@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated:UserWarning")
def test_mnistm_is_the_copy_that_pytorch_adapt_knows() -> None:
    from pytorch_adapt.datasets import MNISTM

    (file,) = official.known_datasets()["mnistm"].files
    assert (file.name, file.urls, file.md5) == (MNISTM.filename, (MNISTM.url,), MNISTM.md5)


def test_official_addresses_and_md5s_are_those_of_torchvision() -> None:
    known = official.known_datasets()
    num_files = {"svhn": 2, "mnist": 4, "usps": 2, "kmnist": 4, "fashion": 4, "emnist": 1, "mnistm": 1}
    assert {name: len(dataset.files) for name, dataset in known.items()} == num_files
    for name, dataset in known.items():
        for file in dataset.files:
            assert len(file.md5) == 32
            assert name == "mnistm" or all(url.endswith(f"/{file.name}") for url in file.urls)
    assert len(known["mnist"].files[0].urls) >= 2
    assert json.dumps([file.unpacked_md5 for file in known["mnist"].files]).count("null") == 0
