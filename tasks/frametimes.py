"""When frames are shown whose file doesn't say it, or says it wrongly: from the order in which they are shown. Pure numbers.

``order`` is the rank of each frame's packet in the order of showing (:func:`tasks.showorder.shown_frames`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from tasks.packets import NO_PTS, PacketTable

#: Gaps of H.264 that differ by more than this share may be whole frames beside single fields.
_UNEVEN = 0.75


@dataclass(frozen=True, slots=True)
class ShownFrame:
    """A frame that comes out: ``rank`` of the (first) packet it is in, whether it consists of two fields, whether its decoder
    had to guess parts of it."""

    rank: int
    interlaced: bool
    damaged: bool


def only_shown(table: PacketTable, order: Sequence[int]) -> PacketTable:
    """Packets that no frame of ``order`` begins with (second fields) show nothing; a frame lasts as long as its packets do."""
    shown = np.zeros(len(table), dtype=np.bool_)
    shown[np.asarray(order, dtype=np.int64)] = True
    shown &= table.visible
    duration = table.duration.copy()
    owner = np.maximum.accumulate(np.where(shown, np.arange(len(table)), -1))
    second = table.visible & ~shown & (owner >= 0)
    np.add.at(duration, owner[second], table.duration[second])
    return replace(table, visible=shown, duration=duration)


def counted(table: PacketTable, order: Sequence[int], frame_seconds: Fraction, time_base: Fraction) -> PacketTable:
    """Frame n is shown at n x ``frame_seconds``, each rounded once to the time base."""
    ranks = np.asarray(order, dtype=np.int64)
    ticks = frame_seconds / time_base
    pts = np.full(len(table), NO_PTS)
    pts[ranks] = [round(n * ticks) for n in range(len(ranks))]
    duration = np.full(len(table), max(1, round(ticks)))
    return replace(only_shown(table, order), pts=pts, duration=duration)


def in_order(table: PacketTable, order: Sequence[int]) -> PacketTable | None:
    """The decode times, which some containers (AVI) have alone, given to the frames in the order of showing; None without
    them."""
    ranks = np.asarray(order, dtype=np.int64)
    times = np.sort(table.dts[ranks])
    if not len(times) or times[0] == NO_PTS:
        return None
    pts = np.full(len(table), NO_PTS)
    pts[ranks] = times
    return replace(only_shown(table, order), pts=pts)


def filled(table: PacketTable, order: Sequence[int]) -> PacketTable | None:
    """Missing times between known ones filled evenly; None where that leaves a doubt: the known ones are not at one rate.

    The rate is that of the known times: every run of missing ones has to fit to a tick per frame. Before the first and behind
    the last known time the rate goes on.
    """
    ranks = np.asarray(order, dtype=np.int64)
    pts = table.pts[ranks]
    known = np.flatnonzero(pts != NO_PTS)
    if len(known) < 2:
        return None
    steps = np.diff(pts[known]) / np.diff(known)
    step = (pts[known[-1]] - pts[known[0]]) / (known[-1] - known[0])
    # One tick of rounding at either end of a run; going on further than half of what is known would make more of it.
    beyond = max(known[0], len(pts) - 1 - known[-1])
    if step <= 0 or 2 * beyond > known[-1] - known[0] or np.any(np.abs(steps - step) * np.diff(known) > 2):
        return None
    at = np.arange(len(pts))
    even = np.interp(at, known, pts[known].astype(np.float64) - pts[known[0]])
    even += np.minimum(at - known[0], 0) * step + np.maximum(at - known[-1], 0) * step
    made = np.full(len(table), NO_PTS)
    made[ranks] = np.where(pts == NO_PTS, np.rint(even).astype(np.int64) + pts[known[0]], pts)
    return replace(only_shown(table, order), pts=made)


def is_uneven(table: PacketTable) -> bool:
    """Some known times follow each other much sooner than others do."""
    pts = np.sort(table.pts[table.visible & (table.pts != NO_PTS)])
    gaps = np.diff(pts)
    return bool(len(gaps)) and float(gaps.min()) < _UNEVEN * float(gaps.max())


def without_second_fields(table: PacketTable, shown: Sequence[ShownFrame]) -> PacketTable:
    """The table with all second fields hidden; other packets that show nothing (damage) stay."""
    second = _second_fields(table, shown)
    return only_shown(table, np.flatnonzero(table.visible & ~second).tolist()) if second.any() else table


def _second_fields(table: PacketTable, shown: Sequence[ShownFrame]) -> npt.NDArray[np.bool_]:
    """Packets that show nothing, right behind one that shows a frame of two fields."""
    begins, interlaced = np.zeros(len(table), dtype=np.bool_), np.zeros(len(table), dtype=np.bool_)
    begins[[frame.rank for frame in shown]] = True
    interlaced[[frame.rank for frame in shown if frame.interlaced]] = True
    behind = np.concatenate((np.zeros(1, dtype=np.bool_), interlaced[:-1]))
    return np.asarray(table.visible & ~begins & behind, dtype=np.bool_)
