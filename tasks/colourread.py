"""What a stream and its first frames say of colour, brightness and which way is up."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import av
from av.sidedata.sidedata import SideData, Type
from av.video.stream import VideoStream

from tasks.ebml import (
    CHROMA_ACROSS,
    CHROMA_DOWN,
    COLOUR,
    MASTERING,
    MASTERING_VALUES,
    MAX_CLL,
    MAX_FALL,
    SEGMENT,
    TRACK,
    TRACKS,
    VIDEO,
    Element,
    children,
    found,
    real_number,
    whole_number,
)
from tasks.hdr import DOLBY_VISION, HDR10_PLUS, HDR_VIVID, NO_HDR, Hdr, Mastering, parse_light_level, parse_mastering
from vsalign.errors import InputError
from vsalign.picture import RANGE_FULL, ColourTags

#: (across, down) as Matroska has it, 1 the first sample, 2 halfway -> FFmpeg's number. FFmpeg writes no others down.
_CHROMA_LOCATIONS = {(1, 2): 1, (2, 2): 2, (1, 1): 3, (2, 1): 4}
_DYNAMIC = {
    Type.DYNAMIC_HDR_PLUS: HDR10_PLUS,
    Type.DYNAMIC_HDR_VIVID: HDR_VIVID,
    Type.DOVI_METADATA: DOLBY_VISION,
    Type.DOVI_RPU_BUFFER: DOLBY_VISION,
}
#: Matroska's block addition mapping: its type, and the record itself.
_MAPPING, _MAPPING_TYPE, _MAPPING_DATA = 0x41E4, 0x41E7, 0x41ED
_DOLBY_VISION_TYPES = (0x64766343, 0x64767643, 0x64767743)  # dvcC, dvvC, dvwC
#: AV_FRAME_DATA_DISPLAYMATRIX in units of 1/65536: (first row x, first row y, second row x, second row y) -> clockwise degrees.
_TURNS = {(1, 0, 0, 1): 0, (0, 1, -1, 0): 90, (-1, 0, 0, -1): 180, (0, -1, 1, 0): 270}
_ONE = 1 << 16


def colour_tags(stream: VideoStream) -> ColourTags:
    """The stream's colour tags, by its container and its codec's header."""
    return _tags(stream, written_header(stream))


def container_hdr(stream: VideoStream) -> Hdr:
    """What the container alone says of brightness, and of Dolby Vision by its profile."""
    return _hdr_of_header(written_header(stream))


def written_header(stream: VideoStream) -> bytes:
    """The head of a Matroska file with a copy of ``stream``, b"" where there can be none: PyAV does not show all that FFmpeg
    knows of a stream, but its muxer writes it down."""
    written = io.BytesIO()
    try:
        with av.open(written, "w", format="matroska") as scratch:
            scratch.add_stream_from_template(stream, opaque=True)
            scratch.start_encoding()
            return written.getvalue()
    except (av.FFmpegError, ValueError):
        return b""


def _tags(stream: VideoStream, header: bytes) -> ColourTags:
    context = stream.codec_context
    full = (context.pix_fmt or "").startswith("yuvj")
    across, down = (_number(header, COLOUR, name) for name in (CHROMA_ACROSS, CHROMA_DOWN))
    return ColourTags(
        primaries=int(context.color_primaries),
        transfer=int(context.color_trc),
        matrix=int(context.colorspace),
        range=RANGE_FULL if full else int(context.color_range),
        chroma_location=_CHROMA_LOCATIONS.get((across, down), 0),
    )


def _number(header: bytes, *path: int) -> int:
    element = found(header, SEGMENT, TRACKS, TRACK, VIDEO, *path)
    return whole_number(header, element) if element else 0


def _hdr_of_header(header: bytes) -> Hdr:
    track, display = found(header, SEGMENT, TRACKS, TRACK), found(header, SEGMENT, TRACKS, TRACK, VIDEO, COLOUR, MASTERING)
    mastering = _mastering_of(header, display) if display else None
    profile = _dolby_vision_profile(header, track) if track else None
    dynamic = () if profile is None else (f"{DOLBY_VISION} profile {profile}",)
    return Hdr(mastering, _number(header, COLOUR, MAX_CLL), _number(header, COLOUR, MAX_FALL), dynamic)


def _mastering_of(header: bytes, display: Element) -> Mastering | None:
    values = {e.id: real_number(header, e) for e in children(header, display.payload, display.end)}
    if not set(MASTERING_VALUES) <= set(values):
        return None
    *points, high, low = (values[name] for name in MASTERING_VALUES)
    v = [Fraction(round(point * 50000), 50000) for point in points]
    least, most = (Fraction(round(luminance * 10000), 10000) for luminance in (low, high))
    return Mastering((v[0], v[1]), (v[2], v[3]), (v[4], v[5]), (v[6], v[7]), least, most)


def _dolby_vision_profile(header: bytes, track: Element) -> int | None:
    """From the decoder configuration record: a byte each for the major and the minor version, then seven bits of profile."""
    for mapping in children(header, track.payload, track.end):
        if mapping.id != _MAPPING:
            continue
        parts = {e.id: e for e in children(header, mapping.payload, mapping.end)}
        kind, record = parts.get(_MAPPING_TYPE), parts.get(_MAPPING_DATA)
        if kind and record and whole_number(header, kind) in _DOLBY_VISION_TYPES and record.end - record.payload >= 3:
            return header[record.payload + 2] >> 1
    return None


# --- of a decoded frame


def frame_hdr(frame: av.VideoFrame) -> Hdr:
    """What comes along with a decoded frame: its bitstream's, and what only the container says."""
    known = _side_data(frame)
    display, level = known.get(Type.MASTERING_DISPLAY_METADATA), known.get(Type.CONTENT_LIGHT_LEVEL)
    dynamic = tuple(dict.fromkeys(name for kind, name in _DYNAMIC.items() if kind in known))
    cll, fall = parse_light_level(level) if level else (0, 0)
    return Hdr(parse_mastering(display) if display else None, cll, fall, dynamic) if known else NO_HDR


def clockwise_turn(frame: av.VideoFrame, name: str) -> int:
    """By how many degrees, clockwise, a player turns the film: 0, 90, 180 or 270. InputError where it does something else."""
    data = _side_data(frame).get(Type.DISPLAYMATRIX)
    if data is None:
        return -frame.rotation % 360
    a, b, _, c, d = struct.unpack_from("=5i", data)
    if (turn := _TURNS.get(tuple(round(v / _ONE) for v in (a, b, c, d)))) is None or 0 not in (a, b):
        found = "mirrored" if a * d - b * c < 0 else f"turned by {-frame.rotation % 360} degrees"
        raise InputError(f"{name} is shown {found} by its player; accepted: upright, or turned by 90, 180 or 270 degrees")
    return turn


def _side_data(frame: av.VideoFrame) -> dict[Type, bytes]:
    try:
        parts: list[SideData] = [frame.side_data[at] for at in range(len(frame.side_data))]  # type: ignore[literal-required]
        return {part.type: bytes(part) for part in parts}
    except ValueError:  # one of a kind that PyAV does not know keeps all from being seen
        return {}
