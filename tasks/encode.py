"""Pictures -> one encoded segment per chunk, whose bytes repeat and whose headers agree with those of its neighbours."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from fractions import Fraction
from functools import lru_cache
from types import TracebackType

import av
from av.codec.context import Flags, ThreadType
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from tasks.codecs import CONTAINERS, check_profile, check_size, codec_rules, container_of, encoder_options, options_for_size
from tasks.errors import EncoderBusy, EncoderMissing, SegmentMismatch, StitchError
from tasks.formats import nearest_format, planar_format
from tasks.hdr import NO_HDR, Hdr
from tasks.messages import EncodeSettings, Segment, VideoFormat
from tasks.nvenc import refusal, when_free
from tasks.openfilm import captured_log
from tasks.outcolour import FIELD_ORDERS, output_colour, with_picture_facts
from tasks.outframe import converted, own_frame
from tasks.trackroom import ROOM, SHAPELESS_CODECS, fill_room
from tasks.wholeness import missing_bytes
from vsalign.errors import InputError
from vsalign.picture import ColourTags, Picture

__all__ = ["SegmentWriter", "check_output", "choose_pixel_format", "converted", "header_hash", "inspect_segment"]

#: How libx264, libx265 and libsvtav1 say that they skipped a key of their params.
_REFUSALS = ("Error parsing option", "Unknown option", "Invalid value for")
#: Matroska keeps time in milliseconds: frames of a faster segment would share one.
_FASTEST = Fraction(500)
#: So many frames before its time a packet is decoded, in a segment: more than any encoder's pictures wait for each other.
_DECODED_AHEAD = 1000


def choose_pixel_format(codec: str, wanted: str) -> tuple[str, str]:
    """The pixel format the codec gets for pictures of format ``wanted``, and "" or one line saying what is converted.

    Lossless where the codec can, else the least loss. Raises InputError for an unknown codec or pixel format.
    """
    return nearest_format(_accepted_formats(codec), wanted)


@lru_cache(maxsize=16)
def _accepted_formats(codec: str) -> tuple[str, ...]:
    rules = codec_rules(codec)
    listed = tuple(f.name for f in _encoder(rules.name).video_formats or ())
    known = (*listed, *(name for name, own in rules.carried if own in listed))
    return tuple(name for name in known if name in rules.formats) if rules.formats else known


def _encoder(codec: str) -> av.codec.Codec:
    try:
        return av.codec.Codec(codec, "w")
    except ValueError:
        raise InputError(f"codec {codec!r} is not built into this FFmpeg") from None


def check_output(
    codec: str, out_path: str, width: int, height: int, pixel_format: str, settings: EncodeSettings, hdr: Hdr = NO_HDR
) -> None:
    """Raise InputError (one line) where the output cannot be made as asked; opens the encoder, writes nothing."""
    container = container_of(out_path)
    rules = codec_rules(codec)
    if codec not in _container_codecs(container):
        raise InputError(f"{out_path}: {container} cannot hold {rules.name}; {_holders(codec)} can")
    if pixel_format not in _accepted_formats(codec):
        best, _ = choose_pixel_format(codec, pixel_format)
        raise InputError(f"{codec} cannot hold pixel format {pixel_format!r}; the nearest it can is {best}")
    layout = planar_format(pixel_format)
    check_size(codec, width, height, (layout.log2_chroma_w, layout.log2_chroma_h))
    check_profile(settings, layout)
    video = VideoFormat(width, height, Fraction(25), Fraction(1), ColourTags(), hdr)
    scratch = av.open(io.BytesIO(), "w", format=container)
    try:
        _add_encoder(scratch, video, settings, pixel_format)
        scratch.start_encoding()  # some muxers list a codec and refuse it only now
    except (EncoderBusy, EncoderMissing):
        pass  # of a worker's machine nothing is known here
    except av.FFmpegError as error:
        raise InputError(f"{out_path}: {container} cannot hold {codec} ({error.strerror}); .mkv can") from None
    finally:
        with suppress(av.FFmpegError):
            scratch.close()


def _holders(codec: str) -> str:
    return " and ".join(extension for extension, name in CONTAINERS.items() if codec in _container_codecs(name))


@lru_cache(maxsize=4)
def _container_codecs(container: str) -> frozenset[str]:
    with av.open(io.BytesIO(), "w", format=container) as scratch:
        return frozenset(scratch.supported_codecs)


def _add_encoder(container: OutputContainer, video: VideoFormat, settings: EncodeSettings, pixel_format: str) -> VideoStream:
    """An opened encoder as the container's only stream; InputError when it refuses its options."""
    options = encoder_options(settings)
    _encoder(settings.codec)
    told = options_for_size(with_picture_facts(options, video, settings), settings.codec, video.width, video.height)
    stream = container.add_stream(settings.codec, rate=min(video.rate, _FASTEST), options=told)
    assert isinstance(stream, VideoStream)
    _configure(stream.codec_context, video, settings, pixel_format)
    os.environ.setdefault("SVT_LOG", "1")  # keeps SVT-AV1's banner off the terminal
    with captured_log(av.logging.WARNING) as log:
        try:
            stream.codec_context.open()
        except (av.FFmpegError, ValueError) as error:
            if told_of := refusal(settings.codec, [line[2] for line in log], str(error)):
                raise told_of from None
            listed = ", ".join(f"{k}={v}" for k, v in settings.options) or "these settings"
            raise InputError(f"{settings.codec} cannot be opened with {listed}: {_last_line(log) or error}") from None
    if unused := [name for name in options if name in stream.codec_context.options]:
        raise InputError(f"{settings.codec} has no encoder option {unused[0]!r}")
    # an unknown key inside x264-params and its like is said by a log line, not by an error
    if complaints := [line for line in log if any(sign in line[2] for sign in _REFUSALS)]:
        raise InputError(f"{settings.codec}: {_last_line(complaints)}")
    return stream


