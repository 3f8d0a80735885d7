"""How unlike frames are, by the detail of their signatures, the clip seen through the films' geometry.

All in whole numbers: what two frames differ by does not depend on the order of sums, so neither on blocks, threads or machines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from vsalign.contrast import Floats
from vsalign.geometry import Geometry, Sampler, edge_weight, sampler
from vsalign.signature import DETAIL_HEIGHT, DETAIL_WIDTH, STEP, Signatures

Ints = npt.NDArray[np.int64]
#: A seen pixel counts so many units per step of the signature's detail: 7 steps fit into 8 bits.
UNITS = 16


@dataclass(frozen=True, eq=False)
class Seen:
    """Frames ready to be compared. pixels: (B,P) int8, 0 where the films don't overlap; scale: (B,) float32, 1 / length of
    each row, 0 for a row without any detail; texture: (B,) float32 in [0, 1], the share of contrast that is above the noise."""

    pixels: npt.NDArray[np.int8]
    scale: Floats
    texture: Floats


@dataclass(frozen=True, eq=False)
class View:
    """A geometry laid out for the detail of signatures, and which pixels count: (P,) float32, 0 or 1."""

    lay: Sampler
    counts: Floats

    @classmethod
    def of(cls, geometry: Geometry) -> View:
        lay = sampler(geometry, DETAIL_HEIGHT, DETAIL_WIDTH)
        return cls(lay, (edge_weight(DETAIL_HEIGHT, DETAIL_WIDTH) * lay.inside).ravel())

    def of_ref(self, signatures: Signatures) -> Seen:
        """Frames of the ref as they are."""
        pixels = np.empty((len(signatures), len(self.counts)), np.int8)
        _look(np.ascontiguousarray(signatures), self.counts > 0, np.int8(UNITS), pixels)
        return self._seen(pixels)

    def of_clip(self, signatures: Signatures) -> Seen:
        """Frames of the clip as the ref would show them."""
        pixels = np.empty((len(signatures), len(self.counts)), np.int8)
        share = np.rint(self.lay.share * 4096).astype(np.int32)
        _look_through(np.ascontiguousarray(signatures), self.counts > 0, self.lay.index, share, np.int32(UNITS), pixels)
        return self._seen(pixels)

    def _seen(self, pixels: npt.NDArray[np.int8]) -> Seen:
        power = np.empty(len(pixels), np.int64)
        _power(pixels, power)
        total = max(float(self.counts.sum()), 1.0)
        # A handful of pixels at the first step is what dust on a black frame gives.
        enough = power > 1e-3 * total * UNITS**2
        scale = np.where(enough, 1.0 / np.sqrt(np.maximum(power, 1)), 0.0).astype(np.float32)
        return Seen(pixels, scale, np.minimum(power * ((STEP / UNITS) ** 2 / total), 1.0).astype(np.float32))


def unlike(ref: Seen, clip: Seen, first: Ints, out: Floats) -> None:
    """out[i, k] = 1 - correlation of ref frame i and clip frame first[i] + k, in [0, 2]; 1 where the clip has no such frame."""
    _unlike(ref.pixels, ref.scale, clip.pixels, clip.scale, first, out)


@numba.njit(cache=True, nogil=True)
def _look(signatures, counts, units, out):  # type: ignore[no-untyped-def]
    for b in range(len(out)):
        for p in range(out.shape[1] // 2):
            packed = np.int8(signatures[b, p] & 15), np.int8(signatures[b, p] >> 4)
            for half in range(2):
                at = 2 * p + half
                out[b, at] = (packed[half] - np.int8(8)) * units if counts[at] else np.int8(0)


@numba.njit(cache=True, nogil=True)
def _look_through(signatures, counts, index, share, units, out):  # type: ignore[no-untyped-def]
    """Bilinear, shares in 4096ths."""
    steps = np.empty(out.shape[1], np.int32)
    for b in range(len(out)):
        for p in range(out.shape[1] // 2):
            packed = signatures[b, p]
            steps[2 * p] = ((packed & 15) - 8) * units
            steps[2 * p + 1] = ((packed >> 4) - 8) * units
        for p in range(out.shape[1]):
            total = np.int32(0)
            for k in range(4):
                total += share[p, k] * steps[index[p, k]]
            out[b, p] = np.int8((total + 2048) >> 12) if counts[p] else np.int8(0)


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
def _unlike(ref, ref_scale, clip, clip_scale, first, out):  # type: ignore[no-untyped-def]
    for i in range(out.shape[0]):
        for k in range(out.shape[1]):
            j = first[i] + k
            if 0 <= j < len(clip):
                alike = np.float32(_dot(ref[i], clip[j])) * ref_scale[i] * clip_scale[j]
                out[i, k] = min(max(np.float32(1.0) - alike, np.float32(0.0)), np.float32(2.0))
            else:
                out[i, k] = np.float32(1.0)
