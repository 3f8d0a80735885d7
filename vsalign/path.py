"""The exact path: for every ref frame one clip frame within a band, by dynamic programming over the whole film (Viterbi)."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from vsalign.band import Band
from vsalign.signature import Floats

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Cost of one frame held or skipped against the expected pace: the unit of all costs of the path.
UNEVEN_STEP = 1.0
#: A step to anywhere in the band.
JUMP = 12.0
#: A ref frame that lies before the clip's first or after its last frame; less than UNEVEN_STEP, so that running straight out
#: of the clip is cheaper than waiting at its end.
OUTSIDE = 0.6
#: Clip frames the path may advance in one step beyond the expected pace, other than by a jump.
REACH = 4
#: What a dissimilarity as large as the usual remainder counts: half the number of independent pixels in a thumb's noise.
EVIDENCE = 6.0
#: Evidence is believed by half where a band's frames differ from the best one by this many usual remainders.
HALF_BELIEVED = 0.1
#: Where this many times more is left over than usual in the film (or than GOOD_REMAINDER, if that is more), evidence counts
#: less by the power MISFIT of it.
GOOD_REMAINDER, MISFIT = 0.05, 3.0
#: A row's worst cost, so that one bad frame can't force a detour.
WORST = 20.0
#: 1 - correlation below which all matches are alike: rounding of the thumbs.
ROUNDING = 1e-3
#: Rows each side from which the usual remainder is taken.
USUAL_RADIUS = 16


@dataclass(frozen=True, eq=False)
class ExactPath:
    """clip_frame (N,) int64, beyond [0, num_clip) where the path runs out of the clip; margin (N, K) float32, by how much the
    best path through each state of the band is worse than the best of all."""

    clip_frame: Ints
    margin: Floats


def solve_band(band: Band, num_clip: int, step: Doubles, restart: npt.NDArray[np.bool_]) -> ExactPath:
    """Best path through ``band``; step (N,) expected clip frames since the row before, restart (N,) where any may follow."""
    path = least_path(row_costs(band, num_clip), band.first, step, restart)
    last = band.first + band.unlike.shape[1] - 1
    return ExactPath(without_lone_detours(path.clip_frame, band.first, last, step), path.margin)


def without_lone_detours(clip_frame: Ints, first: Ints, last: Ints, step: Doubles) -> Ints:
    """Single rows that skip a clip frame only to wait for it, or wait only to skip, take the frame in the middle.

    Between a and a + 2 lies only a + 1: either it shows the row's moment, or it repeats a neighbour and shows the same. first,
    last (N,) bound the band; rows whose pace is not one to one are left alone, for there a detour may be the pattern.
    """
    out = clip_frame.copy()
    middle = clip_frame[:-2] + 1
    here = clip_frame[1:-1]
    lone = (clip_frame[2:] == clip_frame[:-2] + 2) & (here != middle)
    even = (np.abs(step[1:-1] - 1.0) < 0.02) & (np.abs(step[2:] - 1.0) < 0.02)
    within = (middle >= first[1:-1]) & (middle <= last[1:-1])
    np.copyto(out[1:-1], middle, where=lone & even & within)
    return out


def least_path(cost: Floats, first: Ints, step: Doubles, restart: npt.NDArray[np.bool_]) -> ExactPath:
    """Least-cost path; cost (N,K) of clip frames first[i] + 0..K-1, in units of UNEVEN_STEP."""
    tolls = step_tolls(step, int(np.ceil(step.max(initial=1.0))) + REACH)
    forward, backward = np.empty(cost.shape, np.float32), np.empty(cost.shape, np.float32)
    choice = np.empty(cost.shape, np.int16)
    _forward(cost, first, tolls, restart, forward, choice)
    _backward(cost, first, tolls, restart, backward)
    path = _trace(forward, choice)
    total = forward + backward
    margin = total - total[np.arange(len(path)), path][:, None]
    return ExactPath(first + path, np.maximum(margin, 0.0))


def row_costs(band: Band, num_clip: int) -> Floats:
    """(N,K) costs: how much more than its best candidate each clip frame leaves over, against what is usual around the row.

    A log likelihood ratio, with three doubts. What is usual is a running median, or what the row's best candidate leaves if
    that is more: then the row has no counterpart and says little. Where nothing in the band looks much different (slow pans,
    still scenes), what is left over is not noise but lasting error of geometry and codec: many rows then repeat one false
    witness. And where much more is left over than elsewhere in the film, it is misfit.
    """
    frames = band.first[:, None] + np.arange(band.unlike.shape[1])
    inside = (frames >= 0) & (frames < num_clip)
    best = np.where(inside, band.unlike, np.inf).min(1)
    best = np.where(np.isfinite(best), best, 1.0).astype(np.float32)
    # At least what the row itself leaves over: a frame that has no counterpart says little about its neighbours.
    usual = np.maximum(running_median(best), best) + np.float32(ROUNDING)
    typical = _median_inside(band.unlike, inside)
    contrast = running_median((typical - best) / usual)
    believed = contrast / (contrast + np.float32(HALF_BELIEVED) + np.float32(1e-6))
    # Where much more is left over than elsewhere in the film, it is misfit (fades, flashes), not noise, and says little.
    misfit = np.maximum(usual / max(float(np.median(usual)), GOOD_REMAINDER), 1.0) ** MISFIT
    cost = EVIDENCE * (believed / (usual * misfit))[:, None] * (band.unlike - best[:, None])
    return np.where(inside, np.minimum(cost, WORST), OUTSIDE).astype(np.float32)


def _median_inside(values: Floats, inside: npt.NDArray[np.bool_]) -> Floats:
    """Median of each row's inside values (N,); 1 for rows that have none."""
    ordered = np.sort(np.where(inside, values, np.inf), axis=1)
    middle = np.maximum(inside.sum(1) - 1, 0) // 2
    median = ordered[np.arange(len(values)), middle]
    return np.asarray(np.where(np.isfinite(median), median, 1.0), np.float32)


