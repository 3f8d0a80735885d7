"""Write into a finished Matroska file what PyAV cannot tell FFmpeg's muxers: the shape of pixels, the mastering display and the
light level.

The shape is only needed for codecs whose own bitstream has no place for it. From a segment the mastering display and the light
level come back with its stream, so that a film joined of such segments has them too, whatever its container. The muxer is
given a track name of known length, whose room they then take: no byte of the file moves.
"""

from __future__ import annotations

import zlib
from fractions import Fraction

from tasks.ebml import (
    COLOUR,
    CRC,
    DISPLAY_HEIGHT,
    DISPLAY_UNIT,
    DISPLAY_WIDTH,
    MASTERING,
    MASTERING_VALUES,
    MAX_CLL,
    MAX_FALL,
    NAME,
    SEGMENT,
    TRACK,
    TRACKS,
    UNIT_RATIO,
    VIDEO,
    Element,
    children,
    declared_end,
    encoded,
    encoded_real,
    encoded_whole,
    found,
    padding,
)
from tasks.errors import StitchError
from tasks.hdr import NO_HDR, Hdr, Mastering

#: These carry no sample aspect ratio in their packets (FFmpeg's codec names).
SHAPELESS_CODECS = ("av1", "prores", "ffv1")
#: The track name that keeps the room; long enough for all that may take it.
ROOM = "room-for-what-the-muxer-is-not-told".ljust(200, ".")

_HEAD_BYTES = 1 << 20
_DISPLAY = (DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT)


def fill_room(path: str, width: int, height: int, sample_aspect_ratio: Fraction = Fraction(1), hdr: Hdr = NO_HDR) -> None:
    """Replace the ``ROOM`` track name of a Matroska file by the display size and ``hdr``; StitchError when it is not there."""
    with open(path, "r+b") as file:
        head = file.read(_HEAD_BYTES)
        if tracks := found(head, SEGMENT, TRACKS):  # of subtitles whose styles fill a book there is more
            head += file.read(max(declared_end(head, tracks) - len(head), 0))
        file.seek(0)
        file.write(filled(head, width, height, sample_aspect_ratio, hdr))


def filled(head: bytes, width: int, height: int, sample_aspect_ratio: Fraction, hdr: Hdr = NO_HDR) -> bytes:
    """``head`` (the first bytes of a Matroska file, tracks included) of the same length, its ``ROOM`` spent."""
    name = head.find(ROOM.encode())
    tracks = found(head, SEGMENT, TRACKS)
    inside = children(head, tracks.payload, tracks.end) if tracks and name >= 0 else ()
    track = next((e for e in inside if e.id == TRACK and e.start < name < e.end), None)
    if tracks is None or track is None:
        raise StitchError("the finished file has no room for its display size and light level")
    if declared_end(head, tracks) != tracks.end:
        raise StitchError("the finished file ends amid its tracks")
    display = _display_size(width, height, sample_aspect_ratio) if sample_aspect_ratio != 1 else b""
    body = _changed_track(head, track, display, _light(hdr))
    return _with_checksum(head[: track.payload] + body + head[track.end :], tracks)


def _changed_track(head: bytes, track: Element, display: bytes, light: bytes) -> bytes:
    """The track's children without the name, with what is new inside its video part, and padding up to the old length."""
    body = b""
    for child in children(head, track.payload, track.end):
        if child.id == VIDEO:
            body += encoded(VIDEO, _changed_video(head, child, display, light))
        elif child.id == NAME:
            title = head[child.payload + len(ROOM) : child.end]  # the track's own
            body += encoded(NAME, title) if title else b""
        else:
            body += head[child.start : child.end]
    return body + padding(track.end - track.payload - len(body))


def _changed_video(head: bytes, video: Element, display: bytes, light: bytes) -> bytes:
    body, colour = b"", light
    for child in children(head, video.payload, video.end):
        if light and child.id == COLOUR:
            old = (e for e in children(head, child.payload, child.end) if e.id not in (MAX_CLL, MAX_FALL, MASTERING))
            colour = b"".join(head[e.start : e.end] for e in old) + light
        elif not (display and child.id in _DISPLAY):
            body += head[child.start : child.end]
    return body + display + (encoded(COLOUR, colour) if light else b"")


def _display_size(width: int, height: int, sample_aspect_ratio: Fraction) -> bytes:
    """In pixels where the display width is a whole number of them, else as a bare ratio."""
    shown = width * sample_aspect_ratio
    if shown.denominator == 1:
        return encoded_whole(DISPLAY_WIDTH, shown.numerator) + encoded_whole(DISPLAY_HEIGHT, height)
    ratio = shown / height
    size = encoded_whole(DISPLAY_WIDTH, ratio.numerator) + encoded_whole(DISPLAY_HEIGHT, ratio.denominator)
    return size + encoded_whole(DISPLAY_UNIT, UNIT_RATIO)


def _light(hdr: Hdr) -> bytes:
    levels = ((MAX_CLL, hdr.max_cll), (MAX_FALL, hdr.max_fall)) if hdr.max_cll or hdr.max_fall else ()
    light = b"".join(encoded_whole(element, value) for element, value in levels)
    return light + (encoded(MASTERING, _mastering(hdr.mastering)) if hdr.mastering else b"")


def _mastering(display: Mastering) -> bytes:
    points = (*display.red, *display.green, *display.blue, *display.white, display.max_luminance, display.min_luminance)
    return b"".join(encoded_real(e, float(value)) for e, value in zip(MASTERING_VALUES, points, strict=True))


def _with_checksum(head: bytes, tracks: Element) -> bytes:
    first = next(children(head, tracks.payload, tracks.end))
    if first.id != CRC:
        return head
    checksum = zlib.crc32(head[first.end : tracks.end]).to_bytes(4, "little")
    return head[: first.payload] + checksum + head[first.end :]
