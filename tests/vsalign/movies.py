"""Synthetic films for sync: drifting patterns with cuts as thumbs, edited and spoilt in ways whose answer is known."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from vsalign.signature import Signatures, sign
from vsalign.sync import SyncResult, solve
from vsalign.thumb import THUMB_HEIGHT, THUMB_WIDTH

Thumbs = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Sinusoids of a shot, the most radians per pixel of each, and the most radians per frame.
_WAVES, _FINEST, _FASTEST = 12, 0.22, 0.5


@cache
def film(
    count: int, seed: int = 0, shot: int = 60, scale: tuple[float, float] = (1.0, 1.0), shift: tuple[float, float] = (0.0, 0.0)
) -> Thumbs:
    """Thumbs (count, THUMB_HEIGHT, THUMB_WIDTH), a new shot every ``shot`` frames. At normalised (x, y), [-1, 1] edge to edge,
    the film shows what lies at scale * (x, y) + shift of the unmoved one."""
    x, y = ((2 * np.arange(size) + 1) / size - 1 for size in (THUMB_WIDTH, THUMB_HEIGHT))
    x, y = (x * scale[0] + shift[0]) * THUMB_WIDTH / 2, (y * scale[1] + shift[1]) * THUMB_HEIGHT / 2
    frames = np.empty((count, THUMB_HEIGHT, THUMB_WIDTH), np.uint8)
    for n in range(count):
        rng = np.random.default_rng([seed, n // shot])
        fx, fy = rng.uniform(-_FINEST, _FINEST, (2, _WAVES))
        phase = rng.uniform(0, 7, _WAVES) + rng.uniform(-_FASTEST, _FASTEST, _WAVES) * n
        across, down = np.outer(fx, x), np.outer(fy, y) + phase[:, None]
        # sin(a + b) by its parts, so that a frame is one small matrix product.
        frames[n] = np.clip(128 + 20 * (np.cos(down).T @ np.sin(across) + np.sin(down).T @ np.cos(across)), 0, 255)
    frames.flags.writeable = False
    return frames


def graded(thumbs: Thumbs, gain: float = 0.8, black: float = 12.0, gamma: float = 1.3) -> Thumbs:
    return np.clip(black + gain * 255 * (thumbs / 255.0) ** gamma, 0, 255).astype(np.uint8)


def noisy(thumbs: Thumbs, noise: float = 4.0, seed: int = 7) -> Thumbs:
    grain = np.random.default_rng(seed).standard_normal(thumbs.shape, np.float32)
    return np.clip(thumbs + noise * grain, 0, 255).astype(np.uint8)


def worn(thumbs: Thumbs, noise: float = 4.0) -> Thumbs:
    """Another look and grain, as another print of the film has."""
    return noisy(graded(thumbs), noise)


def seconds(count: int, rate: float = 24.0) -> Doubles:
    return np.arange(count) / rate


@cache
def _signed(count: int, seed: int, shot: int) -> Signatures:
    return sign(film(count, seed, shot))


def signed(count: int, seed: int = 0, shot: int = 60) -> Signatures:
    return _signed(count, seed, shot)


def solved(clip: Signatures, ref: Signatures, clip_rate: float = 24.0, ref_rate: float = 24.0, radius: int = 8) -> SyncResult:
    return solve(clip, ref, seconds(len(clip), clip_rate), seconds(len(ref), ref_rate), radius)


def frames(result: SyncResult) -> list[int]:
    return result.frame_map.clip_frame.tolist()
