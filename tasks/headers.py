"""What a container's headers say, and how it becomes MediaInfo together with the frames found. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tasks.formats import planar_format
from tasks.messages import FrameIndex, MediaInfo, Source, StreamInfo
from tasks.packets import PacketTable, file_identity
from tasks.remote import source_size
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


@dataclass(frozen=True, slots=True)
class FirstPicture:
    """What only a decoded frame tells; the rotation is clockwise, in degrees."""

    pixel_format: str
    rotation_degrees: int


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


def _rate(head: Head, index: FrameIndex) -> Fraction:
    """The container's average rate; where its frames tell another story (VFR, no rate given), frames over time."""
    stated = head.average_rate or Fraction(0)
    span = int(index.pts[-1] - index.pts[0]) * head.time_base
    if not span:
        return stated if 0 < stated <= 1000 else Fraction(25)
    measured = (len(index) - 1) / span
    return stated if abs(stated - measured) < measured * _RATE_TOLERANCE else measured.limit_denominator(1001)


def media_info(
    source: Source, head: Head, first: FirstPicture, table: PacketTable, index: FrameIndex, truncated: str, version: str
) -> MediaInfo:
    """The record of a probed source; reads the file again for its identity."""
    return MediaInfo(
        source=source,
        identity=file_identity(source.path, source.video_stream, table, version),
        container=head.container,
        streams=head.streams,
        codec=head.codec,
        width=head.width,
        height=head.height,
        pixel_format=first.pixel_format,
        bit_depth=planar_format(first.pixel_format).bit_depth,
        time_base=head.time_base,
        average_rate=_rate(head, index),
        num_frames=len(index),
        sample_aspect_ratio=head.sample_aspect_ratio,
        rotation_degrees=first.rotation_degrees,
        field_order=head.field_order,
        colour=head.colour,
        size_bytes=source_size(source.path, version),
        truncated=truncated,
        version=version,
    )
