"""Container -> MediaInfo and FrameIndex by demuxing; only the head (and the tail of a cut file) is decoded, as a check."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tasks.colourread import clockwise_turn, colour_tags, container_hdr, frame_hdr
from tasks.errors import SourceChanged, StorageError
from tasks.hdr import NO_HDR
from tasks.headers import FirstPicture, Head, first_key_pts, last_frame_right, media_info, where_it_ends
from tasks.indications import checked_head, damage_of
from tasks.location import is_remote
from tasks.messages import FrameIndex, Probe, Source, StreamInfo
from tasks.openfilm import KINDS, open_stream, version_of
from tasks.packetread import packets_to_the_end, read_packets
from tasks.packets import REMUX, PacketTable, frame_index, keep_frames
from tasks.retiming import BROADCAST, Timed, paired, timed
from tasks.sequence import find_sequence
from tasks.streamcheck import codec_name, is_cover
from tasks.streamlabels import language_of, title_of
from tasks.wholeness import broken_from
from vsalign.errors import InputError

_STREAM_SUFFIX = re.compile(r"^(?P<path>.+)#v:(?P<number>\d+)$")
_RATE_SUFFIX = re.compile(r"^(?P<path>.+)#fps:(?P<rate>[^#]*)$")
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)$")
_FIELD_ORDERS = ("unknown", "progressive", "tt", "bb", "tb", "bt")
#: So many pictures are decoded to see that they come in the order of their timestamps.
_HEAD_FRAMES = 24
#: More of the first frames than this missing means that packets are not frames (H.264 stored as separate fields).
_MOST_LOST = 0.3


def parse_source(text: str) -> Source:
    """``film.mkv``, ``s3://bucket/film.mkv``, ``film.mkv#v:1`` (the second video stream) or ``frame_%04d.png#fps:24`` (an image
    sequence and its rate); a file whose very name is ``text`` wins. Raises InputError for a rate that is none."""
    if not is_remote(text) and os.path.exists(text):
        return Source(text)
    if match := _RATE_SUFFIX.match(text):
        return Source(match["path"], rate=_rate_of(match["rate"], text))
    match = _STREAM_SUFFIX.match(text)
    if match is None:
        return Source(text)
    return Source(match["path"], int(match["number"]))


def _rate_of(text: str, given: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not Fraction(1, 100) <= rate <= 1000:
        raise InputError(
            f"{given}: the rate is {text!r}; accepted: pictures a second from 0.01 to 1000, such as 24 or 24000/1001"
        )
    return rate


def written_when(films: Iterable[str]) -> str:
    """Something that changes when one of these files is written again; addresses don't count, for their films are pinned to a
    version."""
    digest = hashlib.sha256()
    for source in (parse_source(film) for film in films if not is_remote(film)):
        try:
            sequence = find_sequence(source.path)
            files = sequence.files() if sequence else [source.path]
            digest.update(f"{max(os.stat(file).st_mtime_ns for file in files)};".encode())
        except (OSError, InputError):  # told where it is opened
            digest.update(b"-;")
    return digest.hexdigest()[:16]


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
    errors: list[str] = []
    with _opened(source, version, through=True, errors=errors) as (container, stream):
        head = _describe(container, stream)
        found = read_packets(container, stream, source, version)
    head = checked_head(head, str(source))
    times = timed(source, version, head, found.table)
    first, index, table = _listed(source, version, head, times)
    made_times = times.made
    index = index if made_times else last_frame_right(head, table, index)
    truncated = ""
    if found.cut_off:
        index = _check_tail(source, version, index, made_times)
        truncated = where_it_ends(head, table, index)
        if not allow_truncated:
            raise InputError(f"{source}: {truncated}; --allow-truncated renders what is there")
    seen = replace(found, table=table, errors=(*errors, *found.errors))
    damage = damage_of(head, index, seen, times.damage, broken_from(source.path, head.container, version))
    return Probe(media_info(source, head, first, table, index, truncated, version, made_times, damage), index)


def _listed(source: Source, version: str, head: Head, times: Timed) -> tuple[FirstPicture, FrameIndex, PacketTable]:
    """The frames and the packets they are in; where fields are stored one by one, in pairs."""
    table, made_times = times.table, times.made
    index = frame_index(table, head.time_base, str(source), true_dts=head.container in BROADCAST and not made_times)
    try:
        return (*_check_head(source, version, index, made_times), table)
    except _NotWholeFrames:
        if (pairs := paired(source, version, table)) is None:
            raise
    index = frame_index(pairs, head.time_base, str(source))
    return (*_check_head(source, version, index, made_times), pairs)


@contextmanager
def _opened(
    source: Source, version: str, through: bool = False, errors: list[str] | None = None
) -> Iterator[tuple[InputContainer, VideoStream]]:
    container, stream = open_stream(source, version, through, errors=errors)
    with container:
        yield container, stream


def _describe(container: InputContainer, stream: VideoStream) -> Head:
    context = stream.codec_context
    return Head(
        container=container.format.name,
        streams=tuple(_stream_info(s, container) for s in container.streams),
        num_chapters=len(container.chapters()),
        codec=context.codec.canonical_name,
        width=context.width,
        height=context.height,
        time_base=stream.time_base or Fraction(1, 1000),
        average_rate=stream.average_rate or stream.guessed_rate,
        sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
        field_order=_FIELD_ORDERS[context.field_order] if 0 <= context.field_order < len(_FIELD_ORDERS) else "unknown",
        colour=colour_tags(stream),
        hdr=container_hdr(stream),
        alpha=stream.metadata.get("alpha_mode") == "1",
        promised_frames=stream.frames,
        promised_seconds=(container.duration or 0) / av.time_base,
        nominal_rate=stream.guessed_rate or stream.average_rate,
        reorders=context.reorder_depth > 0,
        stream_ticks=stream.duration or 0,
        stream_seconds=_stream_seconds(container, stream),
    )


def _stream_info(stream: av.stream.Stream, container: InputContainer) -> StreamInfo:
    metadata = {name.lower(): value for name, value in stream.metadata.items()}
    return StreamInfo(
        index=stream.index,
        kind=stream.type if stream.type in KINDS else "data",  # type: ignore[arg-type]
        codec=_stream_codec(stream, container),
        language=language_of(metadata),
        time_base=stream.time_base or Fraction(0),
        title=title_of(metadata),
        is_cover=is_cover(stream),
        filename=metadata.get("filename", ""),
        mimetype=metadata.get("mimetype", ""),
    )


def _stream_codec(stream: av.stream.Stream, container: InputContainer) -> str:
    """FFmpeg's name; "" of a stream that it has no codec for. The streams that it makes of time codes and of chapters are
    called by what they are."""
    if stream.type == "data" and "mov" in container.format.name:
        if "timecode" in stream.metadata:
            return "tmcd"
        if stream.name == "bin_data" and container.chapters():
            return "chapters"
    return codec_name(stream)


def _stream_seconds(container: InputContainer, stream: VideoStream) -> float:
    """What the stream's own header or tag says; the container's word where there is no other stream that could be longer."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if found := _CLOCK.match(stream.metadata.get("DURATION", "")):
        return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
    return (container.duration or 0) / av.time_base if len(container.streams) == 1 else 0.0


