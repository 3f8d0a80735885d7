"""Pull-down: where one film's rate was made from the other's by a pattern of repeated or dropped frames, its phase.

With r clip frames per ref frame a regular pattern shows clip frame floor(r n + c) for ref frame n (2:3 pull-down, 4:5, every
25th frame doubled ...). c is the same for long stretches, so that many frames together tell it where each one alone can't: the
path is then expected to take the pattern's own steps.
"""

from __future__ import annotations

from fractions import Fraction

import numba
import numpy as np

from vsalign.path import TIME_NOISE, Doubles, Flags, Ints
from vsalign.rowcost import OUTSIDE, RowCosts

#: Patterns longer than this many ref frames are taken one drop at a time.
LONGEST = 50
#: Another phase has to pay off over more than a few frames.
SLIP = np.float32(4.0)
#: Phases within so many clip frames of where the path lies are looked at.
AROUND = 2
#: Rows each side over which the path's place is averaged.
_STEADY = 60


def pattern_length(step: Doubles) -> int:
    """Ref frames after which the pattern begins anew, from the expected clip frames per ref frame (N,); 1 where it is one to
    one or a whole number, 0 where the pace changes or the pattern is too long."""
    if len(step) == 0:
        return 1
    # Containers that keep milliseconds make even times uneven by a few per cent of a frame.
    even = np.abs(step - np.median(step)) < TIME_NOISE
    if even.mean() < 0.9:
        return 0
    usual = float(step[even].mean())
    ratio = Fraction(usual).limit_denominator(LONGEST)
    return ratio.denominator if abs(ratio - usual) < 2e-3 else 0


def regular_steps(costs: RowCosts, first: Ints, expected: Doubles, restart: Flags, clip_frame: Ints, length: int) -> Doubles:
    """The steps (N,) of the best staircase floor(expected + c), c constant but for slips, in clip frames since the row before.

    expected (N,): clip frames by the films' times; clip_frame (N,): the path without any pattern, near which c is looked for.
    """
    anchor = np.rint(_running_mean(clip_frame - expected)).astype(np.int64)
    place = np.empty((len(expected), 2 * AROUND * length + 1), np.int64)
    offsets = (np.arange(place.shape[1]) - AROUND * length) / length
    place[:] = np.floor(expected[:, None] + anchor[:, None] + offsets[None, :] + 1e-6)
    best = _best_phase(costs.match, first, place, anchor * length, restart, np.float32(OUTSIDE))
    at = place[np.arange(len(place)), best]
    return np.asarray(np.diff(at, prepend=at[:1] - 1), np.float64)


def _running_mean(values: Doubles) -> Doubles:
    padded = np.pad(values, _STEADY, mode="edge")
    total = np.cumsum(np.concatenate([[0.0], padded]))
    return np.asarray((total[2 * _STEADY + 1 :] - total[: -2 * _STEADY - 1]) / (2 * _STEADY + 1), np.float64)


@numba.njit(cache=True, nogil=True)
def _best_phase(match, first, place, anchor, restart, outside):  # type: ignore[no-untyped-def]
    """Viterbi over phases; place[i, m] is phase anchor[i] + m's clip frame in row i. Returns m of every row."""
    rows, phases = place.shape
    width = match.shape[1]
    cost, following = np.zeros(phases, np.float32), np.empty(phases, np.float32)
    came = np.empty((rows, phases), np.int16)
    for i in range(rows):
        lowest = 0
        for m in range(phases):
            if cost[m] < cost[lowest]:
                lowest = m
        shift = anchor[i] - anchor[i - 1] if i else 0
        slip = np.float32(0.0) if restart[i] else SLIP
        for m in range(phases):
            best, before = cost[lowest] + slip, lowest
            if 0 <= m + shift < phases and cost[m + shift] <= best:
                best, before = cost[m + shift], m + shift
            column = place[i, m] - first[i]
            following[m] = best + (match[i, column] if 0 <= column < width else outside)
            came[i, m] = before
        least = following.min()
        for m in range(phases):
            cost[m] = following[m] - least  # float32 would lose the differences in a long film's sum
    out = np.empty(rows, np.int64)
    at = int(np.argmin(cost))
    for i in range(rows - 1, -1, -1):
        out[i] = at
        at = came[i, at]
    return out
