"""What holds for every file: what was written is read, and what is cut or changed is refused or is the same."""

from __future__ import annotations

import bz2
import gzip
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import savemat

from data_prep.formats import read_idx, read_libsvm
from data_prep.limits import MAX_CONTENT, read_at_most
from data_prep.mat_reader import read
from domainmetric.data.store import read_split, write_store
from domainmetric.errors import DataError
from domainmetric.types import ImageSet
from tests.data_prep.official_files import idx, libsvm
from tests.properties.looks import look

bytes_of_images = arrays.arrays(np.uint8, st.tuples(st.integers(1, 6), st.just(4), st.just(5)))


@look
@given(bytes_of_images, st.booleans())
def test_an_idx_file_is_read_as_it_was_written(images: np.ndarray, packed: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / ("images.gz" if packed else "images")
        path.write_bytes(gzip.compress(idx(images), 1) if packed else idx(images))
        assert np.array_equal(read_idx(path, (4, 5)), images)


@look
@given(bytes_of_images, st.booleans(), st.data())
def test_an_idx_file_that_was_cut_is_refused(images: np.ndarray, packed: bool, data: st.DataObject) -> None:
    content = gzip.compress(idx(images), 1) if packed else idx(images)
    kept = data.draw(st.integers(0, len(content) - 1))
    assert read_or_none("images.gz" if packed else "images", content[:kept]) is None


@look
@given(bytes_of_images, st.data())
def test_a_packed_file_with_another_byte_is_refused_or_means_the_same(images: np.ndarray, data: st.DataObject) -> None:
    content = bytearray(gzip.compress(idx(images), 1))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    found = read_or_none("images.gz", bytes(content))
    assert found is None or np.array_equal(found, images)


def read_or_none(name: str, content: bytes) -> np.ndarray | None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            return read_idx(path, (4, 5))
        except DataError:
            return None


@look
@given(arrays.arrays(np.uint8, st.tuples(st.just(32), st.just(32), st.just(3), st.integers(0, 2))), st.booleans())
def test_a_mat_file_is_read_as_it_was_written(images: np.ndarray, packed: bool) -> None:
    labels = np.arange(images.shape[3])[:, None]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.mat"
        savemat(path, {"y": labels, "X": images, "z": np.ones(3)}, do_compression=packed)
        found = read(path, MAX_CONTENT)
    assert np.array_equal(found[0], images)
    assert np.array_equal(found[1], labels)


levels = arrays.arrays(np.float64, st.tuples(st.integers(1, 3), st.just(256)), elements=st.integers(0, 255))


@look
@given(levels, st.data())
def test_libsvm_text_gives_every_level_back(values: np.ndarray, data: st.DataObject) -> None:
    digits = np.array(data.draw(st.lists(st.integers(0, 9), min_size=len(values), max_size=len(values))))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "usps.bz2"
        path.write_bytes(libsvm((values + 0.5) / 127.5 - 1 - 0.5 / 127.5 * (values == 255), digits + 1))
        found = read_libsvm(path)
        path.write_bytes(bz2.compress(b""))
    assert np.array_equal(found.images.reshape(len(values), 256).numpy(), values)
    assert found.labels is not None and found.labels.tolist() == digits.tolist()


@look
@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3]), st.integers(0, 2**32))
def test_a_store_gives_back_what_was_put_in(count: int, side: int, channels: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, side, side, channels), generator=draw, dtype=torch.uint8)
    made = ImageSet(images=images, labels=torch.randint(0, 3, (count,), generator=draw), classes=("a", "b", "c"))
    with TemporaryDirectory() as folder:
        write_store(Path(folder), "made", {"train": made, "test": made}, sources=[])
        found = read_split(Path(folder), "made", "train")
        assert torch.equal(found.images, made.images)
        assert found.labels is not None and made.labels is not None and torch.equal(found.labels, made.labels)


@look
@given(st.binary(max_size=50), st.integers(0, 60))
def test_no_more_is_read_than_asked_for(content: bytes, limit: int) -> None:
    assert read_at_most(io.BytesIO(content), limit) == content[:limit]
