"""Sound at another rate: each output sample from the 64 input samples around its exact place (Kaiser-windowed sinc).

J. O. Smith, "Digital Audio Resampling": a table of the filter at fine phases, linear between them.
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

#: Input samples on each side of an output sample's place that count.
HALF = 32
_PHASES = 512
_BETA = 9.0
#: The pass band's end as a share of the lower of both Nyquist frequencies; beyond 1.02 of it less than -90 dB are left.
_CUTOFF = 0.93
_LANES = 8


def sample_at(sound: Samples, first: float, step: float, count: int) -> Samples:
    """(channels, count) float32: ``sound`` (channels, n) float32 at the places first, first + step, ... in samples.

    The places must lie in [HALF - 1, n - HALF - 1]. The order of all sums is fixed.
    """
    out = np.empty((len(sound), count), np.float32)
    _sample(np.ascontiguousarray(sound), first, step, _table(min(1.0, 1.0 / step)), out)
    return out


@lru_cache(maxsize=16)
def _table(scale: float) -> Samples:
    """(phases + 1, taps): the low-pass at ``scale`` of the input's Nyquist frequency; each row sums to one."""
    place = np.arange(1 - HALF, HALF + 1)[None, :] - np.arange(_PHASES + 1)[:, None] / _PHASES
    inside = np.clip(1.0 - (place / HALF) ** 2, 0.0, None)
    taps = np.sinc(place * scale * _CUTOFF) * np.i0(_BETA * np.sqrt(inside)) * (inside > 0)
    return np.asarray(taps / taps.sum(1, keepdims=True), np.float32)


@numba.njit(cache=True, nogil=True)
def _sample(sound, first, step, table, out):  # type: ignore[no-untyped-def]
    taps = np.empty(2 * HALF, np.float32)
    lanes = np.empty(_LANES, np.float32)
    for n in range(out.shape[1]):
        place = first + n * step
        base = int(np.floor(place))
        phase = (place - base) * _PHASES
        row = int(phase)
        part = np.float32(phase - row)
        for k in range(2 * HALF):
            taps[k] = table[row, k] + part * (table[row + 1, k] - table[row, k])
        start = base + 1 - HALF
        for c in range(out.shape[0]):
            lanes[:] = 0.0
            # Lanes of their own: fast without letting the compiler reorder sums.
            for k in range(0, 2 * HALF, _LANES):
                for j in range(_LANES):
                    lanes[j] += taps[k + j] * sound[c, start + k + j]
            out[c, n] = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
