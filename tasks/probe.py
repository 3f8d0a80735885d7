"""Container -> MediaInfo and FrameIndex by demuxing; only the head (and the tail of a cut file) is decoded, as a check."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tasks.errors import SourceChanged, StorageError
from tasks.headers import FirstPicture, Head, first_key_pts, media_info, where_it_ends
from tasks.location import is_remote
from tasks.messages import FrameIndex, Probe, Source, StreamInfo
from tasks.openfilm import KINDS, open_stream, version_of
from tasks.packets import REMUX, PacketTable, frame_index, hides_its_frame, keep_frames, packet_table
from tasks.remote import source_size
from tasks.wholeness import missing_bytes
from vsalign.errors import InputError
from vsalign.picture import ColourTags

_STREAM_SUFFIX = re.compile(r"^(?P<path>.+)#v:(?P<number>\d+)$")
_FIELD_ORDERS = ("unknown", "progressive", "tt", "bb", "tb", "bt")
#: So many pictures are decoded to see that they come in the order of their timestamps.
_HEAD_FRAMES = 24
#: More of the first frames than this missing means that packets are not frames (H.264 stored as separate fields).
_MOST_LOST = 0.3


def parse_source(text: str) -> Source:
    """``film.mkv``, ``s3://bucket/film.mkv`` or ``film.mkv#v:1`` (the second video stream); a file whose very name is ``text``
    wins."""
    match = _STREAM_SUFFIX.match(text)
    if match is None or (not is_remote(text) and os.path.exists(text)):
        return Source(text)
    return Source(match["path"], int(match["number"]))


def probe(source: Source, allow_truncated: bool = False) -> Probe:
    """Find what ``source`` holds and when each of its frames is shown.

    Reads the file once without decoding it. A file that ends too early is refused unless ``allow_truncated``; then the index
    holds the frames that are really there and ``MediaInfo.truncated`` says where it ends. Raises InputError, one line.
    """
    try:
        return _probe(source, version_of(source), allow_truncated)
    except (StorageError, SourceChanged) as error:
        raise InputError(str(error)) from None


def _probe(source: Source, version: str, allow_truncated: bool) -> Probe:
    with _opened(source, version, through=True) as (container, stream):
        head = _describe(container, stream)
        table, cut_off = _read_packets(container, stream, source, version)
    index = frame_index(table, head.time_base, str(source))
    first, index = _check_head(source, version, index)
    truncated = ""
    if cut_off:
        index = _check_tail(source, version, index)
        truncated = where_it_ends(head, table, index)
        if not allow_truncated:
            raise InputError(f"{source}: {truncated}; --allow-truncated renders what is there")
    return Probe(media_info(source, head, first, table, index, truncated, version), index)


@contextmanager
def _opened(source: Source, version: str, through: bool = False) -> Iterator[tuple[InputContainer, VideoStream]]:
    container, stream = open_stream(source, version, through)
    with container:
        yield container, stream


def _describe(container: InputContainer, stream: VideoStream) -> Head:
    context = stream.codec_context
    return Head(
        container=container.format.name,
        streams=tuple(_stream_info(s) for s in container.streams),
        codec=context.codec.canonical_name,
        width=context.width,
        height=context.height,
        time_base=stream.time_base or Fraction(1, 1000),
        average_rate=stream.average_rate or stream.guessed_rate,
        sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
        field_order=_FIELD_ORDERS[context.field_order] if 0 <= context.field_order < len(_FIELD_ORDERS) else "unknown",
        colour=_colour_tags(stream),
        promised_frames=stream.frames,
        promised_seconds=(container.duration or 0) / av.time_base,
    )


def _stream_info(stream: av.stream.Stream) -> StreamInfo:
    context = stream.codec_context
    language = stream.metadata.get("language", "")
    return StreamInfo(
        index=stream.index,
        kind=stream.type if stream.type in KINDS else "data",  # type: ignore[arg-type]
        codec=context.codec.canonical_name if context is not None else stream.name or "",
        language="" if language == "und" else language,
        time_base=stream.time_base or Fraction(0),
    )


def _colour_tags(stream: VideoStream) -> ColourTags:
    context = stream.codec_context
    full = (context.pix_fmt or "").startswith("yuvj")
    return ColourTags(
        primaries=int(context.color_primaries),
        transfer=int(context.color_trc),
        matrix=int(context.colorspace),
        range=2 if full else int(context.color_range),
        chroma_location=_chroma_location(stream),
    )


def _chroma_location(stream: VideoStream) -> int:
    """PyAV doesn't show it, but the Matroska muxer writes it down: ask for a header in memory and read it there."""
    written = io.BytesIO()
    try:
        with av.open(written, "w", format="matroska") as scratch:
            scratch.add_stream_from_template(stream, opaque=True)
            scratch.start_encoding()
            header = written.getvalue()
    except (av.FFmpegError, ValueError):
        return 0
    horizontal, vertical = (_small_element(header, name) for name in (b"\x55\xb7\x81", b"\x55\xb8\x81"))
    return {(1, 2): 1, (2, 2): 2, (1, 1): 3, (2, 1): 4}.get((horizontal, vertical), 0)


