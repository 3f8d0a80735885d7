"""The cost band: how unlike each ref frame and the clip frames around its expected one are, in blocks of the film."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vsalign.geometry import Sampler
from vsalign.register import FINE_SIGMA
from vsalign.signature import Floats, describe

Thumbs = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

#: Ref frames per block, and how many clip frames a block may span before it is split.
BLOCK, MOST_SPAN = 384, 2000


@dataclass(frozen=True, eq=False)
class Band:
    """Comparisons around a guide.

    first: (N,) int64, the clip frame of column 0, may lie beyond the clip. unlike: (N,K) float32 in [0, 2], 1 - correlation of
    ref frame i and clip frame first[i] + k, 1 where that is beyond the clip. texture: (N,) float32 in [0, 1] of the ref frames.
    """

    first: Ints
    unlike: Floats
    texture: Floats


def cost_band(ref: Thumbs, clip: Thumbs, lay: Sampler, weight: Floats, first: Ints, width: int) -> Band:
    """Compare ref (N,h,w) with clip (M,h,w) laid out by ``lay`` within the band; weight (h,w) per pixel."""
    band = Band(first, np.ones((len(ref), width), np.float32), np.zeros(len(ref), np.float32))

    def fill(block: tuple[int, int]) -> None:
        _fill(band, block, ref, clip, lay, weight)

    # What a row holds does not depend on its block, so neither does the result on the number of threads.
    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(fill, _blocks(first, width)))
    return band


def threads() -> int:
    """Threads for blocks of frames: the machine's cores, of which more than eight only wait for memory."""
    return max(1, min(os.cpu_count() or 1, 8))


def _blocks(first: Ints, width: int) -> Iterator[tuple[int, int]]:
    """Half-open runs of ref rows whose bands lie close together; cut at multiples of BLOCK and where the band leaps."""
    start = 0
    low = high = int(first[0]) if len(first) else 0
    for i, column in enumerate(first.tolist()):
        lo, hi = min(low, column), max(high, column)
        if i > start and (i - start == BLOCK or hi - lo + width > MOST_SPAN):
            yield start, i
            start, lo, hi = i, column, column
        low, high = lo, hi
    if len(first):
        yield start, len(first)


def _fill(band: Band, block: tuple[int, int], ref: Thumbs, clip: Thumbs, lay: Sampler, weight: Floats) -> None:
    start, stop = block
    described, band.texture[start:stop] = describe(np.asarray(ref[start:stop]), FINE_SIGMA, weight)
    frames = band.first[start:stop, None] + np.arange(band.unlike.shape[1])
    lo, hi = max(0, int(frames.min())), min(len(clip), int(frames.max()) + 1)
    if hi <= lo:
        return
    candidates, _ = describe(lay(np.asarray(clip[lo:hi])), FINE_SIGMA, weight)
    unlike = np.clip(1.0 - described @ candidates.T, 0.0, 2.0)
    inside = (frames >= 0) & (frames < len(clip))
    at = np.clip(frames - lo, 0, hi - lo - 1)
    band.unlike[start:stop] = np.where(inside, np.take_along_axis(unlike, at, 1), 1.0)
