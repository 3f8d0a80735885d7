"""The coarse path: which moment of the clip belongs to each moment of the ref, found anywhere in the film.

Both films are looked at on even grids of time, few enough for all pairs of moments to be compared; a path through that matrix
knows offset, rate, cut stretches and stretches that only one film has. Lines between what it found guide the exact path.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from vsalign.contrast import Floats

Doubles = npt.NDArray[np.float64]

#: At most so many moments of ref and clip: 1,500 x 20,000 of a byte each are 30 MB.
MOST_REF, MOST_CLIP = 1500, 20_000
#: Clip seconds per ref second: as tagged, PAL speed-up and its reverse, each also with NTSC's 1000/1001.
RATES = (1.0, 24 / 25, 25 / 24, 24 / 25.025, 25.025 / 24)
#: Dissimilarity (1 - correlation) of a moment that has no counterpart: a path that does worse is no path.
NOWHERE_COST = 0.62
#: Clip moments by which one step may deviate from the expected one.
REACH = 3
#: What each of them costs.
DEVIATION = np.float32(0.03)
#: Another rate than the tagged one has to cost less than this share of it.
CLEARLY_BETTER = 0.95
NOWHERE = -1


@dataclass(frozen=True, eq=False)
class Grid:
    """Moments looked at: frame (A,) int64, even in time, ``step_seconds`` apart."""

    frame: npt.NDArray[np.int64]
    step_seconds: float


@dataclass(frozen=True, eq=False)
class CoarsePath:
    """ref_seconds (A,), clip_seconds (A,), NaN where the ref's moment has no counterpart, at the best ``rate``;
    similarity (A,): correlation of the two moments."""

    ref_seconds: Doubles
    clip_seconds: Doubles
    similarity: Floats
    rate: float


def frame_seconds(seconds: Doubles) -> float:
    """The usual duration of a frame; 1 for a film of one frame."""
    return float(np.median(np.diff(seconds))) if len(seconds) > 1 else 1.0


def grid(seconds: Doubles, most: int) -> Grid:
    """Frames at even steps of time, every frame of a short film, at most ``most`` of a long one."""
    step = frame_seconds(seconds)
    span = float(seconds[-1] - seconds[0])
    count = max(1, min(most, round(span / step) + 1))
    step = max(step, span / max(count - 1, 1)) if count > 1 else step
    times = seconds[0] + step * np.arange(count)
    after = np.clip(np.searchsorted(seconds, times), 0, len(seconds) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.where(np.abs(seconds[before] - times) < np.abs(seconds[after] - times), before, after)
    return Grid(nearer.astype(np.int64), step)


def find_path(
    similarity: npt.NDArray[np.uint8],
    texture: Floats,
    ref: Grid,
    clip: Grid,
    ref_seconds: Doubles,
    clip_seconds: Doubles,
    rate: float | None,
) -> CoarsePath:
    """The best path. similarity (A,B) uint8, 0 = -1 or less .. 255 = correlation 1, of ref and clip moments; texture (A,)
    of the ref's; rate, clip seconds per ref second, is found among RATES when None."""
    weight = (texture / (texture + 0.02)).astype(np.float32)
    frames_per_step = ref.step_seconds / frame_seconds(ref_seconds)
    if rate is None:
        # Which rate it is shows in half of a long film's moments just as well.
        thin = 2 if similarity.shape[0] >= 800 and similarity.shape[1] >= 8000 else 1
        rate = _best_rate(
            similarity[::thin, ::thin], weight[::thin], ref.step_seconds, clip.step_seconds, frames_per_step * thin
        )
    _, path = _path_at(rate, similarity, weight, ref.step_seconds, clip.step_seconds, frames_per_step)
    found = path >= 0
    at = np.where(found, clip_seconds[clip.frame[np.maximum(path, 0)]], np.nan)
    alike = np.where(found, similarity[np.arange(len(path)), np.maximum(path, 0)] / 127.5 - 1.0, 0.0).astype(np.float32)
    return CoarsePath(ref_seconds[ref.frame], at, alike, rate)


def _best_rate(
    similarity: npt.NDArray[np.uint8], weight: Floats, ref_step: float, clip_step: float, frames_per_step: float
) -> float:
    best, best_total = RATES[0], np.inf
    for rate in RATES:
        total, _ = _path_at(rate, np.ascontiguousarray(similarity), weight, ref_step, clip_step, frames_per_step)
        if total < best_total * CLEARLY_BETTER - 1e-6:
            best, best_total = rate, total
    return best


def _path_at(
    rate: float, similarity: npt.NDArray[np.uint8], weight: Floats, ref_step: float, clip_step: float, frames_per_step: float
) -> tuple[float, npt.NDArray[np.int64]]:
    # To leave a line and join another has to pay off over about half a second of film, and over more than one moment.
    jump = np.float32(max(1.2, 5.0 / frames_per_step))
    expected = np.round(np.arange(len(similarity)) * (rate * ref_step / clip_step)).astype(np.int64)
    total, path = _viterbi(similarity, weight, expected, DEVIATION, jump, np.float32(NOWHERE_COST))
    return float(total), path


@numba.njit(cache=True, nogil=True)
def _viterbi(similarity, weight, expected, slope, jump, nowhere):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """Least-cost path; a step within REACH of the expected one costs ``slope`` per moment, any other one ``jump``."""
    rows, columns = similarity.shape
    choice = np.empty((rows, columns), np.int8)
    best_before = np.empty(rows, np.int64)  # Where a jump into this row comes from; columns = from nowhere.
    to_nowhere = np.empty(rows, np.int64)
    cost, following = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for j in range(columns):
        cost[j] = weight[0] * (np.float32(1.0) - (similarity[0, j] / np.float32(127.5) - np.float32(1.0)))
    away = weight[0] * nowhere
    leave, join = np.float32(0.5) * jump, np.float32(0.5) * jump
    for i in range(1, rows):
        lowest, at = cost[0], 0
        for j in range(columns):
            if cost[j] < lowest:
                lowest, at = cost[j], j
        step = expected[i] - expected[i - 1]
        if away + join < lowest + jump:
            enter, best_before[i] = away + join, columns
        else:
            enter, best_before[i] = lowest + jump, at
        for j in range(columns):
            following[j] = enter
            choice[i, j] = 127
        for d in range(-REACH, REACH + 1):
            move = step + d
            if move < 0:
                continue
            toll = slope * abs(d)
            for j in range(move, columns):
                candidate = cost[j - move] + toll
                if candidate < following[j]:
                    following[j] = candidate
                    choice[i, j] = d
        for j in range(columns):
            following[j] += weight[i] * (np.float32(2.0) - similarity[i, j] / np.float32(127.5))
        if lowest + leave < away:
            away, to_nowhere[i] = lowest + leave, at
        else:
            to_nowhere[i] = columns
        away += weight[i] * nowhere
        cost, following = following, cost
    path = np.empty(rows, np.int64)
    at = int(np.argmin(cost))
    total = cost[at]
    if away <= total:
        total, at = away, columns
    for i in range(rows - 1, -1, -1):
        path[i] = at if at < columns else NOWHERE
        if i == 0:
            break
        if at == columns:
            at = to_nowhere[i]
        elif choice[i, at] == 127:
            at = best_before[i]
        else:
            at -= expected[i] - expected[i - 1] + choice[i, at]
    return total, path
