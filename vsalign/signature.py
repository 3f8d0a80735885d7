"""Signatures: what sync keeps of a frame, 5,184 bytes that its colour grading hardly changes.

A signature holds the frame's detail, 128x72 pixels of locally normalised luma in 15 steps of 4 bits, which decides between
neighbouring frames, and 32x18 pixels of plain luma, which finds the place in the film whatever the misalignment. It is a pure
function of that one frame: a scan in chunks equals a scan in one. Moving the normalised picture is as good as normalising the
moved one, so that the geometry of the films may be found later.
"""

from __future__ import annotations

from typing import Protocol

import numba
import numpy as np
import numpy.typing as npt

from vsalign.contrast import FLAT_POWER, gaussian_kernel, normalise_one, workspace
from vsalign.thumb import SIGNATURE_BYTES, THUMB_HEIGHT, THUMB_WIDTH

Signatures = npt.NDArray[np.uint8]


class Rows(Protocol):
    """The signatures of a film, (N, SIGNATURE_BYTES), perhaps not in memory: an array, or what is indexed as one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> Signatures: ...


DETAIL_WIDTH, DETAIL_HEIGHT = THUMB_WIDTH // 2, THUMB_HEIGHT // 2
LUMA_WIDTH, LUMA_HEIGHT = DETAIL_WIDTH // 4, DETAIL_HEIGHT // 4
DETAIL_BYTES = DETAIL_WIDTH * DETAIL_HEIGHT // 2
#: Neighbourhood of the normalisation in detail pixels: finer ones see more noise, coarser ones less of what moves.
DETAIL_SIGMA = 1.8
#: One step of the detail in local deviations, and the outermost one: 7 of them are 2.4 deviations.
STEP, MOST_STEPS = 0.35, 7
#: Halving with box filters would let fine patterns beat with the pixels, differently in each version of a film.
_HALVING = np.array([1.0, 3.0, 3.0, 1.0], np.float32) / 8
_KERNEL = gaussian_kernel(DETAIL_SIGMA)


def sign(thumbs: npt.NDArray[np.uint8]) -> Signatures:
    """Signatures (B, SIGNATURE_BYTES) of luma thumbs (B, THUMB_HEIGHT, THUMB_WIDTH), full range.

    Raises ValueError for thumbs of another size.
    """
    if thumbs.ndim != 3 or thumbs.shape[1:] != (THUMB_HEIGHT, THUMB_WIDTH):
        raise ValueError(f"thumbs are {thumbs.shape}; accepted is (frames, {THUMB_HEIGHT}, {THUMB_WIDTH})")
    out = np.empty((len(thumbs), SIGNATURE_BYTES), np.uint8)
    work = workspace(DETAIL_HEIGHT, DETAIL_WIDTH, _KERNEL)
    _sign(thumbs, _HALVING, _KERNEL, FLAT_POWER, np.float32(1 / STEP), work, out)
    return out


def detail(signatures: Signatures) -> npt.NDArray[np.int8]:
    """Steps (B, DETAIL_HEIGHT, DETAIL_WIDTH) from -MOST_STEPS to MOST_STEPS; 0 where nothing stands out."""
    out = np.empty((len(signatures), DETAIL_HEIGHT * DETAIL_WIDTH), np.int8)
    _unpack(np.ascontiguousarray(signatures), out)
    return out.reshape(len(signatures), DETAIL_HEIGHT, DETAIL_WIDTH)


def luma(signatures: Signatures) -> npt.NDArray[np.uint8]:
    """Plain luma (B, LUMA_HEIGHT, LUMA_WIDTH)."""
    return signatures[:, DETAIL_BYTES:].reshape(len(signatures), LUMA_HEIGHT, LUMA_WIDTH)


@numba.njit(cache=True, nogil=True)
def _sign(thumbs, taps, kernel, flat, per_step, work, out):  # type: ignore[no-untyped-def]
    """Frame by frame, so that what is worked in stays in the cache."""
    small = np.empty((DETAIL_HEIGHT, DETAIL_WIDTH), np.float32)
    local = np.empty_like(small)
    for b in range(len(thumbs)):
        _halve(thumbs[b], taps, small)
        normalise_one(small, kernel, flat, work, local)
        _pack(local.reshape(-1), per_step, out[b, :DETAIL_BYTES])
        _average(small, out[b, DETAIL_BYTES:])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _halve(picture, taps, out):  # type: ignore[no-untyped-def]
    """Both axes to half their size, edges repeated."""
    height, width = picture.shape
    row = np.empty(width, np.float32)
    for y in range(height // 2):
        before, after = picture[max(2 * y - 1, 0)], picture[min(2 * y + 2, height - 1)]
        one, other = picture[2 * y], picture[2 * y + 1]
        for x in range(width):
            outer = np.float32(before[x]) + np.float32(after[x])
            row[x] = taps[0] * outer + taps[1] * (np.float32(one[x]) + np.float32(other[x]))
        for x in range(width // 2):
            left, right = row[max(2 * x - 1, 0)], row[min(2 * x + 2, width - 1)]
            out[y, x] = taps[0] * (left + right) + taps[1] * (row[2 * x] + row[2 * x + 1])


@numba.njit(cache=True, nogil=True)
def _pack(local, per_step, out):  # type: ignore[no-untyped-def]
    """Two pixels a byte, the left one in the low half, each as its steps + 8."""
    for p in range(len(out)):
        low = min(max(np.rint(local[2 * p] * per_step), -MOST_STEPS), MOST_STEPS)
        high = min(max(np.rint(local[2 * p + 1] * per_step), -MOST_STEPS), MOST_STEPS)
        out[p] = np.uint8((int(low) + 8) | (int(high) + 8) << 4)


@numba.njit(cache=True, nogil=True)
def _average(small, out):  # type: ignore[no-untyped-def]
    """Means of 4x4 pixels, rounded."""
    for p in range(len(out)):
        y, x = 4 * (p // LUMA_WIDTH), 4 * (p % LUMA_WIDTH)
        total = np.float32(0.0)
        for dy in range(4):
            for dx in range(4):
                total += small[y + dy, x + dx]
        out[p] = np.uint8(np.rint(total * np.float32(1 / 16)))


@numba.njit(cache=True, nogil=True)
def _unpack(signatures, out):  # type: ignore[no-untyped-def]
    for b in range(len(out)):
        for p in range(out.shape[1] // 2):
            packed = signatures[b, p]
            out[b, 2 * p] = np.int8((packed & 15) - 8)
            out[b, 2 * p + 1] = np.int8((packed >> 4) - 8)
