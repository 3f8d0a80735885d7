"""The signatures of a whole film as one array that stays on disk: only the rows asked for are in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vsalign.thumb import SIGNATURE_BYTES

Rows = npt.NDArray[np.uint8]


class StoredRows:
    """Rows (N, SIGNATURE_BYTES) of .npy files in order, read by slice or by an array of row numbers.

    Raises ValueError when the files do not hold ``num_rows`` rows.
    """

    def __init__(self, paths: Sequence[Path], num_rows: int) -> None:
        self._paths = tuple(paths)
        counts = [len(np.load(path, mmap_mode="r")) for path in self._paths]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        if self._starts[-1] != num_rows:
            raise ValueError(f"scan blobs hold {self._starts[-1]} frames, the source has {num_rows}")
        self.shape = (num_rows, SIGNATURE_BYTES)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> Rows:
        wanted = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.asarray(rows, np.int64)
        out = np.empty((len(wanted), SIGNATURE_BYTES), np.uint8)
        of_file = np.searchsorted(self._starts, wanted, side="right") - 1
        for k in np.unique(of_file):
            here = of_file == k
            # Opened anew each time, so that what was read need not stay in memory.
            out[here] = np.load(self._paths[k], mmap_mode="r")[wanted[here] - self._starts[k]]
        return out
