"""A film's signatures in several files, read as one array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tasks.rows import StoredRows
from vsalign.thumb import SIGNATURE_BYTES

Rows = npt.NDArray[np.uint8]
SIZES = (5, 1, 7, 3)
COUNT = sum(SIZES)


@pytest.fixture
def whole() -> Rows:
    return np.random.default_rng(0).integers(0, 256, (COUNT, SIGNATURE_BYTES), np.uint8)


@pytest.fixture
def stored(tmp_path: Path, whole: Rows) -> StoredRows:
    paths = [tmp_path / f"{k}.npy" for k in range(len(SIZES))]
    for path, part in zip(paths, np.split(whole, np.cumsum(SIZES)[:-1]), strict=True):
        np.save(path, part)
    return StoredRows(paths, COUNT)


def test_it_looks_like_one_array(stored: StoredRows) -> None:
    assert len(stored) == COUNT and stored.shape == (COUNT, SIGNATURE_BYTES)


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(0, 5),
        slice(4, 7),
        slice(3, 15),
        slice(5, 6),
        slice(9, 9),
        slice(10, 99),
        slice(2, 16, 3),
        slice(-4, None),
    ],
    ids=str,
)
def test_a_slice_over_the_files_borders_is_that_of_the_whole(stored: StoredRows, whole: Rows, rows: slice) -> None:
    assert np.array_equal(stored[rows], whole[rows])


@pytest.mark.parametrize(
    "rows", [[0], [15, 0, 5, 4, 6], [3, 3, 3, 12, 12], list(range(COUNT)), list(range(COUNT))[::-1], []], ids=str
)
def test_row_numbers_are_answered_in_the_order_asked(stored: StoredRows, whole: Rows, rows: list[int]) -> None:
    wanted = np.array(rows, np.int64)
    found = stored[wanted]
    assert found.shape == (len(rows), SIGNATURE_BYTES) and np.array_equal(found, whole[wanted])


def test_what_was_read_is_a_copy(stored: StoredRows, whole: Rows) -> None:
    stored[2:8][:] = 0
    assert np.array_equal(stored[2:8], whole[2:8])


def test_a_file_without_rows_is_no_border(tmp_path: Path, whole: Rows) -> None:
    paths = [tmp_path / f"{k}.npy" for k in range(3)]
    for path, part in zip(paths, (whole[:5], whole[:0], whole[5:]), strict=True):
        np.save(path, part)
    assert np.array_equal(StoredRows(paths, COUNT)[3:7], whole[3:7])


@pytest.mark.parametrize("count", [COUNT - 1, COUNT + 1, 0])
def test_a_wrong_number_of_rows_is_refused(tmp_path: Path, whole: Rows, count: int) -> None:
    np.save(tmp_path / "all.npy", whole)
    with pytest.raises(ValueError, match=f"scan blobs hold {COUNT} frames, the source has {count}"):
        StoredRows([tmp_path / "all.npy"], count)
