"""What a container's headers say, and how it becomes MediaInfo together with the frames found. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from tasks.formats import has_alpha, planar_format
from tasks.hdr import NO_HDR, Hdr
from tasks.messages import FrameIndex, MediaInfo, Source, StreamInfo
from tasks.packets import PacketTable, file_identity
from tasks.remote import source_size
from vsalign.errors import InputError
from vsalign.picture import ColourTags

#: Further from its frames than this, a stated frame rate is not believed.
_RATE_TOLERANCE = Fraction(1, 50)


@dataclass(frozen=True, slots=True)
class Head:
    """What the container's headers say, read before the packets are."""

    container: str
    streams: tuple[StreamInfo, ...]
    codec: str
    width: int
    height: int
    time_base: Fraction
    average_rate: Fraction | None
    sample_aspect_ratio: Fraction
    field_order: str
    colour: ColourTags
    promised_frames: int
    promised_seconds: float
    hdr: Hdr = NO_HDR
    """What the container says."""
    nominal_rate: Fraction | None = None
    """What the stream is said to have where its frames have no times."""
    reorders: bool = False
    """Frames are not shown in the order in which they are decoded."""
    stream_ticks: int = 0
    """How long its own header says that the stream is, in ticks of ``time_base``; 0 where it says nothing."""
    stream_seconds: float = 0.0
    """How long this stream is said to be, 0 where nothing says it."""
    num_chapters: int = 0
    alpha: bool = False
    """The container says that an alpha channel comes with the pictures."""


@dataclass(frozen=True, slots=True)
class FirstPicture:
    """What only a decoded frame tells; the rotation is clockwise, in degrees."""

    pixel_format: str
    rotation_degrees: int
    hdr: Hdr = NO_HDR


def first_key_pts(index: FrameIndex) -> int:
    """PTS of the first key frame in decode order, of the first frame where none is marked."""
    keys = np.flatnonzero(index.keyframe)
    if not len(keys):
        return int(index.pts[0])
    return int(index.pts[keys[np.argmin(index.packet[keys])]])


def where_it_ends(head: Head, table: PacketTable, index: FrameIndex) -> str:
    """One clause; the whole is counted where the container says it, else reckoned from its duration."""
    whole = head.promised_frames
    if whole <= len(table):
        whole = round(head.promised_seconds * float(_rate(head, index)))
    return f"ends at frame {len(index)}" + (f" of {whole}" if whole > len(index) else " before the file is complete")


def last_frame_right(head: Head, table: PacketTable, index: FrameIndex) -> FrameIndex:
    """MP4 says by how much packets are decoded apart, not how long a frame is shown; the last one is shown to the stream's end.

    Believed only of an evenly spaced film of which all listed packets are there: elsewhere muxers count otherwise.
    """
    uneven = len(index) < 2 or int(np.ptp(np.diff(index.pts))) > 1
    if uneven or not head.container.startswith("mov") or not head.stream_ticks or head.promised_frames != len(table):
        return index
    last = int(index.pts[0]) + head.stream_ticks - int(index.pts[-1])
    return replace(index, duration=np.append(index.duration[:-1], last)) if last > 0 else index


def _rate(head: Head, index: FrameIndex) -> Fraction:
    """The container's average rate; where its frames tell another story (VFR, no rate given), frames over time."""
    stated = head.average_rate or Fraction(0)
    span = int(index.pts[-1] - index.pts[0]) * head.time_base
    if not span:
        return stated if 0 < stated <= 1000 else Fraction(25)
    measured = (len(index) - 1) / span
    return stated if abs(stated - measured) < measured * _RATE_TOLERANCE else measured.limit_denominator(1001)


def media_info(
    source: Source,
    head: Head,
    first: FirstPicture,
    table: PacketTable,
    index: FrameIndex,
    truncated: str,
    version: str,
    made_times: str = "",
    damage: str = "",
) -> MediaInfo:
    """The record of a probed source; reads the file again for its identity. Raises InputError for pictures of a pixel format
    that is not supported."""
    try:
        bit_depth = planar_format(first.pixel_format).bit_depth
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    return MediaInfo(
        source=source,
        identity=file_identity(source.path, source.video_stream, table, version, source.rate),
        container=head.container,
        streams=head.streams,
        codec=head.codec,
        width=head.width,
        height=head.height,
        pixel_format=first.pixel_format,
        bit_depth=bit_depth,
        time_base=head.time_base,
        average_rate=_rate(head, index),
        num_frames=len(index),
        num_chapters=head.num_chapters,
        sample_aspect_ratio=head.sample_aspect_ratio,
        rotation_degrees=first.rotation_degrees,
        field_order=head.field_order,
        colour=head.colour,
        size_bytes=source_size(source.path, version),
        truncated=truncated,
        version=version,
        hdr=first.hdr.completed_by(head.hdr),
        made_times=made_times,
        damage=damage,
        alpha=head.alpha or has_alpha(first.pixel_format),
    )
