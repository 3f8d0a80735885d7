"""Segments and what the film has beside its picture -> the finished film: packets are copied, only their times are new.

Time in the output. mp4 and mov keep ref's time base, so every PTS is exact, also a first one later than zero (an edit list
holds it). Matroska counts milliseconds: each PTS is rounded to it once, from ref's table. A ref that starts before zero is
moved, with all its streams, so that its first frame is at zero: mp4 would hide what lies before. Audio that starts before zero
(the priming of AAC) stays there. Picture, sound and subtitles always keep their relation. Packets of all streams are muxed in
the order of their decode times, so that whoever seeks finds sound and subtitles beside the picture.
"""

from __future__ import annotations

import heapq
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from operator import itemgetter
from types import MappingProxyType

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from tasks.codecs import container_of
from tasks.contents import Contents, content_problems, label_problems
from tasks.encode import header_hash, needs_pixel_shape
from tasks.errors import StitchError
from tasks.joinplan import (
    LARGEST_TIMESCALE,
    Film,
    SegmentPlan,
    StitchResult,
    VerifyResult,
    check_plan,
    check_times,
    head_start,
    is_constant_rate,
    picture_problems,
)
from tasks.streamcheck import ContentsWatch
from tasks.streamcopy import ExtraStreams, Timed
from tasks.streamplan import NO_EXTRAS, Extras
from tasks.timing import DecodeClock, MoreDelayNeeded, rank_in_window, rounded_pts
from tasks.trackroom import ROOM, fill_room

__all__ = ["SegmentPlan", "StitchResult", "VerifyResult", "stitch", "verify"]

#: No codec that is written here shows a frame further than this from where it is decoded (H.264 and HEVC: 16).
_REORDER_WINDOW = 64
_PROGRESS_STEP = 500
#: Segments are our own: their headers are complete, nothing has to be guessed by decoding.
_SEGMENT_OPTIONS = {"analyzeduration": "0", "probesize": "32"}
#: Packets come in order: FFmpeg need not wait for a stream that is silent, with all others in memory, for longer (in µs).
_MOST_WAIT = 500_000


def stitch(
    segments: Sequence[SegmentPlan],
    pts: npt.NDArray[np.int64],
    time_base: Fraction,
    last_duration: int,
    out_path: str,
    extras: Extras = NO_EXTRAS,
    on_progress: Callable[[int], None] | None = None,
    options: Mapping[str, str] = MappingProxyType({}),
) -> StitchResult:
    """Join segments to one film and add the ``extras``. ``pts`` (ticks of ``time_base``) times all ref frames, the last of
    which is shown for ``last_duration`` ticks. Equal inputs give equal bytes; only ``out_path`` is written.

    ``on_progress`` gets the number of frames written so far, the muxer ``options``. Raises StitchError when segments and plan
    do not make one film.
    """
    container = container_of(out_path)
    check_plan(segments, pts)
    check_times(pts, time_base, container)
    film = Film(segments, pts + head_start(pts), np.append(np.diff(pts), last_duration), time_base, head_start(pts))
    delay = _promised_delay(segments[0].path)
    while True:
        try:
            return _write(film, delay, out_path, extras, options, on_progress or (lambda frames: None))
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


def _write(
    film: Film, delay: int, out_path: str, extras: Extras, options: Mapping[str, str], on_progress: Callable[[int], None]
) -> StitchResult:
    with ExitStack() as files:
        others = files.enter_context(ExtraStreams(extras, film.moved * film.time_base, film.stop_seconds))
        out = files.enter_context(_output(out_path, film.time_base, others.sample_rates, options))
        with _segment(film.segments[0].path, {}) as (_, first):
            shape = first.sample_aspect_ratio or Fraction(1)
            size, shape_last = (first.width, first.height), out.format.name == "matroska" and needs_pixel_shape(first, shape)
            picture = _add_picture(out, first, film)
        others.add_to(out, picture, is_constant_rate(film.pts))
        if shape_last:
            picture.metadata["title"] = ROOM + picture.metadata.get("title", "")
        out.start_encoding()
        for packet in others.cover_packets():
            out.mux_one(packet)
        for _, packet in heapq.merge(_picture_packets(film, delay, picture, on_progress), *others.packets(), key=itemgetter(0)):
            out.mux_one(packet)
    if shape_last:
        fill_room(out_path, *size, shape)
    on_progress(len(film.pts))
    size_bytes, left_out = os.path.getsize(out_path), dict(others.left_out)
    return StitchResult(out_path, len(film.pts), size_bytes, others.contents(), left_out, others.told())