def _configure(context: VideoCodecContext, video: VideoFormat, settings: EncodeSettings, pixel_format: str) -> None:
    colour = output_colour(video.colour, pixel_format, settings.codec)
    own_format = codec_rules(settings.codec).own_format.get(pixel_format, pixel_format)
    context.width, context.height, context.pix_fmt = video.width, video.height, own_format
    context.sample_aspect_ratio = video.sample_aspect_ratio
    context.time_base = 1 / min(video.rate, _FASTEST)
    context.thread_count = max(1, settings.threads)
    # PyAV's default, slice threads, would make libx264 cut its pictures into slices
    context.thread_type = ThreadType.FRAME if codec_rules(settings.codec).frame_threads else ThreadType.SLICE
    context.flags |= Flags.bitexact | Flags.closed_gop
    context.color_primaries, context.color_trc, context.colorspace = colour.primaries, colour.transfer, colour.matrix
    context.color_range = colour.range
    context.field_order = FIELD_ORDERS[video.field_order]


def _last_line(log: Sequence[tuple[int, str, str]]) -> str:
    return " ".join(log[-1][2].split()) if log else ""


def _begun(path: str, video: VideoFormat, settings: EncodeSettings, pixel_format: str) -> tuple[OutputContainer, VideoStream]:
    """A segment's file with its encoder, open; nothing is left open where the encoder refuses."""
    container = av.open(path, "w", format="matroska", container_options={"fflags": "+bitexact"})
    try:
        return container, _add_encoder(container, video, settings, pixel_format)
    except BaseException:
        container.close()
        raise


