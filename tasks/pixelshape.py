"""Write the shape of pixels into a finished Matroska file, for codecs whose own bitstream has no place for it.

PyAV cannot tell FFmpeg's muxers a stream's sample aspect ratio; without this AV1, ProRes and FFV1 would lose it. The muxer is
given a track name of known length, whose room the display size then takes: no byte of the file moves.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction

from tasks.errors import StitchError

#: These carry no sample aspect ratio in their packets (FFmpeg's codec names).
SHAPELESS_CODECS = ("av1", "prores", "ffv1")
#: The track name that keeps the room.
ROOM = "room-for-display-size-here"

_SEGMENT, _TRACKS, _TRACK, _VIDEO, _NAME, _VOID, _CRC = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x536E, 0xEC, 0xBF
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT, _UNIT_RATIO = 0x54B0, 0x54BA, 0x54B2, 3
_HEAD_BYTES = 1 << 20

_Element = tuple[int, int, int, int]
"""EBML id, where the element starts, where its payload starts, where it ends."""


def write_pixel_shape(path: str, width: int, height: int, sample_aspect_ratio: Fraction) -> None:
    """Replace the ``ROOM`` track name of a Matroska file by the display size; StitchError when it is not there."""
    with open(path, "r+b") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(0)
        file.write(with_display_size(head, width, height, sample_aspect_ratio))


def with_display_size(head: bytes, width: int, height: int, sample_aspect_ratio: Fraction) -> bytes:
    """``head`` (the first bytes of a Matroska file, tracks included) of the same length, its ``ROOM`` spent on the size."""
    name = head.find(ROOM.encode())
    try:
        segment = next(e for e in _children(head, 0, len(head)) if e[0] == _SEGMENT)
        tracks = next(e for e in _children(head, segment[2], len(head)) if e[0] == _TRACKS)
        track = next(e for e in _children(head, tracks[2], tracks[3]) if e[0] == _TRACK and e[1] < name < e[3])
    except StopIteration:
        raise StitchError("the finished file has no room for its display size") from None
    body = _resized_track(head, track, _display_size(width, height, sample_aspect_ratio))
    return _with_checksum(head[: track[2]] + body + head[track[3] :], tracks)


def _resized_track(head: bytes, track: _Element, display: bytes) -> bytes:
    """The track's children without the name, the display size inside its video part, and padding up to the old length."""
    body = b""
    for element, start, payload, end in _children(head, track[2], track[3]):
        if element == _VIDEO:
            kept = b"".join(head[s:e] for i, s, _, e in _children(head, payload, end) if i not in _REPLACED)
            body += _encoded(_VIDEO, kept + display)
        elif element != _NAME:
            body += head[start:end]
    room = track[3] - track[2] - len(body)
    return body + _encoded(_VOID, bytes(room - 2))


_REPLACED = (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)


def _display_size(width: int, height: int, sample_aspect_ratio: Fraction) -> bytes:
    """In pixels where the display width is a whole number of them, else as a bare ratio."""
    shown = width * sample_aspect_ratio
    if shown.denominator == 1:
        return _number(_DISPLAY_WIDTH, shown.numerator) + _number(_DISPLAY_HEIGHT, height)
    ratio = shown / height
    size = _number(_DISPLAY_WIDTH, ratio.numerator) + _number(_DISPLAY_HEIGHT, ratio.denominator)
    return size + _number(_DISPLAY_UNIT, _UNIT_RATIO)


def _with_checksum(head: bytes, tracks: _Element) -> bytes:
    first = next(_children(head, tracks[2], tracks[3]))
    if first[0] != _CRC:
        return head
    checksum = zlib.crc32(head[first[3] : tracks[3]]).to_bytes(4, "little")
    return head[: first[2]] + checksum + head[first[3] :]


def _children(data: bytes, start: int, stop: int) -> Iterator[_Element]:
    while start < stop:
        element, at = _vint(data, start, keep_marker=True)
        length, payload = _vint(data, at, keep_marker=False)
        end = min(payload + length, len(data))
        yield element, start, payload, end
        start = end


def _vint(data: bytes, at: int, keep_marker: bool) -> tuple[int, int]:
    """(value, position behind it) of a variable-length number."""
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big")
    return (value if keep_marker else value & ((1 << 7 * width) - 1)), at + width


def _encoded(element: int, payload: bytes) -> bytes:
    identifier = element.to_bytes((element.bit_length() + 7) // 8, "big")
    return identifier + (bytes([0x80 | len(payload)]) if len(payload) < 127 else _long_size(len(payload))) + payload


def _long_size(length: int) -> bytes:
    return (0x4000 | length).to_bytes(2, "big")


def _number(element: int, value: int) -> bytes:
    return _encoded(element, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))
