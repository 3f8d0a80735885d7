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
from vsalign.errors import InputError

NO_PTS = np.iinfo(np.int64).min
_MIB = 1 << 20
#: No codec shows a picture further than this many packets from where it is decoded (H.264 and HEVC: 16).
_MOST_REORDER = 64


@dataclass(frozen=True, eq=False)
class PacketTable:
    """One row per packet of the stream, in file (decode) order.

    pts, duration: int64 ticks, ``NO_PTS`` where the container gives none. key: a decoder can start here. size: bytes.
    visible: False for packets that show nothing (VP8 alternate references, packets outside an MP4 edit list).
    """

    pts: npt.NDArray[np.int64]
    duration: npt.NDArray[np.int64]
    key: npt.NDArray[np.bool_]
    size: npt.NDArray[np.int64]
    visible: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pts)


def packet_table(
    pts: Sequence[int | None], duration: Sequence[int], key: Sequence[bool], size: Sequence[int], visible: Sequence[bool]
) -> PacketTable:
    """The table from columns of equal length; a pts of None becomes ``NO_PTS``."""
    return PacketTable(
        np.array([NO_PTS if p is None else p for p in pts], dtype=np.int64),
        np.array(duration, dtype=np.int64),
        np.array(key, dtype=np.bool_),
        np.array(size, dtype=np.int64),
        np.array(visible, dtype=np.bool_),
    )


def hides_its_frame(codec: str, payload: memoryview) -> bool:
    """True for a VP8 packet whose frame header says "do not show" (an alternate reference).

    VP9 and AV1 pack such frames together with a shown one, so there a packet always shows something.
    """
    return codec == "vp8" and len(payload) > 0 and not payload[0] & 0x10


def frame_index(table: PacketTable, time_base: Fraction, name: str) -> FrameIndex:
    """Visible frames in presentation order; InputError (naming the frame and a way out) when their times cannot be trusted."""
    ranks = np.flatnonzero(table.visible)
    if not len(ranks):
        raise InputError(f"{name}: no frame in this video stream")
    pts = table.pts[ranks]
    if (missing := np.flatnonzero(pts == NO_PTS)).size:
        raise InputError(f"{name}: frame {missing[0]} has no timestamp; {REMUX}")
    order = np.argsort(pts, kind="stable")
    pts, ranks = pts[order], ranks[order]
    if (same := np.flatnonzero(pts[1:] == pts[:-1])).size:
        at = same[0]
        raise InputError(f"{name}: frames {at} and {at + 1} have the same timestamp ({pts[at]} x {time_base} s); {REMUX}")
    jumps = np.flatnonzero(np.abs(order - np.arange(len(order))) > _MOST_REORDER)
    if jumps.size:
        raise InputError(f"{name}: timestamps jump back near frame {jumps[0]}; {REMUX}")
    return FrameIndex(pts, _durations(pts, table.duration[ranks]), table.key[ranks], ranks, table.size[ranks], time_base)


REMUX = "rewrite its timestamps first (ffmpeg -fflags +genpts -i FILE -map 0 -c copy FIXED.mkv) or encode it anew without loss"


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


def file_identity(path: str, video_stream: int, table: PacketTable, version: str = "") -> str:
    """sha256 (hex) over the file's size, first and last MiB, stream number and packet table; not over its path or version."""
    size = source_size(path, version)
    digest = hashlib.sha256(f"vsalign identity 1 {size} {video_stream} {len(table)};".encode())
    digest.update(read_range(path, 0, _MIB, version))
    digest.update(read_range(path, max(0, size - _MIB), size, version))
    for column in (table.pts, table.duration, table.size):
        digest.update(column.astype("<i8").tobytes())
    digest.update(np.packbits(table.key).tobytes())
    digest.update(np.packbits(table.visible).tobytes())
    return digest.hexdigest()