def _small_element(header: bytes, name: bytes) -> int:
    at = header.find(name)
    return header[at + len(name)] if at >= 0 else 0


def _read_packets(container: InputContainer, stream: VideoStream, source: Source, version: str) -> tuple[PacketTable, bool]:
    """All whole packets of the stream in file order, and whether the file ends before it should."""
    codec, file_size = stream.codec_context.codec.canonical_name, source_size(source.path, version)
    rows: list[tuple[int | None, int, bool, int, bool]] = []
    cut_off = False
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue  # the flush packet that closes every stream
            if packet.is_corrupt or (packet.pos is not None and packet.pos + packet.size > file_size):
                cut_off = True
                continue
            visible = not packet.is_discard and not hides_its_frame(codec, memoryview(packet))
            rows.append((packet.pts, packet.duration or 0, packet.is_keyframe, packet.size, visible))
    except av.FFmpegError:
        cut_off = True
    # MP4 lists all samples up front: one that lies past the file's end was cut off
    cut_off = cut_off or any(entry.pos + entry.size > file_size for entry in stream.index_entries)
    # Last: by now a remote film's blocks are on this machine.
    cut_off = cut_off or missing_bytes(source.path, container.format.name, version) > 0
    return packet_table(*zip(*rows, strict=True)) if rows else packet_table([], [], [], [], []), cut_off


def _check_head(source: Source, version: str, index: FrameIndex) -> tuple[FirstPicture, FrameIndex]:
    """Decode up to the first key frame's picture and a little on. Frames before it that no decoder shows (their references lie
    before the file's start) leave the index; InputError when pictures don't come in the order of their timestamps."""
    key_pts = first_key_pts(index)
    shown: list[int] = []
    first: FirstPicture | None = None
    for pts, frame in _decoded_from(source, version, None):
        first = first or FirstPicture(frame.format.name, -frame.rotation % 360)
        if shown and pts <= shown[-1]:
            raise InputError(f"{source}: timestamps do not follow the order in which frames are shown; {REMUX}")
        shown.append(pts)
        if pts >= key_pts and len(shown) >= _HEAD_FRAMES:
            break
    if first is None:
        raise InputError(f"{source}: no frame of this video stream can be decoded")
    come = np.isin(index.pts, shown)
    promised = (index.pts >= key_pts) & (index.pts <= shown[-1])
    if np.count_nonzero(promised & ~come) > _MOST_LOST * np.count_nonzero(promised):
        raise InputError(f"{source}: its packets are not whole frames (separate fields, it seems); {REMUX}")
    return first, keep_frames(index, come | (index.pts > shown[-1]))


def _check_tail(source: Source, version: str, index: FrameIndex) -> FrameIndex:
    """Decode the last groups of pictures of a cut file; frames that do not come out whole leave the index."""
    keys = index.pts[np.flatnonzero(index.keyframe)[-3:]]
    start = int(keys[0]) if len(keys) == 3 else None
    whole = [pts for pts, frame in _decoded_from(source, version, start) if not frame.is_corrupt]
    trusted_before = int(keys[1]) if start is not None else int(index.pts[0])
    kept = keep_frames(index, np.isin(index.pts, whole) | (index.pts < trusted_before))
    if not len(kept):
        raise InputError(f"{source}: no frame of this video stream can be decoded")
    return kept


def _decoded_from(source: Source, version: str, start_pts: int | None) -> Iterator[tuple[int, av.VideoFrame]]:
    """(pts, frame) from the key frame before ``start_pts`` (None: from the file's first packet) on; damage is skipped."""
    with _opened(source, version) as (container, stream):
        stream.thread_count = 1
        if start_pts is not None:
            container.seek(start_pts, stream=stream)
        for packet in _undamaged_packets(container, stream):
            try:
                yield from ((frame.pts, frame) for frame in packet.decode() if frame.pts is not None)
            except av.FFmpegError:
                continue


def _undamaged_packets(container: InputContainer, stream: VideoStream) -> Iterator[av.packet.Packet[VideoStream]]:
    """Packets up to where the demuxer gives up; the flush packet comes in any case."""
    try:
        yield from container.demux(stream)
    except av.FFmpegError:
        flush = av.Packet()
        flush.stream = stream
        yield flush  # type: ignore[misc]
