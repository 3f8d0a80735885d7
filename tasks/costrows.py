"""The costs of a part of a film on disk, and those of the whole film as one mapping in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vsalign.metric import Doubles
from vsalign.metricband import Row

Ints = npt.NDArray[np.int64]


def save_rows(path: Path, rows: Iterable[tuple[int, Row]]) -> None:
    """Write (ref frame, row) pairs, ref frames ascending, to ``path`` as .npz: ref_frame and count (R,), and for all rows one
    after the other clip_frame and cost (T,)."""
    numbers: list[int] = []
    frames: list[Ints] = []
    costs: list[Doubles] = []
    for number, (clip_frames, values) in rows:
        numbers.append(number)
        frames.append(np.asarray(clip_frames, np.int64))
        costs.append(np.asarray(values, np.float64))
    np.savez_compressed(
        path,
        ref_frame=np.array(numbers, np.int64),
        count=np.array([len(values) for values in costs], np.int64),
        clip_frame=np.concatenate([np.zeros(0, np.int64), *frames]),
        cost=np.concatenate([np.zeros(0), *costs]),
    )


class StoredRows(Mapping[int, Row]):
    """Rows of :func:`save_rows` files by ref frame, views of four arrays. Raises ValueError when a ref frame comes twice."""

    def __init__(self, paths: Sequence[Path]) -> None:
        parts = [_read(path) for path in paths]
        numbers, counts, self._frames, self._costs = (np.concatenate(column) for column in zip(*parts, strict=True))
        self._stops = np.cumsum(counts)
        self._starts = self._stops - counts
        self._place = {number: at for at, number in enumerate(numbers.tolist())}
        if len(self._place) != len(numbers):
            raise ValueError(f"{len(numbers)} rows of {len(self._place)} ref frames; expected one each")

    def __getitem__(self, ref_frame: int) -> Row:
        at = self._place[ref_frame]
        here = slice(self._starts[at], self._stops[at])
        return self._frames[here].tolist(), self._costs[here]

    def __iter__(self) -> Iterator[int]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


def _read(path: Path) -> tuple[Ints, Ints, Ints, Doubles]:
    with np.load(path) as stored:
        return stored["ref_frame"], stored["count"], stored["clip_frame"], stored["cost"]
