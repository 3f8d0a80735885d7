"""Finding the geometry of a film pair: choose telling frame pairs, guess shift and scale, refine on all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vsalign.geometry import Doubles, Geometry, edge_weight, refine, sampler
from vsalign.signature import Floats, describe, normalise

Thumbs = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

FINE_SIGMA = 1.8
#: Neighbourhood and pooling of the descriptors that forgive misalignment.
ROUGH_SIGMA, ROUGH_POOL = 6.0, 4
#: Polynomials of the geometry used for matching; the reported affine is the plane within it.
ORDER = 6
#: Neighbourhood of the first guess, in pixels of half-size thumbs.
GUESS_SIGMA = 1.8
MOST_PAIRS = 64
#: Frames from a matched frame to the clip frames that tell how it moves.
TIME_STEP = 2


@dataclass(frozen=True, eq=False)
class Telling:
    """Ref frames (K,) that say something about geometry, and the clip frame (K,) near which each one's match lies."""

    ref_frame: Ints
    clip_frame: Ints


def choose_telling(ref_frame: Ints, clip_frame: Ints, value: Floats, count: int = MOST_PAIRS) -> Telling:
    """Of the rough matches (A,) the ``count`` best, spread evenly over the film; value (A,), 0 = of no use."""
    bins = np.array_split(np.arange(len(ref_frame)), min(count, max(len(ref_frame), 1)))
    best = [int(part[np.argmax(value[part])]) for part in bins if len(part) and value[part].max() > 0]
    best = [k for k in best if value[k] > 0.1 * np.max(value[best])]
    return Telling(ref_frame[best], clip_frame[best])


def estimate_geometry(ref: Thumbs, clip: Thumbs, telling: Telling, radius: int, first: Geometry | None = None) -> Geometry:
    """The geometry under which the telling frames match best within ``radius`` clip frames; ``first`` skips the guess."""
    if len(telling.ref_frame) == 0:
        return Geometry.identity()
    height, width = ref.shape[1:]
    offsets = np.arange(-radius - TIME_STEP, radius + TIME_STEP + 1)
    frames = np.clip(telling.clip_frame[:, None] + offsets, 0, len(clip) - 1)
    wanted = np.asarray(ref[telling.ref_frame])
    candidates = np.stack([np.asarray(clip[row[0] : row[-1] + 1])[row - row[0]] for row in frames])
    geometry = first if first is not None else guess(wanted, candidates)
    weight = edge_weight(height, width)
    for order, rounds in ((1, 3), (1, 3), (1, 3), (ORDER, 3), (ORDER, 4)):
        geometry = geometry.widened(order) if order > geometry.order else geometry
        best, alike = match_telling(wanted, candidates, geometry, weight)
        trust = np.clip(alike - 0.3, 0.0, None) * (alike > np.median(alike) - 0.2)
        if trust.sum() <= 0:
            return geometry
        k = np.arange(len(best))
        triples = np.stack([candidates[k, best + d] for d in (-TIME_STEP, 0, TIME_STEP)], 1)
        geometry = refine(geometry, wanted, triples, weight, trust / trust.mean(), FINE_SIGMA, rounds)
    return geometry


def match_telling(wanted: Thumbs, candidates: Thumbs, geometry: Geometry, weight: Floats) -> tuple[Ints, Floats]:
    """For each of K ref thumbs (K,h,w) the best of its candidates (K,J,h,w) and their correlation (K,)."""
    lay = sampler(geometry, *wanted.shape[1:])
    weight = weight * lay.inside
    target, _ = describe(wanted, FINE_SIGMA, weight)
    best, alike = np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.float32)
    for k, frames in enumerate(candidates):
        described, _ = describe(lay(frames[TIME_STEP:-TIME_STEP]), FINE_SIGMA, weight)
        scores = described @ target[k]
        best[k] = TIME_STEP + int(np.argmax(scores))
        alike[k] = scores.max()
    return best, alike


def guess(wanted: Thumbs, candidates: Thumbs) -> Geometry:
    """The best shift and scale by trying, on thumbs of half the size: up to 14 % of the width and 9 % of the scale."""
    k = np.linspace(0, len(wanted) - 1, min(len(wanted), 24)).astype(int)
    small = _halved(wanted[k])
    there = _halved(candidates[k][:, TIME_STEP:-TIME_STEP:2].reshape(-1, *wanted.shape[1:]))
    height, width = small.shape[1:]
    # The outermost tenth is left out: every trial looks at the same clip pixels, whatever lies outside of the ref.
    inner = np.zeros((height, width), np.float32)
    inner[height // 10 : height - height // 10, width // 10 : width - width // 10] = 1.0
    described = (normalise(there, GUESS_SIGMA) * inner).reshape(len(k), -1, height * width)
    described /= np.maximum(np.linalg.norm(described, axis=2, keepdims=True), 1e-3)
    small = normalise(small, GUESS_SIGMA)
    best_score, best = -np.inf, Geometry.identity()
    for trial in _trials():
        # Looking for ref in the clip with the trial's map is looking for the clip in a ref moved by its inverse.
        moved = (sampler(_inverse(trial), height, width)(small) * inner).reshape(len(k), -1, 1)
        alike = (described @ moved)[..., 0] / np.maximum(np.linalg.norm(moved, axis=1), 1e-3)
        score = float(alike.max(1).mean())
        if score > best_score + 1e-4:
            best_score, best = score, trial
    return best


def _halved(thumbs: Thumbs) -> Floats:
    """Means of 2 x 2 pixels, an odd last row or column left out."""
    height, width = thumbs.shape[1] // 2 * 2, thumbs.shape[2] // 2 * 2
    even = thumbs[:, :height, :width].astype(np.float32)
    return np.ascontiguousarray(even.reshape(len(even), height // 2, 2, width // 2, 2).mean((2, 4)))


def _trials() -> Sequence[Geometry]:
    scales = (1.0, 0.97, 1.03, 0.94, 1.06, 0.91, 1.09)
    xs, ys = np.arange(-5, 6) * 0.028, np.arange(-4, 5) * 0.04
    near_first = sorted(((x, y) for x in xs for y in ys), key=lambda s: s[0] ** 2 + s[1] ** 2)
    return [Geometry.of_affine(np.array([[s, 0.0, x], [0.0, s, y]])) for s in scales for x, y in near_first]


def _inverse(geometry: Geometry) -> Geometry:
    full: Doubles = np.vstack([geometry.affine(), [0.0, 0.0, 1.0]])
    return Geometry.of_affine(np.linalg.inv(full)[:2])
