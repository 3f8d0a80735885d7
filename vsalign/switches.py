"""Where one stretch of the clip ends and another begins, to the frame, once the path has shown how each of them runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vsalign.contrast import Floats
from vsalign.guide import Alike, Guide, handover
from vsalign.judge import CLEARLY_WORSE

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Rows by which a stretch's place is measured, and rows beyond its surely matched ones that may be its own.
_MEASURED, _BEYOND = 24, 12
#: Frames by which a path may lie off its line without being drawn a new one: well within the radius.
_FAR = 8.0
#: A long stretch that only one film has is looked at near its borders.
_MOST_ROWS = 2000


def sharpen(guide: Guide, clip_frame: Ints, cost: Floats, usual: float, alike: Alike) -> Guide:
    """The guide with its restarts where the next stretch fits better than the one before, and new ones where the path has left
    its line for good.

    clip_frame (N,): a path along ``guide``; cost (N,): 1 - correlation along it; usual: the film's; alike: of pairs.
    """
    good = cost < usual + 0.5 * CLEARLY_WORSE
    since = np.cumsum(guide.step)
    place = clip_frame - since
    laid = np.flatnonzero(guide.restart)
    # A departure with few sure rows between it and a restart is that one, only measured anew.
    sure = np.concatenate([[0], np.cumsum(good)])
    left = [row for row in _departures(place, good) if (np.abs(sure[laid] - sure[row]) >= _MEASURED).all()]
    edges = sorted({0, len(cost), *laid.tolist(), *left})
    # A stretch without any good match was only made up between two others.
    stretches = [(start, stop) for start, stop in pairwise(edges) if good[start:stop].any()]
    if len(stretches) < 2:
        return guide
    borders = [0]
    for (start, stop), (next_start, next_stop) in pairwise(stretches):
        one = np.flatnonzero(good[start:stop])[-_MEASURED:] + start
        other = np.flatnonzero(good[next_start:next_stop])[:_MEASURED] + next_start
        first = max(borders[-1] + 1, int(one[-1]) - _BEYOND)
        rows = np.arange(first, max(first + 1, min(next_stop, int(other[0]) + _BEYOND)))
        places = [float(np.median(place[own])) for own in (one, other)]
        borders.append(_border(rows, since, places, usual, alike))
    expected, restart = guide.expected.copy(), np.zeros_like(guide.restart)
    for (start, stop), (here, there) in zip(stretches, pairwise([*borders, len(cost)]), strict=True):
        restart[here] = here > 0
        rows = np.arange(here, there)
        own = _nearest(np.flatnonzero(good[start:stop]) + start, rows)
        # Where the line was far from where the path then went, and beyond the stretch's own rows, it runs on as the films'
        # times do from the nearest sure match.
        measured = place[own] + since[rows]
        off = (np.abs(measured - expected[rows]) > _FAR) | (rows < start) | (rows >= stop)
        expected[rows[off]] = measured[off]
    return replace(guide, expected=expected, restart=restart)


def _departures(place: Doubles, good: npt.NDArray[np.bool_]) -> list[int]:
    """Rows from which on the path's place (N,) differs from what it was before, both over many sure rows."""
    rows = np.flatnonzero(good)
    if len(rows) < 2 * _MEASURED:
        return []
    median = np.median(np.lib.stride_tricks.sliding_window_view(place[rows], _MEASURED), axis=1)
    change = np.abs(median[_MEASURED:] - median[:-_MEASURED])
    runs = np.flatnonzero(np.diff(change > _FAR, prepend=False, append=False)).reshape(-1, 2)
    return [int(rows[start + int(np.argmax(change[start:stop])) + _MEASURED]) for start, stop in runs]


def _nearest(sorted_rows: Ints, rows: Ints) -> Ints:
    """Of ``sorted_rows`` the one nearest to each of ``rows``."""
    after = np.clip(np.searchsorted(sorted_rows, rows), 0, len(sorted_rows) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(sorted_rows[before] - rows) < np.abs(sorted_rows[after] - rows)
    return np.asarray(np.where(nearer, sorted_rows[before], sorted_rows[after]), np.int64)


def _border(rows: Ints, since: Doubles, places: Sequence[float], usual: float, alike: Alike) -> int:
    """The row of ``rows`` from which on the other stretch fits better; each stretch's clip frame in a row is since + place."""
    if len(rows) > _MOST_ROWS:
        rows = np.concatenate([rows[: _MOST_ROWS // 2], rows[-_MOST_ROWS // 2 :]])
    # Only what is a match by this film's measure counts: frames of neither are to pull no border.
    fits = [
        np.maximum(alike(rows, np.rint(since[rows] + place).astype(np.int64)) - (1.0 - usual - CLEARLY_WORSE), 0.0)
        for place in places
    ]
    total = handover(*fits)
    # Of equally good borders, as those in a stretch of neither, the last: what follows it surely belongs to the other.
    best = int(np.flatnonzero(total >= total.max() - 1e-6)[-1])
    return int(rows[min(best, len(rows) - 1)])
