"""Does a container hold all that its own headers promise? Read from the bytes, without FFmpeg, which plays what is there."""

from __future__ import annotations

from typing import Protocol

from tasks.remote import open_source, source_size
from tasks.sequence import is_pattern

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_TS_PACKET_SIZES = (188, 192, 204)


class Bytes(Protocol):
    """What is needed of a file."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...
    def tell(self) -> int: ...


def missing_bytes(path: str, container: str, version: str = "") -> int:
    """How many bytes the file lacks by its own headers (0: none, or none known); ``container`` is FFmpeg's demuxer."""
    if is_pattern(path):
        return 0
    size, source = source_size(path, version), open_source(path, version)
    with open(source, "rb") if isinstance(source, str) else source as file:
        if "matroska" in container:
            return _missing_in_matroska(file, size)
        if container == "avi":
            return _missing_in_riff(file, size)
    if container == "mpegts" and all(size % packet for packet in _TS_PACKET_SIZES):
        return _TS_PACKET_SIZES[0] - size % _TS_PACKET_SIZES[0]
    return 0


def broken_from(path: str, container: str, version: str = "") -> int | None:
    """The byte from where on an MP4 in pieces is no row of boxes any more, None where all fit; ``container``: FFmpeg's demuxer.

    Of an MP4 with one table of all frames this is not asked: the table tells what is not there.
    """
    if not container.startswith("mov"):
        return None
    size, source = source_size(path, version), open_source(path, version)
    with open(source, "rb") if isinstance(source, str) else source as file:
        return _broken_box(file, size)


def _broken_box(file: Bytes, size: int) -> int | None:
    at = 0
    names: set[bytes] = set()
    while at < size:
        file.seek(at)
        head = file.read(16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        header = 16 if length == 1 else 8
        length = {0: size - at, 1: int.from_bytes(head[8:16], "big")}.get(length, length)
        if length < header or len(name) < 4 or not all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in name):
            return None if {b"moov", b"mdat"} <= names and b"moof" not in names else at
        names.add(name)
        at += length
    return None


def _missing_in_riff(file: Bytes, size: int) -> int:
    head = file.read(8)
    promised = 8 + int.from_bytes(head[4:8], "little")
    return max(0, promised - size) if head[:4] == b"RIFF" else 0


def _missing_in_matroska(file: Bytes, size: int) -> int:
    """The Segment says its length once it is finished; a live one doesn't, but each of its clusters may."""
    while file.tell() < size:
        element, length = _element(file)
        if element is None:
            return 0
        if length is None and element not in (_SEGMENT, _CLUSTER):
            return 0
        if length is None:
            continue  # open-ended: its children follow right here
        end = file.tell() + length
        if end > size:
            return end - size
        file.seek(end)
    return 0


def _element(file: Bytes) -> tuple[int | None, int | None]:
    """(element id, payload length or None when open-ended) at the file position; id None at damaged bytes."""
    first = file.read(1)
    if not first or first[0] < 0x10:
        return None, None
    id_length = 9 - first[0].bit_length()
    element = int.from_bytes(first + file.read(id_length - 1), "big")
    first = file.read(1)
    if not first or not first[0]:
        return None, None
    width = 9 - first[0].bit_length()
    length = int.from_bytes(bytes([first[0] & (0xFF >> width)]) + file.read(width - 1), "big")
    return element, None if length == (1 << (7 * width)) - 1 else length