def _output(path: str, time_base: Fraction, sample_rates: Sequence[int], wanted: Mapping[str, str]) -> OutputContainer:
    container, options = container_of(path), {**wanted, "fflags": "+bitexact", "max_interleave_delta": str(_MOST_WAIT)}
    if container == "matroska":
        # Else an audio codec's priming, which lies before zero, would move every frame later.
        options["avoid_negative_ts"] = "disabled"
    else:
        scale = time_base.denominator
        # start times are kept in the movie's own time scale: it has to hold those of picture and sound exactly
        whole = math.lcm(scale, *sample_rates)
        options |= {
            "video_track_timescale": str(scale),
            "movie_timescale": str(whole if whole <= LARGEST_TIMESCALE else scale),
        }
    return av.open(path, "w", format=container, container_options=options)


def _add_picture(out: OutputContainer, template: VideoStream, film: Film) -> VideoStream:
    stream = out.add_stream_from_template(template, opaque=True)
    stream.time_base = film.time_base
    if template.codec_context.codec.canonical_name == "hevc" and out.format.name != "matroska":
        stream.codec_context.codec_tag = "hvc1"  # the headers are in the container only; Apple's players insist on this name
    stream.codec_context.sample_aspect_ratio = template.sample_aspect_ratio or Fraction(1)  # for mp4 and mov
    if not is_constant_rate(film.pts):
        stream.codec_context.framerate = Fraction(0)
    return stream


def _picture_packets(film: Film, delay: int, out: VideoStream, on_progress: Callable[[int], None]) -> Iterator[Timed]:
    clock, seconds, position, header = DecodeClock(film.pts, delay), float(film.time_base), 0, ""
    for segment in film.segments:
        with _segment(segment.path, _SEGMENT_OPTIONS) as (container, stream):
            header = _checked_header(segment, stream, header)
            for rank, packet in _ranked(container, stream, segment):
                frame = segment.ref_frames.start + rank
                packet.pts, packet.dts = int(film.pts[frame]), clock.dts(position, frame)
                packet.duration, packet.time_base = clock.duration(position, frame, film.durations), film.time_base
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


def verify(path: str, pts: npt.NDArray[np.int64], time_base: Fraction, expected: Contents | None = None) -> VerifyResult:
    """Demux a finished film and compare it with ref's ``pts`` (ticks of ``time_base``) and what is ``expected`` beside the
    picture (None: anything); an unreadable file is a problem too."""
    try:
        with av.open(path, "r") as container:
            return _verified(path, container, pts, time_base, expected)
    except (av.FFmpegError, OSError, UnicodeDecodeError) as error:
        return VerifyResult(path, 0, Contents(), (f"{path} cannot be read: {error}",))


def _verified(
    path: str, container: InputContainer, pts: npt.NDArray[np.int64], time_base: Fraction, expected: Contents | None
) -> VerifyResult:
    watch = ContentsWatch(container)
    stream = watch.picture
    if stream is None:
        return VerifyResult(path, 0, Contents(), (f"{path} has no video stream",))
    assert stream.time_base is not None
    rows: list[tuple[int | None, int | None, bool]] = []
    for packet in container.demux(stream, *watch.streams):
        if not packet.size:
            continue
        if packet.stream_index != stream.index:
            watch.take(packet)
        elif not packet.is_discard:
            rows.append((packet.pts, packet.dts, packet.is_keyframe))
    problems = [*picture_problems(rows, rounded_pts(pts + head_start(pts), time_base, stream.time_base))]
    found = watch.found()
    if expected is None:
        return VerifyResult(path, len(rows), found, tuple(problems))
    problems += content_problems(found, expected)
    return VerifyResult(path, len(rows), found, tuple(problems), tuple(label_problems(found, expected)))