class SegmentWriter:
    """Encodes one chunk's pictures into a Matroska file: first packet a key frame, every GOP closed, PTS = local frame number
    at the nominal rate (true times come in at stitch).

    ``close`` finishes the file and returns what is found in it; leaving a ``with`` block by an error drops the encoder and
    leaves an unusable file. Raises InputError when the encoder refuses its settings.
    """

    def __init__(self, path: str, video: VideoFormat, settings: EncodeSettings, pixel_format: str) -> None:
        self._path, self._video = path, video
        self._colour = output_colour(video.colour, pixel_format, settings.codec)
        self._layout = planar_format(pixel_format)
        self._own_format = codec_rules(settings.codec).own_format.get(pixel_format, "")
        self._reformatter = VideoReformatter()
        self._written = self._muxed = 0
        self._container, self._stream = when_free(lambda: _begun(path, video, settings, pixel_format))
        try:
            self._room_is_filled_last = needs_pixel_shape(self._stream, video.sample_aspect_ratio) or video.hdr.is_static
            if self._room_is_filled_last:
                self._stream.metadata["title"] = ROOM
            if video.rotation_degrees:
                self._stream.set_display_rotation(-video.rotation_degrees)  # counts counter-clockwise
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(av.FFmpegError) if error else nullcontext():
            self._container.close()

    def write(self, picture: Picture) -> None:
        """Encode the next picture in the segment's pixel format, matrix and range; ValueError when its size differs."""
        if (picture.width, picture.height) != (self._video.width, self._video.height):
            size, wanted = f"{picture.width}x{picture.height}", f"{self._video.width}x{self._video.height}"
            raise ValueError(f"picture {self._written} is {size}, the segment's are {wanted}")
        frame = self._converted(picture)
        frame.pts, frame.time_base = self._written, self._stream.codec_context.time_base
        frame.pict_type = 0
        self._mux(self._stream.encode(frame))
        self._written += 1

    def close(self) -> Segment:
        """Finish the file and count it again from disk; raises SegmentMismatch when frames are missing."""
        self._mux(self._stream.encode(None))
        self._container.close()
        if self._room_is_filled_last:
            video = self._video
            fill_room(self._path, video.width, video.height, video.sample_aspect_ratio, video.hdr)
        segment = inspect_segment(self._path)
        if segment.num_frames != self._written:
            raise SegmentMismatch(self._path, "number of frames", self._written, segment.num_frames)
        return segment

    def _mux(self, packets: Sequence[Packet[VideoStream]]) -> None:
        """With decode times of our own, which a muxer wants and Matroska does not keep: libx265 takes those of a film of one or
        two frames from memory that it has not written, and the muxer refuses what comes of it now and then."""
        for packet in packets:
            packet.dts = self._muxed - _DECODED_AHEAD
            self._muxed += 1
        self._container.mux(packets)

    def _converted(self, picture: Picture) -> av.VideoFrame:
        colour = self._colour
        frame = own_frame(picture, self._layout, self._own_format, colour, self._reformatter)
        frame.colorspace, frame.color_range = colour.matrix, colour.range
        frame.color_primaries, frame.color_trc = colour.primaries, colour.transfer
        return frame


def inspect_segment(path: str) -> Segment:
    """Re-open a segment and count it by demuxing; StitchError: unreadable, SegmentMismatch: it starts without a key frame."""
    try:
        with av.open(path, "r") as container:
            if not container.streams.video:
                raise StitchError(f"{path}: segment has no video stream")
            stream = container.streams.video[0]
            header = header_hash(stream)
            keys = [packet.is_keyframe for packet in container.demux(stream) if packet.size]
    except (av.FFmpegError, OSError) as error:
        raise StitchError(f"{path}: segment cannot be read ({error})") from error
    if missing_bytes(path, "matroska"):
        raise StitchError(f"{path}: segment is cut off")
    if not keys or not keys[0]:
        raise SegmentMismatch(path, "first packet", "a key frame", "no packet" if not keys else "another kind of frame")
    return Segment(path, len(keys), os.path.getsize(path), header)


def needs_pixel_shape(stream: VideoStream, sample_aspect_ratio: Fraction) -> bool:
    """True where only the container can say that pixels are not square, and FFmpeg's muxers would not be told."""
    return sample_aspect_ratio != 1 and stream.codec_context.codec.canonical_name in SHAPELESS_CODECS


def header_hash(stream: VideoStream) -> str:
    """sha256 (hex) of the codec's header and of what it is read with: equal in all segments that may be joined."""
    context = stream.codec_context
    digest = hashlib.sha256(f"{context.codec.canonical_name} {context.width}x{context.height} {context.pix_fmt};".encode())
    digest.update(context.extradata or b"")
    return digest.hexdigest()
