"""The packet table of a video stream -> its frame index, and the file's identity."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from tasks.messages import FrameIndex
from tasks.remote import read_range, source_size
from tasks.sequence import find_sequence
from vsalign.errors import InputError
from vsalign.timecode import timecode

NO_PTS = np.iinfo(np.int64).min
_MIB = 1 << 20
#: No codec shows a picture further than this many packets from where it is decoded (H.264 and HEVC: 16).
_MOST_REORDER = 64
#: Decode times that fall by more than so many frames are no rounding.
_FALL_FRAMES = 3
#: No broadcast shows a frame for longer than this.
_LONGEST_STILL_SECONDS = 3600
#: What claims to be longer, or to begin later, has damaged timestamps.
_LONGEST_SECONDS = 30 * 86400


@dataclass(frozen=True, eq=False)
class PacketTable:
    """One row per packet of the stream, in file (decode) order.

    pts, dts, duration: int64 ticks, ``NO_PTS`` where the container gives none. key: a decoder can start here. size: bytes.
    visible: False for packets that show nothing of their own (VP8 alternate references, MPEG-4 pictures that are not coded,
    packets outside an MP4 edit list, second fields).
    """

    pts: npt.NDArray[np.int64]
    duration: npt.NDArray[np.int64]
    key: npt.NDArray[np.bool_]
    size: npt.NDArray[np.int64]
    visible: npt.NDArray[np.bool_]
    dts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pts)


def packet_table(
    pts: Sequence[int | None],
    duration: Sequence[int],
    key: Sequence[bool],
    size: Sequence[int],
    visible: Sequence[bool],
    dts: Sequence[int | None] = (),
) -> PacketTable:
    """The table from columns of equal length (no ``dts``: the container gives none); a time of None becomes ``NO_PTS``."""
    return PacketTable(
        _ticks(pts),
        np.array(duration, dtype=np.int64),
        np.array(key, dtype=np.bool_),
        np.array(size, dtype=np.int64),
        np.array(visible, dtype=np.bool_),
        _ticks(dts) if len(dts) else np.full(len(pts), NO_PTS),
    )


def _ticks(times: Sequence[int | None]) -> npt.NDArray[np.int64]:
    return np.array([NO_PTS if t is None else t for t in times], dtype=np.int64)


def hides_its_frame(codec: str, payload: memoryview) -> bool:
    """True for a VP8 packet whose frame header says "do not show" (an alternate reference).

    VP9 and AV1 pack such frames together with a shown one, so there a packet always shows something.
    """
    return codec == "vp8" and len(payload) > 0 and not payload[0] & 0x10


def frame_index(table: PacketTable, time_base: Fraction, name: str, true_dts: bool = False) -> FrameIndex:
    """Visible frames in presentation order; InputError (naming the frame and a way out) when their times cannot be trusted.

    ``true_dts``: the table's times are a broadcaster's clock, which runs on evenly.
    """
    ranks = np.flatnonzero(table.visible)
    if not len(ranks):
        raise InputError(f"{name}: no frame in this video stream")
    pts = table.pts[ranks]
    if (missing := np.flatnonzero(pts == NO_PTS)).size:
        raise InputError(f"{name}: frame {missing[0]} has no timestamp; {REMUX}")
    if true_dts:
        _check_no_jump(table, ranks, time_base, name)
    order = np.argsort(pts, kind="stable")
    pts, ranks = pts[order], ranks[order]
    _check_span(pts, time_base, name)
    if true_dts:
        _check_no_leap(pts, time_base, name)
    if (same := np.flatnonzero(pts[1:] == pts[:-1])).size:
        at = same[0]
        raise InputError(f"{name}: frames {at} and {at + 1} have the same timestamp ({pts[at]} x {time_base} s); {REMUX}")
    jumps = np.flatnonzero(np.abs(order - np.arange(len(order))) > _MOST_REORDER)
    if jumps.size:
        raise InputError(f"{name}: timestamps jump back near frame {jumps[0]} ({_clock(pts[jumps[0]], time_base)}); {REMUX}")
    return FrameIndex(pts, _durations(pts, table.duration[ranks]), table.key[ranks], ranks, table.size[ranks], time_base)


REMUX = "rewrite its timestamps first (ffmpeg -fflags +genpts -i FILE -map 0 -c copy FIXED.mkv) or encode it anew without loss"


def _check_no_jump(table: PacketTable, ranks: npt.NDArray[np.int64], time_base: Fraction, name: str) -> None:
    """Decode times only rise; where they fall by more than a few frames, two recordings were joined."""
    dts = table.dts[ranks]
    at = np.flatnonzero(dts != NO_PTS)
    steps = np.diff(dts[at])
    falls = np.flatnonzero(steps < -_FALL_FRAMES * (np.median(np.abs(steps)) if len(steps) else 0))
    if falls.size:
        before, after = at[falls[0]], at[falls[0] + 1]
        raise InputError(
            f"{name}: timestamps jump back at frame {after}, from {_clock(dts[before], time_base)} to "
            f"{_clock(dts[after], time_base)}; {REMUX}"
        )


def _check_span(pts: npt.NDArray[np.int64], time_base: Fraction, name: str) -> None:
    seconds = int(pts[-1]) * time_base - int(pts[0]) * time_base
    if max(seconds, abs(int(pts[0]) * time_base)) > _LONGEST_SECONDS:
        raise InputError(
            f"{name}: its frames are said to be shown from {int(pts[0]) * float(time_base):.0f} s to "
            f"{int(pts[-1]) * float(time_base):.0f} s, accepted is a film of at most {_LONGEST_SECONDS // 86400} days; {REMUX}"
        )


def _check_no_leap(pts: npt.NDArray[np.int64], time_base: Fraction, name: str) -> None:
    """A broadcaster's clock that leaps ahead was set anew; FFmpeg also takes one that was set back for one that ran over."""
    leaps = np.flatnonzero(np.diff(pts) > _LONGEST_STILL_SECONDS / time_base)
    if leaps.size:
        at = int(leaps[0])
        raise InputError(
            f"{name}: timestamps jump ahead at frame {at + 1}, from {_clock(pts[at], time_base)} to "
            f"{_clock(pts[at + 1], time_base)}; {REMUX}"
        )


