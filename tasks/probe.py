"""Container -> MediaInfo and FrameIndex by demuxing; only the head (and the tail of a cut file) is decoded, as a check."""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tasks.headers import FirstPicture, Head, first_key_pts, media_info, where_it_ends
from tasks.messages import FrameIndex, Probe, Source, StreamInfo
from tasks.packets import REMUX, PacketTable, frame_index, hides_its_frame, keep_frames, packet_table
from tasks.wholeness import missing_bytes
from vsalign.errors import InputError
from vsalign.picture import ColourTags

_STREAM_SUFFIX = re.compile(r"^(?P<path>.+)#v:(?P<number>\d+)$")
_FIELD_ORDERS = ("unknown", "progressive", "tt", "bb", "tb", "bt")
#: So many pictures are decoded to see that they come in the order of their timestamps.
_HEAD_FRAMES = 24
#: FFmpeg's log level belongs to the whole process.
_log_level = threading.RLock()
#: More of the first frames than this missing means that packets are not frames (H.264 stored as separate fields).
_MOST_LOST = 0.3
_KINDS = ("video", "audio", "subtitle", "data", "attachment")
#: Demuxers that make pictures out of things that are no film (a text file would "play" as a scrolling terminal).
_NOT_FILMS = ("tty", "lrc", "srt", "ass", "webvtt", "sbg", "bin", "xbin", "idf", "adf")


def parse_source(text: str) -> Source:
    """``film.mkv`` or ``film.mkv#v:1`` (the second video stream); a file whose very name is ``text`` wins."""
    match = _STREAM_SUFFIX.match(text)
    if match is None or os.path.exists(text):
        return Source(text)
    return Source(match["path"], int(match["number"]))


def probe(source: Source, allow_truncated: bool = False) -> Probe:
    """Find what ``source`` holds and when each of its frames is shown.

    Reads the file once without decoding it. A file that ends too early is refused unless ``allow_truncated``; then the index
    holds the frames that are really there and ``MediaInfo.truncated`` says where it ends. Raises InputError, one line.
    """
    with _opened(source) as (container, stream):
        head = _describe(container, stream)
        table, cut_off = _read_packets(container, stream, source)
    index = frame_index(table, head.time_base, str(source))
    first, index = _check_head(source, index)
    truncated = ""
    if cut_off:
        index = _check_tail(source, index)
        truncated = where_it_ends(head, table, index)
        if not allow_truncated:
            raise InputError(f"{source}: {truncated}; --allow-truncated renders what is there")
    return Probe(media_info(source, head, first, table, index, truncated), index)


@contextmanager
def _opened(source: Source) -> Iterator[tuple[InputContainer, VideoStream]]:
    container, stream = open_stream(source)
    with container:
        yield container, stream


def _open(source: Source) -> InputContainer:
    try:
        with captured_log(av.logging.ERROR):  # so that the error brings the log line that explains it
            return av.open(source.path, "r")
    except FileNotFoundError:
        raise InputError(f"{source.path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{source.path}: is a folder, not a video file") from None
    except PermissionError:
        raise InputError(f"{source.path}: may not be read (permission denied)") from None
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{source.path}: not a readable video file ({_reason(error)})") from None


@contextmanager
def captured_log(level: int) -> Iterator[list[tuple[int, str, str]]]:
    """FFmpeg's log lines (level, who, text) of this thread while the block runs; the process-wide level is put back."""
    with _log_level:
        before = av.logging.get_level()
        av.logging.set_level(level)
        try:
            with av.logging.Capture(local=True) as log:
                yield log
        finally:
            av.logging.set_level(before)


def _reason(error: Exception) -> str:
    """FFmpeg's last log line says more than its error name ("moov atom not found")."""
    log = getattr(error, "log", None)
    text = log[2] if log else getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())


def open_stream(source: Source) -> tuple[InputContainer, VideoStream]:
    """The opened file (the caller closes it) and the chosen video stream, all others discarded; raises InputError."""
    container = _open(source)
    try:
        return container, _video_stream(container, source)
    except BaseException:
        container.close()
        raise


def _video_stream(container: InputContainer, source: Source) -> VideoStream:
    if container.format.name in _NOT_FILMS:
        raise InputError(f"{source.path}: not a video file (it reads as {container.format.name!r})")
    attached = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & attached]
    if not streams:
        raise InputError(f"{source.path}: no video stream ({_count_streams(container)})")
    if source.video_stream >= len(streams):
        last = len(streams) - 1
        accepted = "#v:0" if last == 0 else f"#v:0 to #v:{last}"
        raise InputError(f"{source}: the file has {len(streams)} video stream{'s' * (last > 0)}; accepted are {accepted}")
    chosen = streams[source.video_stream]
    if chosen.codec_context is None:
        raise InputError(f"{source}: no decoder for this video stream")
    for other in container.streams:
        if other.index != chosen.index:
            other.discard = av.stream.Discard.all
    return chosen


def _count_streams(container: InputContainer) -> str:
    kinds = [s.type for s in container.streams]
    counts = [f"{kinds.count(kind)} {kind}" for kind in _KINDS if kind in kinds]
    return "it has " + ", ".join(counts) if counts else "it has no streams at all"


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
        kind=stream.type if stream.type in _KINDS else "data",  # type: ignore[arg-type]
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


def _read_packets(container: InputContainer, stream: VideoStream, source: Source) -> tuple[PacketTable, bool]:
    """All whole packets of the stream in file order, and whether the file ends before it should."""
    codec, file_size = stream.codec_context.codec.canonical_name, os.path.getsize(source.path)
    rows: list[tuple[int | None, int, bool, int, bool]] = []
    cut_off = missing_bytes(source.path, container.format.name) > 0
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
    return packet_table(*zip(*rows, strict=True)) if rows else packet_table([], [], [], [], []), cut_off


def _check_head(source: Source, index: FrameIndex) -> tuple[FirstPicture, FrameIndex]:
    """Decode up to the first key frame's picture and a little on. Frames before it that no decoder shows (their references lie
    before the file's start) leave the index; InputError when pictures don't come in the order of their timestamps."""
    key_pts = first_key_pts(index)
    shown: list[int] = []
    first: FirstPicture | None = None
    for pts, frame in _decoded_from(source, None):
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


def _check_tail(source: Source, index: FrameIndex) -> FrameIndex:
    """Decode the last groups of pictures of a cut file; frames that do not come out whole leave the index."""
    keys = index.pts[np.flatnonzero(index.keyframe)[-3:]]
    start = int(keys[0]) if len(keys) == 3 else None
    whole = [pts for pts, frame in _decoded_from(source, start) if not frame.is_corrupt]
    trusted_before = int(keys[1]) if start is not None else int(index.pts[0])
    kept = keep_frames(index, np.isin(index.pts, whole) | (index.pts < trusted_before))
    if not len(kept):
        raise InputError(f"{source}: no frame of this video stream can be decoded")
    return kept


def _decoded_from(source: Source, start_pts: int | None) -> Iterator[tuple[int, av.VideoFrame]]:
    """(pts, frame) from the key frame before ``start_pts`` (None: from the file's first packet) on; damage is skipped."""
    with _opened(source) as (container, stream):
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
