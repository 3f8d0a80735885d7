"""How unlike frames are, by the detail of their signatures, the clip seen through the films' geometry.

All in whole numbers: what two frames differ by does not depend on the order of sums, so neither on blocks, threads or machines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from vsalign.contrast import Floats
from vsalign.geometry import Geometry, edge_weight, sampler
from vsalign.signature import DETAIL_BYTES, DETAIL_HEIGHT, DETAIL_WIDTH, STEP, Signatures

Ints = npt.NDArray[np.int64]
#: A seen pixel counts so many units per step of the signature's detail: 7 steps fit into 8 bits.
UNITS = 16


@dataclass(frozen=True, eq=False)
class Seen:
    """Frames ready to be compared. pixels: (B,P) int8 of the pixels that count; scale: (B,) float32, 1 / length of each row, 0
    for a row without any detail; texture: (B,) float32 in [0, 1], the share of contrast that is above the noise."""

    pixels: npt.NDArray[np.int8]
    scale: Floats
    texture: Floats


@dataclass(frozen=True, eq=False)
class View:
    """A geometry laid out for the detail of signatures, for the P pixels of the ref that the clip shows, too.

    own: (P,) uint32, their places in the ref's detail; place: (P,) uint32, the upper left one of the four clip pixels that each
    is mixed of; share: (4,P) float32, in whole 4096ths, so that all sums of products are exact.
    """

    own: npt.NDArray[np.uint32]
    place: npt.NDArray[np.uint32]
    share: Floats

    @classmethod
    def of(cls, geometry: Geometry) -> View:
        lay = sampler(geometry, DETAIL_HEIGHT, DETAIL_WIDTH)
        own = np.flatnonzero((edge_weight(DETAIL_HEIGHT, DETAIL_WIDTH) * lay.inside).ravel() > 0)
        share = np.rint(lay.share[own].T * 4096) / 4096
        return cls(own.astype(np.uint32), lay.index[own, 0].astype(np.uint32), np.ascontiguousarray(share, np.float32))

    @property
    def num_pixels(self) -> int:
        return len(self.own)

    def of_ref(self, signatures: Signatures, out: npt.NDArray[np.int8] | None = None) -> Seen:
        """Frames of the ref as they are; ``out`` (at least B, P) is used for the pixels if given."""
        pixels = self._room(len(signatures), out)
        _look(np.ascontiguousarray(signatures), self.own, np.int8(UNITS), pixels)
        return self._seen(pixels)

    def of_clip(self, signatures: Signatures, out: npt.NDArray[np.int8] | None = None) -> Seen:
        """Frames of the clip as the ref would show them; ``out`` as for :meth:`of_ref`."""
        pixels = self._room(len(signatures), out)
        _look_through(np.ascontiguousarray(signatures), self.place, self.share, np.float32(UNITS), pixels)
        return self._seen(pixels)

    def _room(self, count: int, out: npt.NDArray[np.int8] | None) -> npt.NDArray[np.int8]:
        return np.empty((count, self.num_pixels), np.int8) if out is None else out[:count]

    def _seen(self, pixels: npt.NDArray[np.int8]) -> Seen:
        power = np.empty(len(pixels), np.int64)
        _power(pixels, power)
        total = max(self.num_pixels, 1)
        # A handful of pixels at the first step is what dust on a black frame gives.
        enough = power > 1e-3 * total * UNITS**2
        scale = np.where(enough, 1.0 / np.sqrt(np.maximum(power, 1)), 0.0).astype(np.float32)
        return Seen(pixels, scale, np.minimum(power * ((STEP / UNITS) ** 2 / total), 1.0).astype(np.float32))


def unlike(ref: Seen, clip: Seen, first: Ints, out: Floats) -> None:
    """out[i, k] = 1 - correlation of ref frame i and clip frame first[i] + k, in [0, 2]; 1 where the clip has no such frame."""
    _unlike(ref.pixels, ref.scale, clip.pixels, clip.scale, first, out)


@numba.njit(cache=True, nogil=True)
def _look(signatures, own, units, out):  # type: ignore[no-untyped-def]
    steps = np.empty(2 * DETAIL_BYTES, np.int8)
    for b in range(len(out)):
        for p in range(DETAIL_BYTES):
            packed = signatures[b, p]
            steps[2 * p] = (np.int8(packed & 15) - np.int8(8)) * units
            steps[2 * p + 1] = (np.int8(packed >> 4) - np.int8(8)) * units
        row = out[b]
        for p in range(len(own)):
            row[p] = steps[own[p]]


@numba.njit(cache=True, nogil=True)
def _look_through(signatures, place, share, units, out):  # type: ignore[no-untyped-def]
    """Bilinear. Places at the right and lower edge have no share in what lies beyond."""
    below = np.uint32(DETAIL_WIDTH)
    steps = np.zeros(2 * DETAIL_BYTES + DETAIL_WIDTH + 1, np.float32)
    one, two, three, four = share[0], share[1], share[2], share[3]
    for b in range(len(out)):
        for p in range(DETAIL_BYTES):
            packed = signatures[b, p]
            steps[2 * p] = np.float32(np.int32(packed & 15) - 8) * units
            steps[2 * p + 1] = np.float32(np.int32(packed >> 4) - 8) * units
        row = out[b]
        for p in range(len(place)):
            at = place[p]
            mixed = one[p] * steps[at] + two[p] * steps[at + np.uint32(1)]
            mixed += three[p] * steps[at + below] + four[p] * steps[at + below + np.uint32(1)]
            # Rounded down after adding a half, by way of what is positive.
            row[p] = np.int8(np.int32(mixed + np.float32(128.5)) - 128)


@numba.njit(cache=True, nogil=True)
def _power(pixels, out):  # type: ignore[no-untyped-def]
    for b in range(len(pixels)):
        out[b] = _dot(pixels[b], pixels[b])


@numba.njit(cache=True, nogil=True)
def _dot(one, other):  # type: ignore[no-untyped-def]
    total = np.int32(0)
    for p in range(len(one)):
        total += np.int32(one[p]) * np.int32(other[p])
    return total


@numba.njit(cache=True, nogil=True)
def _four_dots(one, a, b, c, d):  # type: ignore[no-untyped-def]
    """Four products of one read."""
    w, x, y, z = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
    for p in range(len(one)):
        value = np.int32(one[p])
        w += value * np.int32(a[p])
        x += value * np.int32(b[p])
        y += value * np.int32(c[p])
        z += value * np.int32(d[p])
    return w, x, y, z


@numba.njit(cache=True, nogil=True)
def _unlike(ref, ref_scale, clip, clip_scale, first, out):  # type: ignore[no-untyped-def]
    width = out.shape[1]
    dots = np.empty(width, np.int32)
    for i in range(out.shape[0]):
        out[i] = np.float32(1.0)
        low, high = max(0, -first[i]), min(width, len(clip) - first[i])
        k = low
        while k + 4 <= high:
            j = first[i] + k
            dots[k], dots[k + 1], dots[k + 2], dots[k + 3] = _four_dots(ref[i], clip[j], clip[j + 1], clip[j + 2], clip[j + 3])
            k += 4
        while k < high:
            dots[k] = _dot(ref[i], clip[first[i] + k])
            k += 1
        for k in range(low, high):
            alike = np.float32(dots[k]) * ref_scale[i] * clip_scale[first[i] + k]
            out[i, k] = min(max(np.float32(1.0) - alike, np.float32(0.0)), np.float32(2.0))
