"""The frames that a field filter makes of a file's, and when each is shown. PURE: from the index alone, nothing is decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from tasks.fields import FieldFilter
from tasks.messages import FrameIndex, MediaInfo, Probe

#: Of so many telecined frames one is a repetition.
CYCLE = 5
#: Five frames that take longer than so many short ones are no pull-down: repeat flags stretch them already, or some are gone.
_LONGEST_CYCLE = 5.5

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cycles:
    """Which coded frames make up the film without its repetitions.

    Cycles of five coded frames are counted from the film's first. ``rows`` (M,): for each output frame the coded frame that it
    is if the last of its cycle is the repetition. ``thinned`` (C,): cycle c gives four frames for five; the others, and what is
    left over at the film's end, stay as they are.
    """

    rows: Ints
    thinned: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, coded: FrameIndex) -> Cycles:
        whole = len(coded) // CYCLE
        spans = np.diff(_cycle_times(coded, whole))
        usual = float(np.percentile(coded.duration, 10)) if len(coded) else 0.0
        thinned = spans <= _LONGEST_CYCLE * usual
        kept = np.ones(len(coded), np.bool_)
        kept[np.flatnonzero(thinned) * CYCLE + CYCLE - 1] = False
        return cls(np.flatnonzero(kept), thinned)

    def place(self, frame: int) -> tuple[int, int] | None:
        """(first coded frame of its cycle, place 0 to 3 in it) of an output frame; None where its coded frame is known."""
        row = int(self.rows[frame])
        cycle = row // CYCLE
        return (cycle * CYCLE, row % CYCLE) if cycle < len(self.thinned) and self.thinned[cycle] else None


def with_filter(found: Probe, wanted: FieldFilter, top_field_first: bool) -> Probe:
    """``found``, as probed, with the frames that ``wanted`` makes of its own; the field order is the filter's."""
    if not wanted:
        return found
    fields = replace(found.info.fields, filter=wanted, top_field_first=top_field_first)
    if wanted == "bwdif":
        return Probe(replace(found.info, fields=fields), found.index, found.index)
    index = _without_repetitions(found.index)
    info = replace(
        found.info,
        fields=fields,
        time_base=index.time_base,
        average_rate=_rate(found.info, found.index, index),
        num_frames=len(index),
    )
    return Probe(info, index, found.index)


def as_coded(found: Probe) -> Probe:
    """A filtered probe with the file's own frames in the index's place, for the reader underneath the filter."""
    assert found.coded is not None
    info = replace(found.info, num_frames=len(found.coded), time_base=found.coded.time_base)
    return Probe(info, found.coded)


def _without_repetitions(coded: FrameIndex) -> FrameIndex:
    """A cycle's four frames share its time evenly, to the tick of a finer time base."""
    cycles = Cycles.of(coded)
    rows, place = cycles.rows, cycles.rows % CYCLE
    cycle = np.minimum(rows // CYCLE, len(cycles.thinned))
    inside = np.append(cycles.thinned, False)[cycle]
    times = _cycle_times(coded, len(cycles.thinned))
    spans = np.append(np.diff(times), 0)
    quarters = np.where(inside, 4 * times[cycle] + place * spans[cycle], 4 * coded.pts[rows])
    end = 4 * int(coded.pts[-1] + coded.duration[-1])
    finer = 1 if not (quarters % 4).any() else 4
    pts = quarters * finer // 4
    dropped = np.flatnonzero(cycles.thinned) * CYCLE + CYCLE - 1
    packet_bytes, keyframe = coded.packet_bytes.copy(), coded.keyframe.copy()
    packet_bytes[dropped - 1] += packet_bytes[dropped]
    keyframe[dropped - 1] |= keyframe[dropped]
    return FrameIndex(
        pts,
        np.diff(pts, append=end * finer // 4),
        keyframe[rows],
        coded.packet[rows],
        packet_bytes[rows],
        coded.time_base / finer,
    )


def _cycle_times(coded: FrameIndex, num_cycles: int) -> Ints:
    """When each whole cycle begins, and when the last of them ends (num_cycles + 1,)."""
    ends = np.append(coded.pts, coded.pts[-1] + coded.duration[-1]) if len(coded) else np.zeros(1, np.int64)
    return np.asarray(ends[: num_cycles * CYCLE + 1 : CYCLE], np.int64)


def _rate(info: MediaInfo, coded: FrameIndex, index: FrameIndex) -> Fraction:
    """Four fifths where all is telecined."""
    if len(coded) - len(index) == len(coded) // CYCLE:
        return info.average_rate * 4 / 5
    return (info.average_rate * len(index) / len(coded)).limit_denominator(1001)
