"""Does a container hold all that its own headers promise? Read from the bytes, without FFmpeg, which plays what is there."""

from __future__ import annotations

from typing import Protocol

from tasks.remote import open_source, source_size

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_TS_PACKET_SIZES = (188, 192, 204)


class Bytes(Protocol):
    """What is needed of a file."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...
    def tell(self) -> int: ...


def missing_bytes(path: str, container: str, version: str = "") -> int:
    """How many bytes the file lacks by its own headers (0: none, or none known); ``container`` is FFmpeg's demuxer."""
    size, source = source_size(path, version), open_source(path, version)
    with open(source, "rb") if isinstance(source, str) else source as file:
        if "matroska" in container:
            return _missing_in_matroska(file, size)
        if container == "avi":
            return _missing_in_riff(file, size)
    if container == "mpegts" and all(size % packet for packet in _TS_PACKET_SIZES):
        return _TS_PACKET_SIZES[0] - size % _TS_PACKET_SIZES[0]
    return 0


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
