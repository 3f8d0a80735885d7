"""From the coarse path to a guide: about where each ref frame's clip frame must be, and how fast the clip runs there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from vsalign.coarse import CoarsePath, frame_seconds
from vsalign.contrast import Floats

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
#: (ref frames (n,), clip frames (n,)) -> correlation (n,); clip frames outside of the clip give 0.
Alike = Callable[[Ints, Ints], Floats]


@dataclass(frozen=True, eq=False)
class Guide:
    """Per ref frame (N,): ``expected`` clip frame, float64, beyond the clip where the line is extrapolated; ``step``, clip
    frames since the ref frame before on the same line; ``restart``, true where a new line begins."""

    expected: Doubles
    step: Doubles
    restart: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Line:
    """A run of the coarse path without a jump: delay = clip seconds - rate * ref seconds at ref seconds (K,)."""

    ref_seconds: Doubles
    delay: Doubles


def clip_position(at: Doubles, seconds: Doubles) -> Doubles:
    """Fractional frame number at time ``at``; beyond the film it goes on at the usual frame duration."""
    step = frame_seconds(seconds)
    inside = np.interp(at, seconds, np.arange(len(seconds), dtype=np.float64))
    early, late = np.minimum(at - seconds[0], 0.0), np.maximum(at - seconds[-1], 0.0)
    return np.asarray(inside + (early + late) / step, np.float64)


def find_lines(path: CoarsePath, weight: Floats, clip_seconds: Doubles, radius: int) -> list[Line]:
    """Split the path where it jumps, smooth each run; weight (A,) says how telling each moment is."""
    step = frame_seconds(clip_seconds)
    delay = path.clip_seconds - path.rate * path.ref_seconds
    # A moment held at the clip's very ends says only that the clip is over.
    near_end = (path.clip_seconds <= clip_seconds[0] + 0.5 * step) | (path.clip_seconds >= clip_seconds[-1] - 0.5 * step)
    found = np.flatnonzero(np.isfinite(delay) & ~near_end)
    if len(found) == 0:
        found = np.flatnonzero(np.isfinite(delay))
    if len(found) == 0:
        return []
    spacing = float(np.median(np.diff(path.ref_seconds))) if len(path.ref_seconds) > 1 else step
    if spacing <= 0:  # Most moments lie in a pause between two frames.
        spacing = step
    jumps = np.abs(np.diff(delay[found])) > max(4.5 * step, 3.5 * spacing * 0.06, step * radius / 3)
    runs = np.split(found, np.flatnonzero(jumps) + 1)
    lines: list[Line] = []
    enough = max(2.0, min(12.0, 0.25 / spacing))
    for run in runs:
        if len(run) < enough and len(runs) > 1:
            continue
        lines.append(Line(path.ref_seconds[run], _smooth(delay[run], weight[run].astype(np.float64), 1.0 / spacing)))
    if not lines:
        run = max(runs, key=len)
        lines = [Line(path.ref_seconds[run], delay[run])]
    return _merge(lines, 0.5 * radius * step)


def _merge(lines: list[Line], tolerance: float) -> list[Line]:
    """Join neighbours that go on where the other left off: what lay between was only hard to see."""
    merged = [lines[0]]
    for line in lines[1:]:
        last = merged[-1]
        if abs(line.delay[0] - last.delay[-1]) <= tolerance:
            merged[-1] = Line(np.concatenate([last.ref_seconds, line.ref_seconds]), np.concatenate([last.delay, line.delay]))
        else:
            merged.append(line)
    return merged


def _smooth(values: Doubles, weight: Doubles, reach: float) -> Doubles:
    """Weighted least absolute deviations with a penalty on change (Whittaker smoother, reweighted); ``reach`` in samples."""
    weight = weight + 1e-4
    stiff = max(reach, 1.0) ** 2 * float(np.mean(weight))
    out = np.full(len(values), float(np.median(values)))
    scale = 1e-3 + float(np.median(np.abs(values - out)))
    for _ in range(12):
        robust = weight / np.sqrt((values - out) ** 2 / scale**2 + 0.01)
        out = _whittaker(values, robust, stiff)
    return out


@numba.njit(cache=True)
def _whittaker(values, weight, stiff):  # type: ignore[no-untyped-def]
    """Minimise sum weight (values - z)^2 + stiff sum (diff z)^2 by the tridiagonal (Thomas) algorithm."""
    n = len(values)
    upper, right = np.empty(n), np.empty(n)
    for i in range(n):
        sides = (1.0 if i > 0 else 0.0) + (1.0 if i < n - 1 else 0.0)
        diagonal = weight[i] + stiff * sides
        below = stiff if i > 0 else 0.0
        pivot = diagonal - (below * upper[i - 1] if i > 0 else 0.0)
        upper[i] = stiff / pivot
        right[i] = (weight[i] * values[i] + (below * right[i - 1] if i > 0 else 0.0)) / pivot
    for i in range(n - 2, -1, -1):
        right[i] += upper[i] * right[i + 1]
    return right


def make_guide(lines: list[Line], rate: float, ref_seconds: Doubles, clip_seconds: Doubles, alike: Alike) -> Guide:
    """Lay the lines over all ref frames; where one ends and the next begins, ``alike`` says at which frame."""
    count = len(ref_seconds)
    if not lines:
        lines = [Line(ref_seconds[:1], np.array([clip_seconds[0] - rate * ref_seconds[0]]))]
    expected, ahead = (np.empty(count) for _ in range(2))
    restart = np.zeros(count, bool)
    start = 0
    step = frame_seconds(ref_seconds)
    for k, line in enumerate(lines):
        stop = count
        if k + 1 < len(lines):
            stop = _switch(line, lines[k + 1], rate, start, ref_seconds, clip_seconds, alike)
        rows = slice(start, stop)
        at = ref_seconds[rows]
        delay = np.interp(at, line.ref_seconds, line.delay)
        expected[rows] = clip_position(rate * at + delay, clip_seconds)
        before = np.concatenate([[at[0] - step], at[:-1]]) if len(at) else at
        if start and len(at):
            before[0] = ref_seconds[start - 1]
        # The pace of the films' time tables alone: how the delay drifts is for the exact path to find.
        ahead[rows] = expected[rows] - clip_position(rate * before + delay, clip_seconds)
        restart[start : start + 1] = start > 0
        start = stop
    return Guide(expected, ahead, restart)


def _switch(
    line: Line, following: Line, rate: float, start: int, ref_seconds: Doubles, clip_seconds: Doubles, alike: Alike
) -> int:
    """The ref frame at which ``following`` takes over."""
    lo = max(start, int(np.searchsorted(ref_seconds, line.ref_seconds[-1])))
    hi = max(lo + 1, int(np.searchsorted(ref_seconds, following.ref_seconds[0])) + 1)
    slack = max(8, (hi - lo) // 8)
    lo, hi = max(start, lo - slack), min(len(ref_seconds), hi + slack)
    rows = np.arange(lo, hi)
    if len(rows) > 4000:  # A long stretch that only the ref has: its borders are what matters.
        rows = np.concatenate([rows[:1000], rows[-1000:]])

    def gain(delay: float) -> Floats:
        at = np.round(clip_position(rate * ref_seconds[rows] + delay, clip_seconds)).astype(np.int64)
        return np.asarray(np.maximum.reduce([alike(rows, at + d) for d in (-2, -1, 0, 1, 2)]), np.float32)

    # The first line while it is the better one; frames of neither may go to either.
    best = int(np.argmax(handover(gain(line.delay[-1]), gain(following.delay[0]))))
    return int(rows[min(best, len(rows) - 1)])


def handover(one: Floats, other: Floats) -> Doubles:
    """What two lines gain together (K+1,) when the second takes over from row k on; one, other (K,): each one's gain by row."""
    left = np.concatenate([[0.0], np.cumsum(one, dtype=np.float64)])
    right = np.concatenate([np.cumsum(other[::-1], dtype=np.float64)[::-1], [0.0]])
    return np.asarray(left + right, np.float64)
