"""Segments and ref's audio -> the finished film: packets are copied, only their times are new.

Time in the output. mp4 and mov keep ref's time base, so every PTS is exact, also a first one later than zero (an edit list
holds it). Matroska counts milliseconds: each PTS is rounded to it once, from ref's table. A ref that starts before zero is
moved, with the audio, so that its first frame is at zero: mp4 would hide what lies before. Audio that starts before zero (the
priming of AAC) is kept by mp4; Matroska moves all streams later by that little. Picture and sound always keep their relation.
"""

from __future__ import annotations

import heapq
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import lru_cache
from operator import itemgetter
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from tasks.codecs import container_of
from tasks.encode import header_hash, needs_pixel_shape
from tasks.errors import StitchError
from tasks.joinplan import (
    LARGEST_TIMESCALE,
    AudioCopy,
    Film,
    SegmentPlan,
    StitchResult,
    VerifyResult,
    check_plan,
    check_times,
    head_start,
    is_constant_rate,
    picture_problems,
    stream_labels,
)
from tasks.messages import MediaInfo
from tasks.pixelshape import ROOM, write_pixel_shape
from tasks.remote import open_source
from tasks.timing import DecodeClock, MoreDelayNeeded, rank_in_window, rounded_pts
from vsalign.errors import InputError

__all__ = ["AudioCopy", "SegmentPlan", "StitchResult", "VerifyResult", "check_audio", "stitch", "verify"]

#: No codec that is written here shows a frame further than this from where it is decoded (H.264 and HEVC: 16).
_REORDER_WINDOW = 64
_PROGRESS_STEP = 500
#: Segments are our own: their headers are complete, nothing has to be guessed by decoding.
_SEGMENT_OPTIONS = {"analyzeduration": "0", "probesize": "32"}
#: The longest start-up of a common audio codec (Opus: 80 ms at most) with room to spare.
_PRIMING_SECONDS = Fraction(1, 10)


def check_audio(info: MediaInfo, out_path: str) -> None:
    """Raise InputError naming the stream when the output container cannot hold an audio stream of ``info``'s file."""
    container = container_of(out_path)
    for stream in info.streams:
        if stream.kind == "audio" and stream.codec not in _audio_codecs(container):
            language = f" ({stream.language})" if stream.language else ""
            raise InputError(
                f"{out_path}: {container} cannot hold stream #{stream.index}{language} of {info.source.path}, "
                f"{stream.codec} audio; .mkv can, or --audio none leaves it out"
            )


@lru_cache(maxsize=4)
def _audio_codecs(container: str) -> frozenset[str]:
    with av.open(io.BytesIO(), "w", format=container) as scratch:
        names = scratch.supported_codecs
    return frozenset(names | {_canonical_name(name) for name in names})


def _canonical_name(name: str) -> str:
    for mode in ("r", "w"):
        try:
            return av.codec.Codec(name, mode).canonical_name
        except ValueError:
            continue
    return name