def _clock(ticks: np.int64, time_base: Fraction) -> str:
    return timecode(int(ticks) * float(time_base))


def _durations(pts: npt.NDArray[np.int64], stored: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A frame stays until the next one comes; only the last has to believe its packet."""
    gaps = np.diff(pts)
    last = int(stored[-1])
    if last <= 0:
        last = int(np.median(gaps)) if len(gaps) else 1
    return np.append(gaps, last).astype(np.int64)


def keep_frames(index: FrameIndex, keep: npt.NDArray[np.bool_]) -> FrameIndex:
    """The index without the frames whose ``keep`` is False; the remaining ones keep their packet ranks."""
    if keep.all():
        return index
    pts = index.pts[keep]
    return FrameIndex(
        pts,
        _durations(pts, index.duration[keep]),
        index.keyframe[keep],
        index.packet[keep],
        index.packet_bytes[keep],
        index.time_base,
    )


def file_identity(path: str, video_stream: int, table: PacketTable, version: str = "", rate: Fraction | None = None) -> str:
    """sha256 (hex) over the file's size, first and last MiB, stream number and packet table; not over its path or version. Of
    an image sequence over all its files' ends, and over the ``rate`` at which it is to be shown."""
    size = source_size(path, version)
    digest = hashlib.sha256(f"vsalign identity 1 {size} {video_stream} {len(table)};".encode())
    if (sequence := find_sequence(path)) is not None:
        digest.update(f"{sequence.ends_sha256()} {rate};".encode())
    else:
        digest.update(read_range(path, 0, _MIB, version))
        digest.update(read_range(path, max(0, size - _MIB), size, version))
    for column in (table.pts, table.duration, table.size):
        digest.update(column.astype("<i8").tobytes())
    digest.update(np.packbits(table.key).tobytes())
    digest.update(np.packbits(table.visible).tobytes())
    return digest.hexdigest()
