"""Finding the geometry of a film pair: choose telling frame pairs, guess shift and scale, refine on all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from vsalign.contrast import Floats, normalise
from vsalign.geometry import Doubles, Geometry, edge_weight, refine, sampler
from vsalign.signature import STEP, Rows, Signatures, detail, luma

Ints = npt.NDArray[np.int64]

#: Polynomials of the geometry used for matching; the reported affine is the plane within it.
ORDER = 10
#: Neighbourhood of the first guess, in pixels of luma.
GUESS_SIGMA = 1.6
MOST_PAIRS = 64
#: Frames from a matched frame to the clip frames that tell how it moves.
TIME_STEP = 2
#: (polynomials, how many detail pixels are taken as one, rounds), from far to near.
_STAGES = ((1, 2, 3), (1, 2, 3), (1, 2, 3), (6, 2, 3), (ORDER, 1, 3), (ORDER, 1, 3))


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


def estimate_geometry(
    ref: Rows, clip: Rows, telling: Telling, radius: int, framing: Geometry, first: Geometry | None = None
) -> Geometry:
    """The geometry under which the telling frames match best within ``radius`` clip frames, looked for around ``framing``, an
    affine one; ``first`` skips the guess."""
    if len(telling.ref_frame) == 0:
        return framing
    offsets = np.arange(-radius - TIME_STEP, radius + TIME_STEP + 1)
    frames = np.clip(telling.clip_frame[:, None] + offsets, 0, len(clip) - 1)
    wanted = np.asarray(ref[telling.ref_frame])
    candidates = np.stack([np.asarray(clip[row[0] : row[-1] + 1])[row - row[0]] for row in frames])
    geometry = first if first is not None else guess(wanted, candidates, framing)
    local_pool = 0
    for order, pool, rounds in _STAGES:
        geometry = geometry.widened(order) if order > geometry.order else geometry
        if pool != local_pool:
            target, local, local_pool = _local(wanted, pool), [_local(frames, pool) for frames in candidates], pool
        weight = edge_weight(*target.shape[1:])
        triples, alike = match_telling(target, local, geometry, weight)
        trust = np.clip(alike - 0.3, 0.0, None) * (alike > np.median(alike) - 0.2)
        if trust.sum() <= 0:
            return geometry
        geometry = refine(geometry, target, triples, weight, trust / trust.mean(), rounds)
    return geometry


def match_telling(target: Floats, candidates: Sequence[Floats], geometry: Geometry, weight: Floats) -> tuple[Floats, Floats]:
    """For each of K ref pictures (K,h,w) the best of its K times J candidates (J,h,w) between two neighbours (K,3,h,w), and
    their correlation (K,)."""
    lay = sampler(geometry, *target.shape[1:])
    weight = weight * lay.inside
    triples = np.empty((len(target), 3, *target.shape[1:]), np.float32)
    alike = np.zeros(len(target), np.float32)
    for k, local in enumerate(candidates):
        scores = _unit(lay(local[TIME_STEP:-TIME_STEP]) * weight) @ _unit(target[k : k + 1] * weight)[0]
        best = TIME_STEP + int(np.argmax(scores))
        triples[k] = local[[best - TIME_STEP, best, best + TIME_STEP]]
        alike[k] = scores.max()
    return triples, alike


def _local(signatures: Signatures, pool: int) -> Floats:
    """The signatures' normalised pictures (B,h,w), means of pool x pool pixels."""
    steps = detail(signatures).astype(np.float32) * np.float32(STEP)
    count, height, width = steps.shape
    return steps if pool == 1 else steps.reshape(count, height // pool, pool, width // pool, pool).mean((2, 4))


def _unit(pictures: Floats) -> Floats:
    rows = pictures.reshape(len(pictures), -1)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-3), np.float32)


def guess(wanted: Signatures, candidates: Signatures, framing: Geometry) -> Geometry:
    """The best shift and scale around ``framing`` by trying, on plain luma: up to 14 % of the width and 9 % of the scale."""
    k = np.linspace(0, len(wanted) - 1, min(len(wanted), 24)).astype(int)
    small = normalise(luma(wanted[k]), GUESS_SIGMA)
    height, width = small.shape[1:]
    there = luma(candidates[k][:, TIME_STEP:-TIME_STEP:2].reshape(-1, candidates.shape[-1]))
    # The outermost tenth is left out: every trial looks at the same clip pixels, whatever lies outside of the ref.
    framed = sampler(framing, height, width)
    inner = np.zeros((height, width), np.float32)
    inner[height // 10 : height - height // 10, width // 10 : width - width // 10] = 1.0
    inner *= framed.inside
    described = _unit(normalise(framed(there), GUESS_SIGMA) * inner).reshape(len(k), -1, height * width)
    best_score, best = -np.inf, framing
    for trial, inverse in _trials():
        # Looking for ref in the clip with the trial's map is looking for the clip in a ref moved by its inverse.
        moved = _unit(sampler(inverse, height, width)(small) * inner)[..., None]
        score = float((described @ moved)[..., 0].max(1).mean())
        if score > best_score + 1e-4:
            best_score, best = score, framing.after(trial)
    return best


@cache
def _trials() -> tuple[tuple[Geometry, Geometry], ...]:
    """Shifts and scales to try, each with its inverse, the near ones first."""
    scales = (1.0, 0.97, 1.03, 0.94, 1.06, 0.91, 1.09)
    xs, ys = np.arange(-5, 6) * 0.028, np.arange(-4, 5) * 0.04
    near_first = sorted(((x, y) for x in xs for y in ys), key=lambda s: s[0] ** 2 + s[1] ** 2)
    trials = [Geometry.of_affine(np.array([[s, 0.0, x], [0.0, s, y]])) for s in scales for x, y in near_first]
    return tuple((trial, _inverse(trial)) for trial in trials)


def _inverse(geometry: Geometry) -> Geometry:
    full: Doubles = np.vstack([geometry.affine(), [0.0, 0.0, 1.0]])
    return Geometry.of_affine(np.linalg.inv(full)[:2])
