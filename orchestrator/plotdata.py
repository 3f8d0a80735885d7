"""PURE: a frame map as numbers to draw: offsets, one column of the picture at a time, and labels that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vsalign.editkinds import Edit, Speed
from vsalign.framemap import FrameMap

Doubles = npt.NDArray[np.float64]

#: Steps between the marks of a time axis, in seconds.
TICK_STEPS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
#: Rows less sure than this share of the film's usual confidence do not widen the picture.
SURE_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Columns:
    """Of the values that fall into each column: time of the column, lowest, middle and highest, NaN where there is none."""

    seconds: Doubles
    low: Doubles
    middle: Doubles
    high: Doubles


def columns_of(seconds: Doubles, values: Doubles, most: int, spread: tuple[float, float] = (0.0, 100.0)) -> Columns:
    """``values`` (N,) at rising ``seconds`` (N,), NaN left out, in at most ``most`` columns of equal numbers of frames; low and
    high are the percentiles ``spread`` of a column."""
    number = max(1, min(len(values), most))
    starts = (np.arange(number + 1) * len(values)) // number
    table = np.full((number, int(np.diff(starts).max(initial=1))), np.nan)
    for row, (start, stop) in enumerate(pairwise(starts.tolist())):
        table[row, : stop - start] = values[start:stop]
    filled = np.isfinite(table).any(1)
    out = np.full((3, number), np.nan)
    if filled.any():
        out[:, filled] = np.nanpercentile(table[filled], (spread[0], 50.0, spread[1]), axis=1)
    return Columns(seconds[np.minimum(starts[:-1], len(seconds) - 1)], *out)


def rate_of(edits: Sequence[Edit]) -> float:
    """Clip seconds per ref second, where one speed holds for the whole film; else 1."""
    speeds = [edit.speed for edit in edits if isinstance(edit, Speed) and edit.throughout]
    return 1.0 / speeds[0] if speeds else 1.0


def offsets(frame_map: FrameMap, clip_seconds: Doubles, ref_seconds: Doubles, rate: float) -> Doubles:
    """Clip time minus ``rate`` times ref time (N,), both since the first frame, NaN where unmatched."""
    out = np.full(len(frame_map), np.nan)
    rows = np.flatnonzero(frame_map.matched)
    if len(rows):
        shown = clip_seconds[frame_map.clip_frame[rows]] - clip_seconds[0]
        out[rows] = shown - rate * (ref_seconds[rows] - ref_seconds[0])
    return out


def limits(values: Doubles, confidence: npt.NDArray[np.float32], frame_seconds: float) -> tuple[float, float]:
    """Lowest and highest value to show: all that the map is somewhat sure of, and a few frames around."""
    there = np.isfinite(values)
    if not there.any():
        return -3.0 * frame_seconds, 3.0 * frame_seconds
    sure = there & (confidence >= SURE_SHARE * np.median(confidence[there]))
    low, high = float(values[sure].min()), float(values[sure].max())
    room = max(3.0 * frame_seconds, 0.08 * (high - low))
    return low - room, high + room


def tick_step(length_seconds: float, most: int = 12) -> float:
    """The smallest step that puts no more than ``most`` marks on a time axis."""
    return next((step for step in TICK_STEPS if length_seconds / step <= most), TICK_STEPS[-1])


def label_rows(centres: Sequence[float], widths: Sequence[float], most: int) -> list[int]:
    """The row each label goes to so that none covers another; -1 where ``most`` rows are full. Centres in any order."""
    ends = [-np.inf] * most
    rows = [-1] * len(centres)
    for k in np.argsort(centres, kind="stable").tolist():
        left = centres[k] - widths[k] / 2
        free = [row for row in range(most) if ends[row] <= left]
        if free:
            rows[k] = free[0]
            ends[free[0]] = centres[k] + widths[k] / 2
    return rows