class _NotWholeFrames(InputError):
    """Too many packets show nothing."""


def _check_head(source: Source, version: str, index: FrameIndex, made_times: str) -> tuple[FirstPicture, FrameIndex]:
    """Decode up to the first key frame's picture and a little on. Frames before it that no decoder shows (their references lie
    before the file's start) leave the index; InputError when pictures don't come in the order of their timestamps."""
    key_pts = first_key_pts(index)
    shown: list[int] = []
    first: FirstPicture | None = None
    hdr = NO_HDR
    for pts, frame in _decoded_from(source, version, None, index if made_times else None):
        first = first or FirstPicture(frame.format.name, clockwise_turn(frame, str(source)))
        hdr = hdr.completed_by(frame_hdr(frame))
        if shown and pts <= shown[-1]:
            raise InputError(f"{source}: timestamps do not follow the order in which frames are shown; {REMUX}")
        shown.append(pts)
        if pts >= key_pts and len(shown) >= _HEAD_FRAMES:
            break
    if first is None:
        raise InputError(f"{source}: no frame of this video stream can be decoded{_why_none(index)}")
    come = np.isin(index.pts, shown)
    # What begins in the middle of an intra refresh is shown from the first picture on that is wholly refreshed.
    promised = (index.pts >= max(key_pts, shown[0])) & (index.pts <= shown[-1])
    if np.count_nonzero(promised & ~come) > _MOST_LOST * np.count_nonzero(promised):
        raise _NotWholeFrames(f"{source}: too many of its first packets show no frame; it is damaged")
    return replace(first, hdr=hdr), keep_frames(index, come | (index.pts >= max(key_pts, shown[0])))


def _why_none(index: FrameIndex) -> str:
    """A recording that was cut out of an intra refresh: H.264 says where that is through, HEVC decoders don't look."""
    if index.keyframe.any():
        return ""
    return (
        ": it has no key frame to begin at; record or cut it anew from a key frame on, or make a film of what it holds: "
        "ffmpeg -flags +output_corrupt -i FILE -map 0 -c copy -c:v ffv1 FIXED.mkv (its first pictures are damaged)"
    )


def _check_tail(source: Source, version: str, index: FrameIndex, made_times: str) -> FrameIndex:
    """Decode the last groups of pictures of a cut file; frames that do not come out whole leave the index."""
    keys = index.pts[np.flatnonzero(index.keyframe)[-3:]]
    start = int(keys[0]) if len(keys) == 3 and not made_times else None
    stamps = index if made_times else None
    whole = [pts for pts, frame in _decoded_from(source, version, start, stamps) if not frame.is_corrupt]
    trusted_before = int(keys[1]) if start is not None else int(index.pts[0])
    kept = keep_frames(index, np.isin(index.pts, whole) | (index.pts < trusted_before))
    if not len(kept):
        raise InputError(f"{source}: no frame of this video stream can be decoded")
    return kept


def _decoded_from(
    source: Source, version: str, start_pts: int | None, stamps: FrameIndex | None
) -> Iterator[tuple[int, av.VideoFrame]]:
    """(pts, frame) from the key frame before ``start_pts`` (None: from the file's first packet) on; damage is skipped.

    ``stamps``: packets get their times from it, by their ranks; decoding has to begin with the first packet then.
    """
    stamped = dict(zip(stamps.packet.tolist(), stamps.pts.tolist(), strict=True)) if stamps else {}
    with _opened(source, version) as (container, stream):
        stream.thread_count = 1
        if start_pts is not None:
            container.seek(start_pts, stream=stream)
        for rank, packet in enumerate(packets_to_the_end(container, stream)):
            if stamps:
                packet.pts, packet.dts = stamped.get(rank), None
            try:
                yield from ((frame.pts, frame) for frame in packet.decode() if frame.pts is not None)
            except av.FFmpegError:
                continue
