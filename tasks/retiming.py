"""Times for streams whose packets don't give them: which of them need it, and how they are found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.frametimes import (
    ShownFrame,
    counted,
    filled,
    in_order,
    is_uneven,
    only_shown,
    without_second_fields,
)
from tasks.headers import Head
from tasks.messages import Source
from tasks.packets import NO_PTS, REMUX, PacketTable
from tasks.showorder import packs_frames, shown_frames
from vsalign.errors import InputError

#: Transport and program streams: their times are the broadcaster's own and even, unless fields come one by one.
BROADCAST = ("mpegts", "mpeg")
#: AVI stores no presentation times, and FFmpeg does not find those of these codecs.
_AVI_GUESSED = ("h264", "hevc")


@dataclass(frozen=True, slots=True, eq=False)
class Timed:
    """A table with a time for every frame; clauses on how they were made and on damage that showed on the way, "" for none."""

    table: PacketTable
    made: str = ""
    damage: str = ""


def timed(source: Source, version: str, head: Head, table: PacketTable) -> Timed:
    """The table with times for all frames, as the file gives them or made.

    Decodes the film once where that needs the order in which frames are shown. Raises InputError where times stay in doubt.
    """
    guessed = head.container == "avi" and head.codec in _AVI_GUESSED and head.reorders
    guessed |= head.container == "avi" and head.codec == "mpeg4" and packs_frames(source, version)
    if not (_missing(table) or guessed or _may_be_fields(head, table)):
        return Timed(table)
    shown = _shown(source, version, table)
    if not shown:
        raise InputError(f"{source}: no frame of this video stream can be decoded")
    table, order = without_second_fields(table, shown), [frame.rank for frame in shown]
    damage = _damage(table, shown)
    if not _missing(table) and not guessed:
        return Timed(table, "", damage)
    return Timed(*_made(source, head, table, order), damage)


def _missing(table: PacketTable) -> int:
    return int(np.count_nonzero(table.pts[table.visible] == NO_PTS))


def _damage(table: PacketTable, shown: list[ShownFrame]) -> str:
    lost = np.count_nonzero(table.visible) - np.count_nonzero(only_shown(table, [frame.rank for frame in shown]).visible)
    damaged = sum(frame.damaged for frame in shown)
    counts = ((lost, "packets give no frame"), (damaged, "frames had to be guessed in part"))
    return "; ".join(f"{count} {what}" for count, what in counts if count)


def paired(source: Source, version: str, table: PacketTable) -> PacketTable | None:
    """The table with the second of two fields hidden behind the first; None where there are none."""
    merged = without_second_fields(table, _shown(source, version, table))
    return None if merged is table else merged


def _shown(source: Source, version: str, table: PacketTable) -> list[ShownFrame]:
    """Frames of the table's packets; a cut file has more of them at its end, that are not whole."""
    return [frame for frame in shown_frames(source, version) if frame.rank < len(table)]


def _may_be_fields(head: Head, table: PacketTable) -> bool:
    tagged = head.container in BROADCAST or head.field_order not in ("progressive", "unknown")
    return head.codec == "h264" and tagged and is_uneven(table)


def _made(source: Source, head: Head, table: PacketTable, order: list[int]) -> tuple[PacketTable, str]:
    missing = _missing(table)
    if missing == np.count_nonzero(table.visible):
        if not head.nominal_rate:
            raise InputError(f"{source}: no frame has a timestamp, and no frame rate is stated; {REMUX}")
        made = counted(table, order, 1 / head.nominal_rate, head.time_base)
        return made, f"no timestamps: frames are counted at {float(head.nominal_rate):.6g} a second, the stream's rate"
    if not missing:
        ordered = in_order(table, order)
        if ordered is not None:
            return ordered, "timestamps in decoding order alone: they are given to frames in the order they are shown"
    even = filled(table, order)
    if even is None:
        first = int(np.flatnonzero(table.pts[table.visible] == NO_PTS)[0]) if missing else 0
        raise InputError(f"{source}: frame {first} has no timestamp, and those around it leave it open; {REMUX}")
    return even, f"{missing} frames without timestamp, timed between their neighbours at an even rate"
