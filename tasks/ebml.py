"""Elements of a Matroska file's head: find them, take them apart, make them. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

SEGMENT, TRACKS, TRACK, VIDEO, NAME, VOID, CRC = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x536E, 0xEC, 0xBF
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT, UNIT_RATIO = 0x54B0, 0x54BA, 0x54B2, 3
COLOUR, CHROMA_ACROSS, CHROMA_DOWN, MAX_CLL, MAX_FALL, MASTERING = 0x55B0, 0x55B7, 0x55B8, 0x55BC, 0x55BD, 0x55D0
#: Inside MASTERING: x and y of red, green, blue and white, then the highest and the lowest luminance.
MASTERING_VALUES = tuple(range(0x55D1, 0x55DB))


class Element(NamedTuple):
    """Where an element lies in the bytes it was found in: ``start`` of its id, ``payload``, half-open ``end``."""

    id: int
    start: int
    payload: int
    end: int


def children(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[Element]:
    """The elements that lie side by side in ``data[start:stop]``; one that reaches beyond the bytes ends with them."""
    stop = len(data) if stop is None else stop
    while start < stop:
        element, at = _variable_length(data, start, keep_marker=True)
        length, payload = _variable_length(data, at, keep_marker=False)
        end = min(payload + length, len(data))
        yield Element(element, start, payload, end)
        start = end


def declared_end(data: bytes, element: Element) -> int:
    """Where an element that was found in ``data`` says that it ends, which may lie beyond the bytes."""
    _, at = _variable_length(data, element.start, keep_marker=True)
    length, payload = _variable_length(data, at, keep_marker=False)
    return payload + length


def found(data: bytes, *path: int) -> Element | None:
    """The first element under ``path`` (ids from the outermost inwards), None where there is none."""
    element = Element(0, 0, 0, len(data))
    for wanted in path:
        inner = next((e for e in children(data, element.payload, element.end) if e.id == wanted), None)
        if inner is None:
            return None
        element = inner
    return element


def whole_number(data: bytes, element: Element) -> int:
    """The value of an unsigned element."""
    return int.from_bytes(data[element.payload : element.end], "big")


def real_number(data: bytes, element: Element) -> float:
    """The value of a float element, 4 or 8 bytes long."""
    payload = data[element.payload : element.end]
    return float(struct.unpack(">f" if len(payload) == 4 else ">d", payload)[0])


def encoded(element: int, payload: bytes) -> bytes:
    """An element of less than 16 KiB."""
    size = bytes([0x80 | len(payload)]) if len(payload) < 127 else (0x4000 | len(payload)).to_bytes(2, "big")
    return element.to_bytes((element.bit_length() + 7) // 8, "big") + size + payload


def encoded_whole(element: int, value: int) -> bytes:
    """An unsigned element."""
    return encoded(element, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def encoded_real(element: int, value: float) -> bytes:
    """A float element of 8 bytes."""
    return encoded(element, struct.pack(">d", value))


def padding(length: int) -> bytes:
    """An element of ``length`` bytes (3 to 16386), itself included, that says nothing."""
    return bytes([VOID]) + (0x4000 | (length - 3)).to_bytes(2, "big") + bytes(length - 3)


def _variable_length(data: bytes, at: int, keep_marker: bool) -> tuple[int, int]:
    """(value, position behind it) of a number that says its own length."""
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big")
    return (value if keep_marker else value & ((1 << 7 * width) - 1)), at + width