def stitch(
    segments: Sequence[SegmentPlan],
    pts: npt.NDArray[np.int64],
    time_base: Fraction,
    last_duration: int,
    out_path: str,
    audio: AudioCopy | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> StitchResult:
    """Join segments to one film and add the audio. ``pts`` (ticks of ``time_base``) times all ref frames, the last of which is
    shown for ``last_duration`` ticks. Equal inputs give equal bytes; only ``out_path`` is written.

    ``on_progress`` gets the number of frames written so far. Raises StitchError when segments and plan do not make one film.
    """
    container = container_of(out_path)
    check_plan(segments, pts)
    check_times(pts, time_base, container)
    film = Film(segments, pts + head_start(pts), np.append(np.diff(pts), last_duration), time_base, head_start(pts))
    delay = _promised_delay(segments[0].path)
    while True:
        try:
            return _write(film, delay, out_path, audio, on_progress or (lambda frames: None))
        except MoreDelayNeeded as needed:
            delay = needed.delay  # rare: the codec's header promised less reordering than it does
        except av.FFmpegError as error:
            raise StitchError(f"{out_path}: cannot be written ({error})") from error


def _promised_delay(path: str) -> int:
    """How many frames the segment's codec header says that pictures are reordered by."""
    with _segment(path, {}) as (_, stream):
        return stream.codec_context.reorder_depth


@contextmanager
def _segment(path: str, options: dict[str, str]) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        with av.open(path, "r", options=options) as container:
            if not container.streams.video:
                raise StitchError(f"{path}: segment has no video stream")
            yield container, container.streams.video[0]
    except (av.FFmpegError, FileNotFoundError) as error:
        raise StitchError(f"{path}: segment cannot be read ({error})") from error


def _write(film: Film, delay: int, out_path: str, audio: AudioCopy | None, on_progress: Callable[[int], None]) -> StitchResult:
    with ExitStack() as files:
        sound = files.enter_context(av.open(open_source(audio.source_path, audio.version), "r")) if audio else None
        out = files.enter_context(_output(out_path, film.time_base, sound))
        with _segment(film.segments[0].path, {}) as (_, first):
            shape = first.sample_aspect_ratio or Fraction(1)
            size, shape_last = (first.width, first.height), out.format.name == "matroska" and needs_pixel_shape(first, shape)
            video_out = _add_video(out, first, film, shape_last)
        audio_outs = _add_audio(out, sound) if sound else {}
        out.start_encoding()
        video = _video_packets(film, delay, video_out, on_progress)
        heard = _audio_packets(sound, audio_outs, audio.moved(film.moved * film.time_base)) if audio and sound else iter(())
        num_audio = 0
        for _, packet in heapq.merge(video, heard, key=itemgetter(0)):
            out.mux_one(packet)
            num_audio += packet.stream is not video_out
    if shape_last:
        write_pixel_shape(out_path, *size, shape)
    on_progress(len(film.pts))
    return StitchResult(out_path, len(film.pts), num_audio, os.path.getsize(out_path))


def _output(path: str, time_base: Fraction, sound: InputContainer | None) -> OutputContainer:
    container, options = container_of(path), {"fflags": "+bitexact"}
    if container == "matroska":
        # Else an audio codec's priming, which lies before zero, would move every frame later.
        options["avoid_negative_ts"] = "disabled"
    else:
        scale = time_base.denominator
        rates = [s.codec_context.sample_rate for s in sound.streams.audio if s.codec_context.sample_rate] if sound else []
        # start times are kept in the movie's own time scale: it has to hold those of picture and sound exactly
        whole = math.lcm(scale, *rates)
        options |= {
            "video_track_timescale": str(scale),
            "movie_timescale": str(whole if whole <= LARGEST_TIMESCALE else scale),
        }
    return av.open(path, "w", format=container, container_options=options)


def _add_video(out: OutputContainer, template: VideoStream, film: Film, room_for_shape: bool) -> VideoStream:
    stream = out.add_stream_from_template(template, opaque=True)
    stream.time_base = film.time_base
    if template.codec_context.codec.canonical_name == "hevc" and out.format.name != "matroska":
        stream.codec_context.codec_tag = "hvc1"  # the headers are in the container only; Apple's players insist on this name
    stream.codec_context.sample_aspect_ratio = template.sample_aspect_ratio or Fraction(1)  # for mp4 and mov
    if room_for_shape:
        stream.metadata["title"] = ROOM
    if not is_constant_rate(film.pts):
        stream.codec_context.framerate = Fraction(0)
    return stream


def _add_audio(out: OutputContainer, sound: InputContainer) -> dict[int, AudioStream]:
    """Output stream of each audio stream, by its index in the source."""
    streams = {}
    for source in sound.streams.audio:
        stream = out.add_stream_from_template(source, opaque=True)
        stream.metadata.update(stream_labels(source.metadata, out.format.name))
        stream.disposition = source.disposition
        streams[source.index] = stream
    return streams


#: Decode time in seconds (to sort by, never to store), packet with its final integer times.
type _Timed = tuple[float, Packet[Any]]


def _video_packets(film: Film, delay: int, out: VideoStream, on_progress: Callable[[int], None]) -> Iterator[_Timed]:
    clock, seconds, position, header = DecodeClock(film.pts, delay), float(film.time_base), 0, ""
    for segment in film.segments:
        with _segment(segment.path, _SEGMENT_OPTIONS) as (container, stream):
            header = _checked_header(segment, stream, header)
            for rank, packet in _ranked(container, stream, segment):
                frame = segment.ref_frames.start + rank
                packet.pts, packet.dts = int(film.pts[frame]), clock.dts(position, frame)
                packet.duration, packet.time_base = int(film.durations[frame]), film.time_base
                packet.stream = out
                yield packet.dts * seconds, packet
                position += 1
                if position % _PROGRESS_STEP == 0:
                    on_progress(position)
        if position != segment.ref_frames.stop:
            found = position - segment.ref_frames.start
            raise StitchError(f"{segment.path}: segment has {found} frames, the plan has {len(segment.ref_frames)}")


def _checked_header(segment: SegmentPlan, stream: VideoStream, expected: str) -> str:
    found = header_hash(stream)
    if expected and found != expected:
        raise StitchError(
            f"{segment.path}: codec header differs from the first segment's; render frames {segment.ref_frames} again"
        )
    return found


def _ranked(container: InputContainer, stream: VideoStream, segment: SegmentPlan) -> Iterator[tuple[int, Packet[VideoStream]]]:
    """(rank by pts, packet) in decode order; StitchError when the segment's frames are not those of the plan."""
    window = 0 if stream.codec_context.codec.intra_only else _REORDER_WINDOW
    timed = ((packet.pts, packet) for packet in container.demux(stream) if packet.size and packet.pts is not None)
    for rank, packet in rank_in_window(timed, window, segment.path):
        if rank >= len(segment.ref_frames):
            raise StitchError(f"{segment.path}: segment has more frames than the {len(segment.ref_frames)} of the plan")
        if rank == 0 and not packet.is_keyframe:
            raise StitchError(f"{segment.path}: segment does not start with a key frame")
        yield rank, packet


def _audio_packets(sound: InputContainer, outs: dict[int, AudioStream], audio: AudioCopy) -> Iterator[_Timed]:
    """Audio packets with all their bytes, moved by the shift; decode times made to rise where the source's do not.

    What would sound before the film begins is left out, up to the priming that a decoder needs.
    """
    last: dict[int, int] = {}
    for packet in sound.demux(*sound.streams.audio):
        if not packet.size:
            continue
        index, time_base = packet.stream_index, packet.time_base
        shift = round(audio.shift_seconds / time_base)
        given = packet.dts if packet.dts is not None else packet.pts
        if given is not None and audio.is_over(given * time_base):
            continue
        dts = given + shift if given is not None else last.get(index, shift - 1) + 1
        if dts * time_base < -_PRIMING_SECONDS:
            continue
        dts = max(dts, last[index] + 1) if index in last else dts
        pts = packet.pts + shift if packet.pts is not None else dts
        packet.dts, packet.pts, last[index] = dts, max(pts, dts), dts
        packet.stream = outs[index]
        yield dts * float(time_base), packet


def verify(path: str, pts: npt.NDArray[np.int64], time_base: Fraction, audio_expected: bool) -> VerifyResult:
    """Demux a finished film and compare it with ref's ``pts`` (ticks of ``time_base``); an unreadable file is a problem too."""
    try:
        with av.open(path, "r") as container:
            return _verified(path, container, pts, time_base, audio_expected)
    except (av.FFmpegError, OSError) as error:
        return VerifyResult(path, 0, 0, (f"{path} cannot be read: {error}",))


def _verified(
    path: str, container: InputContainer, pts: npt.NDArray[np.int64], time_base: Fraction, audio_expected: bool
) -> VerifyResult:
    if not container.streams.video:
        return VerifyResult(path, 0, 0, (f"{path} has no video stream",))
    stream = container.streams.video[0]
    assert stream.time_base is not None
    rows: list[tuple[int | None, int | None, bool]] = []
    heard = 0
    for packet in container.demux(stream, *container.streams.audio):
        if packet.size and packet.stream_index == stream.index and not packet.is_discard:
            rows.append((packet.pts, packet.dts, packet.is_keyframe))
        elif packet.size:
            heard += 1
    expected = rounded_pts(pts + head_start(pts), time_base, stream.time_base)
    problems = [*picture_problems(rows, expected)]
    if audio_expected and not heard:
        problems.append("no audio packet, audio was expected")
    return VerifyResult(path, len(rows), len(container.streams.audio), tuple(problems))
