"""Descriptors for finding one's place in a film: small, smooth, forgiving a misalignment of a few per cent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from vsalign.band import threads
from vsalign.contrast import Floats, normalise
from vsalign.geometry import Sampler

#: Neighbourhood of the normalisation in pixels, and how many pixels make one of the descriptor's.
ROUGH_SIGMA, ROUGH_POOL = 2.7, 2
#: Pictures that are described in one go.
_BATCH = 512


def describe(pictures: npt.NDArray[np.uint8] | Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Unit descriptors (B,P) of luma (B,h,w), whose dot product is the correlation in [-1, 1], and their texture (B,).

    weight (h,w) >= 0, what each pixel counts. Texture, in [0, 1], is the share of local contrast that is above the noise; a
    picture without any has a zero descriptor.
    """
    local = normalise(pictures, ROUGH_SIGMA)
    count, height, width = local.shape
    total = float(weight.sum()) + 1e-6
    texture = np.minimum((local**2 * weight).sum((1, 2)) / total, 1.0).astype(np.float32)
    local = (local - ((local * weight).sum((1, 2)) / total)[:, None, None]) * weight
    even = local[:, : height // ROUGH_POOL * ROUGH_POOL, : width // ROUGH_POOL * ROUGH_POOL]
    pooled = even.reshape(count, height // ROUGH_POOL, ROUGH_POOL, width // ROUGH_POOL, ROUGH_POOL).sum((2, 4))
    pooled = pooled.reshape(count, -1)
    norm = np.linalg.norm(pooled, axis=1, keepdims=True)
    enough = norm**2 > 1e-4 * total
    return np.where(enough, pooled / np.maximum(norm, 1e-9), 0.0).astype(np.float32), texture


def describe_film(lumas: npt.NDArray[np.uint8], weight: Floats, lay: Sampler | None = None) -> tuple[Floats, Floats]:
    """:func:`describe` of a film's moments, each laid out by ``lay`` first, on all cores."""

    def part(start: int) -> tuple[Floats, Floats]:
        pictures = lumas[start : start + _BATCH]
        return describe(pictures if lay is None else lay(pictures), weight)

    with ThreadPoolExecutor(threads()) as pool:
        parts = list(pool.map(part, range(0, len(lumas), _BATCH)))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