def step_tolls(step: Doubles, reach: int) -> Floats:
    """(N, reach + 1) cost of advancing 0..reach clip frames where ``step`` are expected.

    The two whole steps around the expected one are nearly free: the rarer of the two costs a little by how rare it is, which
    follows telecine patterns without preferring any phase.
    """
    low = np.floor(step + 0.02)
    share = np.where(step - low > 0.02, step - low, 0.0)[:, None]
    advance = np.arange(reach + 1)[None, :]
    beyond = np.maximum(low[:, None] - advance, advance - np.where(share > 0, low[:, None] + 1, low[:, None]))
    rare = np.where(advance == low[:, None], 1.0 - share, share)
    free = -0.15 * np.log(np.maximum(rare, 1e-3))
    return np.where(beyond > 0, UNEVEN_STEP * beyond, free).astype(np.float32)


def running_median(values: Floats) -> Floats:
    """Median of each value and its neighbours within USUAL_RADIUS, the ends repeated; (N,) -> (N,)."""
    padded = np.pad(values, USUAL_RADIUS, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * USUAL_RADIUS + 1)
    return np.asarray(np.median(windows, axis=1), np.float32)


@numba.njit(cache=True, nogil=True)
def _forward(cost, first, tolls, restart, forward, choice):  # type: ignore[no-untyped-def]
    rows, width = cost.shape
    for k in range(width):
        forward[0, k] = cost[0, k]
        choice[0, k] = k
    for i in range(1, rows):
        at = 0
        for k in range(width):
            if forward[i - 1, k] < forward[i - 1, at]:
                at = k
        jump = forward[i - 1, at] + np.float32(0.0 if restart[i] else JUMP)
        shift = first[i] - first[i - 1]
        for k in range(width):
            best, came = jump, at
            if not restart[i]:
                for d in range(tolls.shape[1]):
                    before = k + shift - d
                    if 0 <= before < width:
                        candidate = forward[i - 1, before] + tolls[i, d]
                        if candidate < best:
                            best, came = candidate, before
            forward[i, k] = best + cost[i, k]
            choice[i, k] = came


@numba.njit(cache=True, nogil=True)
def _backward(cost, first, tolls, restart, backward):  # type: ignore[no-untyped-def]
    rows, width = cost.shape
    for k in range(width):
        backward[rows - 1, k] = 0.0
    for i in range(rows - 2, -1, -1):
        lowest = np.float32(np.inf)
        for k in range(width):
            lowest = min(lowest, backward[i + 1, k] + cost[i + 1, k])
        jump = lowest + np.float32(0.0 if restart[i + 1] else JUMP)
        shift = first[i + 1] - first[i]
        for k in range(width):
            best = jump
            if not restart[i + 1]:
                for d in range(tolls.shape[1]):
                    after = k - shift + d
                    if 0 <= after < width:
                        best = min(best, backward[i + 1, after] + cost[i + 1, after] + tolls[i + 1, d])
            backward[i, k] = best


@numba.njit(cache=True, nogil=True)
def _trace(forward, choice):  # type: ignore[no-untyped-def]
    rows, width = forward.shape
    path = np.empty(rows, np.int64)
    at = 0
    for k in range(width):
        if forward[rows - 1, k] < forward[rows - 1, at]:
            at = k
    for i in range(rows - 1, -1, -1):
        path[i] = at
        at = choice[i, at]
    return path
