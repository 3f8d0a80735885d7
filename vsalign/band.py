"""The cost band: how unlike each ref frame and the clip frames around its expected one are, in blocks of the film."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt

from vsalign.compare import View, unlike
from vsalign.contrast import Floats
from vsalign.signature import Rows

Ints = npt.NDArray[np.int64]

#: Ref frames per block, and how many clip frames more than a band's width a block may span before it is split.
BLOCK, MOST_SPAN = 384, 1100


@dataclass(frozen=True, eq=False)
class Band:
    """Comparisons around a guide.

    first: (N,) int64, the clip frame of column 0, may lie beyond the clip. unlike: (N,K) float32 in [0, 2], 1 - correlation of
    ref frame i and clip frame first[i] + k, 1 where that is beyond the clip. texture: (N,) float32 in [0, 1] of the ref frames.
    """

    first: Ints
    unlike: Floats
    texture: Floats


def cost_band(ref: Rows, clip: Rows, view: View, first: Ints, width: int) -> Band:
    """Compare each ref frame with ``width`` clip frames from ``first`` (N,) on, seen through ``view``."""
    band = Band(first, np.ones((len(ref), width), np.float32), np.zeros(len(ref), np.float32))
    # Fresh memory costs more than what is written to it: each thread's is used again for its next block.
    free: SimpleQueue[_Room] = SimpleQueue()
    for _ in range(threads()):
        free.put(_Room.of(view, width))

    def fill(block: tuple[int, int]) -> None:
        room = free.get()
        try:
            _fill(band, block, ref, clip, view, room)
        finally:
            free.put(room)

    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(fill, _blocks(first, width)))
    return band


@dataclass(frozen=True, eq=False)
class _Room:
    ref: npt.NDArray[np.int8]
    clip: npt.NDArray[np.int8]

    @classmethod
    def of(cls, view: View, width: int) -> _Room:
        rows, most = BLOCK, MOST_SPAN + width
        return cls(np.empty((rows, view.num_pixels), np.int8), np.empty((most, view.num_pixels), np.int8))


def moved_band(band: Band, ref: Rows, clip: Rows, view: View, first: Ints) -> Band:
    """``band`` with the rows compared anew whose ``first`` is another one."""
    rows = np.flatnonzero(first != band.first)
    unlike, width = band.unlike.copy(), band.unlike.shape[1]
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if len(rows) else ():
        span = slice(int(run[0]), int(run[-1]) + 1)
        unlike[span] = cost_band(ref[span], clip, view, first[span], width).unlike
    return Band(first, unlike, band.texture)


def threads() -> int:
    """Threads for blocks of frames: the cores this process may use, of which more than eight only wait for memory."""
    return max(1, min(len(os.sched_getaffinity(0)), 8))


def _blocks(first: Ints, width: int) -> Iterator[tuple[int, int]]:
    """Half-open runs of ref rows whose bands lie close together; cut at multiples of BLOCK and where the band leaps."""
    start = 0
    low = high = int(first[0]) if len(first) else 0
    for i, column in enumerate(first.tolist()):
        lo, hi = min(low, column), max(high, column)
        if i > start and (i - start == BLOCK or hi - lo > MOST_SPAN):
            yield start, i
            start, lo, hi = i, column, column
        low, high = lo, hi
    if len(first):
        yield start, len(first)


def _fill(band: Band, block: tuple[int, int], ref: Rows, clip: Rows, view: View, room: _Room) -> None:
    start, stop = block
    wanted = view.of_ref(np.asarray(ref[start:stop]), room.ref)
    band.texture[start:stop] = wanted.texture
    first = band.first[start:stop]
    lo, hi = max(0, int(first.min())), min(len(clip), int(first.max()) + band.unlike.shape[1])
    if hi > lo:
        unlike(wanted, view.of_clip(np.asarray(clip[lo:hi]), room.clip), first - lo, band.unlike[start:stop])
