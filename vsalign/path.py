"""The exact path: for every ref frame one clip frame within a band or none, by dynamic programming over the whole film.

Viterbi with affine gaps (Gotoh 1982): each row of the band is in a state "shows clip frame j" or "has no counterpart, j was
the last one shown".
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from vsalign.contrast import Floats
from vsalign.rowcost import RowCosts

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Cost of one frame held or skipped against the expected pace: the unit of all costs of the path.
UNEVEN_STEP = 1.0
#: A step to anywhere in the band.
JUMP = 12.0
#: To begin a stretch of ref frames that the clip does not have, and each frame of it.
GAP, GAP_FRAME = np.float32(1.0), np.float32(1.0)
#: In place of GAP: every ref frame has a counterpart.
NO_GAPS = np.float32(np.inf)
#: Clip frames the path may advance in one step beyond the expected pace, other than by a jump.
REACH = 4
#: Clip frames by which rounded time stamps may make a step longer or shorter than it is.
TIME_NOISE = 0.1
#: A step over more clip frames is a pause.
MOST_STEP = 16.0
#: Ways into a state of a gap.
_FROM_MATCH, _FROM_GAP = np.int8(0), np.int8(1)


@dataclass(frozen=True, eq=False)
class ExactPath:
    """clip_frame (N,) int64, beyond [0, num_clip) where the path runs out of the clip; missing (N,), true where the path says
    that the clip lacks the row's moment (clip_frame is then the last one shown); margin (N,K) float32, by how much the best
    path through each state of the band is worse than the best of all."""

    clip_frame: Ints
    missing: Flags
    margin: Floats


def without_lone_detours(path: ExactPath, first: Ints, width: int, step: Doubles) -> Ints:
    """Single rows that skip a clip frame only to wait for it, or wait only to skip, take the frame in the middle.

    Between a and a + 2 lies only a + 1: either it shows the row's moment, or it repeats a neighbour and shows the same. Rows
    whose pace is not one to one are left alone, for there a detour may be the pattern; so are gaps.
    """
    out = path.clip_frame.copy()
    middle = out[:-2] + 1
    lone = (out[2:] == out[:-2] + 2) & (out[1:-1] != middle)
    even = (np.abs(step[1:-1] - 1.0) < TIME_NOISE) & (np.abs(step[2:] - 1.0) < TIME_NOISE)
    within = (middle >= first[1:-1]) & (middle < first[1:-1] + width)
    there = ~(path.missing[:-2] | path.missing[1:-1] | path.missing[2:])
    np.copyto(out[1:-1], middle, where=lone & even & within & there)
    return out


def least_path(costs: RowCosts, first: Ints, step: Doubles, restart: Flags, gap: np.float32 = GAP) -> ExactPath:
    """Least-cost path through clip frames first[i] + 0..K-1; step (N,) expected clip frames since the row before, restart (N,)
    where any frame may follow; gap, the cost of beginning one."""
    # After a pause of the ref's the clip may be anywhere; a table of tolls that long would fill the memory.
    paused = step > MOST_STEP
    step, restart = np.where(paused, MOST_STEP, step), restart | paused
    tolls = step_tolls(step, int(np.ceil(step.max(initial=1.0))) + REACH)
    # Where the clip should move on, a frame that is held for a row unlike all others is no match: the clip lacks that row's.
    tolls[:, 0] += np.where(step > 1.0 - TIME_NOISE, costs.strange, 0.0)
    shape = costs.match.shape
    shown, gone = np.empty(shape, np.float32), np.empty(shape, np.float32)
    came_shown, came_gone = np.empty(shape, np.int16), np.empty(shape, np.int8)
    before, after = np.empty(len(step)), np.empty(len(step))
    _forward(costs.match, first, tolls, restart, gap, shown, gone, came_shown, came_gone, before)
    rest = np.empty(shape, np.float32)
    _backward(costs.match, first, tolls, restart, gap, rest, after)
    path, missing = _trace(first, shown, gone, came_shown, came_gone)
    margin = (shown + rest) + (before + after - before[-1])[:, None].astype(np.float32)
    return ExactPath(first + path, missing, np.maximum(margin, 0.0))


def step_tolls(step: Doubles, reach: int) -> Floats:
    """(N, reach + 1) cost of advancing 0..reach clip frames where ``step`` are expected.

    The two whole steps around the expected one are nearly free: the rarer of the two costs a little by how rare it is, which
    follows telecine patterns without preferring any phase.
    """
    low = np.floor(step + TIME_NOISE)
    share = np.where(step - low > TIME_NOISE, step - low, 0.0)[:, None]
    advance = np.arange(reach + 1)[None, :]
    beyond = np.maximum(low[:, None] - advance, advance - np.where(share > 0, low[:, None] + 1, low[:, None]))
    rare = np.where(advance == low[:, None], 1.0 - share, share)
    free = -0.15 * np.log(np.maximum(rare, 1e-3))
    return np.where(beyond > 0, UNEVEN_STEP * beyond, free).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _forward(match, first, tolls, restart, gap, shown, gone, came_shown, came_gone, taken):  # type: ignore[no-untyped-def]
    """came_shown: the state before, a shown one as its column, a gap's as -1 - its column. taken: (N,) what was taken off a
    row's costs so far: single precision would lose the differences in a long film's sums."""
    rows, width = match.shape
    for k in range(width):
        shown[0, k] = match[0, k]
        gone[0, k] = gap + GAP_FRAME
        came_shown[0, k], came_gone[0, k] = k, _FROM_MATCH
    taken[0] = _level(shown[0], gone[0])
    for i in range(1, rows):
        at, away = 0, 0
        for k in range(width):
            if shown[i - 1, k] < shown[i - 1, at]:
                at = k
            if gone[i - 1, k] < gone[i - 1, away]:
                away = k
        toll = np.float32(0.0 if restart[i] else JUMP)
        jump, jumped = shown[i - 1, at] + toll, at
        if gone[i - 1, away] + toll < jump:
            jump, jumped = gone[i - 1, away] + toll, -1 - away
        shift = first[i] - first[i - 1]
        for k in range(width):
            best, came = jump, jumped
            for d in range(tolls.shape[1]):
                before = k + shift - d
                if 0 <= before < width:
                    candidate = shown[i - 1, before] + tolls[i, d]
                    if candidate < best:
                        best, came = candidate, before
                    # After a gap the clip goes on where it stopped: it can't show again what it has shown.
                    candidate = gone[i - 1, before] + tolls[i, d]
                    if d > 0 and candidate < best:
                        best, came = candidate, -1 - before
            shown[i, k] = best + match[i, k]
            came_shown[i, k] = came
            before = min(max(k + shift, 0), width - 1)
            gone[i, k], came_gone[i, k] = shown[i - 1, before] + gap + GAP_FRAME, _FROM_MATCH
            if gone[i - 1, before] + GAP_FRAME < gone[i, k]:
                gone[i, k], came_gone[i, k] = gone[i - 1, before] + GAP_FRAME, _FROM_GAP
        taken[i] = taken[i - 1] + _level(shown[i], gone[i])


@numba.njit(cache=True, nogil=True)
def _level(one, other):  # type: ignore[no-untyped-def]
    """Take the least value of both rows off both, and return it."""
    least = min(one.min(), other.min())
    one -= least
    other -= least
    return np.float64(least)


@numba.njit(cache=True, nogil=True)
def _backward(match, first, tolls, restart, gap, rest, taken):  # type: ignore[no-untyped-def]
    """rest[i, k]: the least cost of all rows after i when row i shows column k; taken: as in the forward pass, from the end."""
    rows, width = match.shape
    away, away_next = np.zeros(width, np.float32), np.empty(width, np.float32)  # The same for a row in a gap.
    onward = np.empty(width, np.float32)  # And for the gap that goes on from a column, by the way of the forward pass.
    for k in range(width):
        rest[rows - 1, k] = 0.0
    taken[rows - 1] = 0.0
    for i in range(rows - 2, -1, -1):
        lowest = np.float32(np.inf)
        for k in range(width):
            lowest = min(lowest, rest[i + 1, k] + match[i + 1, k])
        jump = lowest + np.float32(0.0 if restart[i + 1] else JUMP)
        shift = first[i + 1] - first[i]
        onward[:] = np.inf
        for k in range(width):
            before = min(max(k + shift, 0), width - 1)
            onward[before] = min(onward[before], away[k])
        for k in range(width):
            best, best_gap = jump, jump
            for d in range(tolls.shape[1]):
                after = k - shift + d
                if 0 <= after < width:
                    ahead = rest[i + 1, after] + match[i + 1, after] + tolls[i + 1, d]
                    best = min(best, ahead)
                    if d > 0:
                        best_gap = min(best_gap, ahead)
            rest[i, k] = min(best, onward[k] + gap + GAP_FRAME)
            away_next[k] = min(best_gap, onward[k] + GAP_FRAME)
        away, away_next = away_next, away
        taken[i] = taken[i + 1] + _level(rest[i], away)


@numba.njit(cache=True, nogil=True)
def _trace(first, shown, gone, came_shown, came_gone):  # type: ignore[no-untyped-def]
    rows, width = shown.shape
    path, missing = np.empty(rows, np.int64), np.zeros(rows, np.bool_)
    at, away = 0, False
    for k in range(width):
        if shown[rows - 1, k] < shown[rows - 1, at]:
            at = k
    least = shown[rows - 1, at]
    for k in range(width):
        if gone[rows - 1, k] < least:
            at, away, least = k, True, gone[rows - 1, k]
    for i in range(rows - 1, -1, -1):
        path[i], missing[i] = at, away
        if i == 0:
            break
        if away:
            away = came_gone[i, at] == _FROM_GAP
            at = min(max(at + first[i] - first[i - 1], 0), width - 1)
        else:
            came = came_shown[i, at]
            away = came < 0
            at = -1 - came if away else came
    return path, missing
