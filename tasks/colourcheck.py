"""A written film held against what was planned of its picture: colour tags, shape of pixels, rotation, brightness."""

from __future__ import annotations

from fractions import Fraction

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from tasks.codecs import codec_rules
from tasks.colourread import clockwise_turn, colour_tags, container_hdr, frame_hdr
from tasks.formats import planar_format
from tasks.hdr import NO_HDR, Hdr, bitstream_params
from tasks.messages import VideoFormat
from tasks.outcolour import output_colour
from vsalign.errors import InputError
from vsalign.picture import CHROMA_CENTER, CHROMA_LEFT, CHROMA_TOP, CHROMA_TOPLEFT, RANGE_FULL, ColourTags

_TAGS = ("primaries", "transfer", "matrix")
#: FFmpeg's demuxers and muxers keep a shape to about that much.
_SHAPE_TOLERANCE = Fraction(1, 1000)
#: In a file of Matroska's kind, or the bitstream of these codecs, there is a place that says where chroma lies.
_SITED_CODECS = ("libx264", "libx265")
_SEEN_LOCATIONS = (CHROMA_LEFT, CHROMA_CENTER, CHROMA_TOPLEFT, CHROMA_TOP)


def colour_problems(path: str, video: VideoFormat, pixel_format: str, codec: str) -> tuple[str, ...]:
    """What ``path`` says otherwise than ``video`` (whose samples are in ``pixel_format`` of ``codec``), one clause each; ()
    where all is as planned. Decodes one picture; an unreadable file is a problem too.

    Only what has a place is asked for: mp4 and mov do not say where chroma lies, ffv1 and ProRes have no brightness in their
    bitstream.
    """
    try:
        with av.open(path, "r") as container:
            if not container.streams.video:
                return ("it has no video stream",)
            stream = container.streams.video[0]
            stream.thread_count = 1
            frame = next(container.decode(stream), None)
            told = colour_tags(stream)
            if frame is None:
                return ("no picture can be decoded",)
            wanted = output_colour(video.colour, pixel_format, codec)
            sited = "matroska" in container.format.name or codec in _SITED_CODECS
            problems = [*_tag_problems(told, wanted, planar_format(pixel_format).family, sited), *_shape(stream, frame, video)]
            problems += _light(container_hdr(stream), video.hdr, "container")
        if bitstream_params(video.hdr, codec_rules(codec).params_option):
            problems += _light(bitstream_hdr(path), video.hdr, "bitstream")
        return tuple(problems)
    except (av.FFmpegError, OSError) as error:
        return (f"it cannot be read: {error}",)


def bitstream_hdr(path: str) -> Hdr:
    """What the first picture of ``path`` says of brightness to a decoder that is told nothing by the container."""
    with av.open(path, "r") as container:
        stream = container.streams.video[0]
        decoder = av.CodecContext.create(stream.codec_context.name, "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.extradata, decoder.thread_count = stream.codec_context.extradata, 1
        for packet in container.demux(stream):
            for frame in decoder.decode(Packet(bytes(packet)) if packet.size else None):
                return frame_hdr(frame)
    return NO_HDR


def _tag_problems(told: ColourTags, wanted: ColourTags, family: str, sited: bool) -> list[str]:
    problems = [
        f"{name} {getattr(told, name)}, planned {getattr(wanted, name)}"
        for name in _TAGS
        if getattr(told, name) != getattr(wanted, name) and (name != "matrix" or family == "yuv")
    ]
    full = told.range == RANGE_FULL
    if full != (wanted.range == RANGE_FULL) and family != "rgb":
        problems.append(f"{'full' if full else 'limited'} range, planned the other one")
    seen = wanted.chroma_location in _SEEN_LOCATIONS  # of the others no container tells
    if family == "yuv" and seen and sited and told.chroma_location != wanted.chroma_location:
        problems.append(f"chroma location {told.chroma_location}, planned {wanted.chroma_location}")
    return problems


def _shape(stream: VideoStream, frame: av.VideoFrame, video: VideoFormat) -> list[str]:
    problems = []
    shape = stream.sample_aspect_ratio or Fraction(1)
    if abs(shape - video.sample_aspect_ratio) > _SHAPE_TOLERANCE * video.sample_aspect_ratio:
        problems.append(f"pixels of shape {shape}, planned {video.sample_aspect_ratio}")
    try:
        turn = clockwise_turn(frame, "it")
    except InputError as error:
        return [*problems, str(error)]
    if turn != video.rotation_degrees:
        problems.append(f"turned by {turn} degrees, planned {video.rotation_degrees}")
    return problems


def _light(told: Hdr, wanted: Hdr, where: str) -> list[str]:
    """Codecs round each in their own steps; in those of ST 2086 they must agree."""
    problems = []
    if wanted.mastering and (told.mastering is None or told.mastering.steps() != wanted.mastering.steps()):
        problems.append(f"the {where} has {'another' if told.mastering else 'no'} mastering display")
    if (told.max_cll, told.max_fall) != (wanted.max_cll, wanted.max_fall):
        told_level, level = f"{told.max_cll},{told.max_fall}", f"{wanted.max_cll},{wanted.max_fall}"
        problems.append(f"the {where} has light level {told_level}, planned {level}")
    return problems
