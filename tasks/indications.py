"""What a container shows of damage that FFmpeg plays over, and numbers in headers that can't be true. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain

import numpy as np
import numpy.typing as npt

from tasks.headers import Head
from tasks.messages import FrameIndex
from tasks.packetread import PacketsFound
from tasks.packets import NO_PTS, PacketTable
from vsalign.errors import InputError
from vsalign.timecode import timecode

#: Frames count as evenly spaced when so many of their gaps are the usual one.
_EVEN_SHARE = 0.9
#: A gap this many times the usual one is a hole in an evenly spaced film.
_HOLE = 1.75
#: A film that ends sooner than its header says by more than this lacks something at its end.
_END_SLACK_SECONDS = 0.25
_MOST_PIXELS = 1 << 27
_FINEST_TICK = Fraction(1, 10**9)
_COARSEST_TICK = Fraction(10)
_FASTEST_RATE = 100_000


def checked_head(head: Head, name: str) -> Head:
    """The head with rates and a pixel shape that nothing chokes on: what can't be true counts as not stated.

    Raises InputError for pictures too large for any memory and a time base in which no film can be counted.
    """
    if head.width * head.height > _MOST_PIXELS:
        raise InputError(f"{name}: its pictures are {head.width}x{head.height}, accepted are at most {_MOST_PIXELS} pixels")
    if not _FINEST_TICK <= head.time_base <= _COARSEST_TICK:
        raise InputError(
            f"{name}: counts time in units of {head.time_base} s, accepted are {_FINEST_TICK} to {_COARSEST_TICK} s"
        )
    rate, nominal = (r if r and 0 < r <= _FASTEST_RATE else None for r in (head.average_rate, head.nominal_rate))
    shape = head.sample_aspect_ratio
    shape = shape if Fraction(1, 100) <= shape <= 100 else Fraction(1)
    return replace(head, average_rate=rate, nominal_rate=nominal, sample_aspect_ratio=shape)


def damage_of(head: Head, index: FrameIndex, found: PacketsFound, known: str, broken_from: int | None) -> str:
    """Clauses on what is damaged or not there, "" when nothing shows. ``known``: some of them, or ""; ``broken_from``: the byte
    from where on the container's parts don't fit together."""
    return "; ".join(chain([known] if known else [], _clauses(head, index, found, broken_from)))


def _clauses(head: Head, index: FrameIndex, found: PacketsFound, broken_from: int | None) -> Iterator[str]:
    corrupt, log = found.corrupt, found.errors
    if broken_from is not None:
        yield f"its parts do not fit together from byte {broken_from} on"
    if corrupt:
        frames = np.flatnonzero(np.isin(index.packet, corrupt))
        where = f", the first shows frame {frames[0]} ({_at(index, int(frames[0]))})" if len(frames) else ""
        yield f"{len(corrupt)} damaged packets{where}"
    if log:
        yield f"errors in the container, {len(log)} (the first: {' '.join(log[0].split())[:200]})"
    holes = _holes(index, found.table)
    if len(holes):
        first = int(holes[0])
        yield f"{len(holes)} gaps where frames seem to be missing, the first behind frame {first} ({_at(index, first)})"
    if not found.cut_off:
        yield from _short(head, index, found.table)


def _short(head: Head, index: FrameIndex, table: PacketTable) -> Iterator[str]:
    lacking = int(np.count_nonzero(table.visible)) - len(index)
    if lacking > 0:
        yield f"{lacking} frames can't be decoded at its start: what they are predicted from is not there"
    if head.promised_frames > len(table):
        yield f"its header lists {head.promised_frames} frames, {len(table)} are played (an edit list, or damage)"
    start, end = (float(ticks * index.time_base) for ticks in (int(index.pts[0]), int(index.pts[-1]) + int(index.duration[-1])))
    if head.stream_seconds > max(end, end - start) + _END_SLACK_SECONDS:
        yield f"its frames end at {timecode(end)}, its header says {timecode(head.stream_seconds)}"


def _holes(index: FrameIndex, table: PacketTable) -> npt.NDArray[np.intp]:
    """Frames behind which others seem to be missing; packets that show nothing fill a gap."""
    gaps = np.diff(index.pts)
    if len(gaps) < 4:
        return np.zeros(0, dtype=np.intp)
    usual = float(np.median(gaps))
    even = np.count_nonzero(np.abs(gaps - usual) <= max(1.0, 0.02 * usual)) >= _EVEN_SHARE * len(gaps)
    if not even:
        return np.zeros(0, dtype=np.intp)
    silent = np.searchsorted(index.pts, table.pts[~table.visible & (table.pts != NO_PTS)], side="right") - 1
    return np.setdiff1d(np.flatnonzero(gaps > _HOLE * usual), silent)


def _at(index: FrameIndex, frame: int) -> str:
    return timecode(float(int(index.pts[frame]) * index.time_base))
