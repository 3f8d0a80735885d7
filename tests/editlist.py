"""Another edit list for the first track of an MP4 whose moov box comes last, as the muxer writes it by default."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

#: (duration in seconds, start in the media in seconds, or None for nothing shown).
Edit = tuple[float, float | None]


def set_edits(path: Path, edits: Sequence[Edit]) -> Path:
    """Write ``edits`` into the file, in place of those it has."""
    data = path.read_bytes()
    moov = next(at for name, at, _ in _boxes(data, 0, len(data)) if name == b"moov")
    head, body = data[:moov], data[moov:]
    assert struct.unpack(">I", body[:4])[0] == len(body), "moov is not the last box"
    trak_at, trak_size = _find(body, 8, len(body), b"trak")
    mdia_at, _ = _find(body, trak_at + 8, trak_at + trak_size, b"mdia")
    mdhd_at, _ = _find(body, mdia_at + 8, len(body), b"mdhd")
    mvhd_at, _ = _find(body, 8, len(body), b"mvhd")
    movie, media = (struct.unpack(">I", body[at + 20 : at + 24])[0] for at in (mvhd_at, mdhd_at))
    inside = [body[at : at + size] for name, at, size in _boxes(body, trak_at + 8, trak_at + trak_size) if name != b"edts"]
    entries = b"".join(
        struct.pack(">IiI", round(length * movie), -1 if start is None else round(start * media), 1 << 16)
        for length, start in edits
    )
    elst = _box(b"elst", struct.pack(">II", 0, len(edits)) + entries)
    trak = _box(b"trak", b"".join([inside[0], _box(b"edts", elst), *inside[1:]]))
    path.write_bytes(head + _box(b"moov", body[8:trak_at] + trak + body[trak_at + trak_size :]))
    return path


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def _boxes(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, offset, size) of the boxes in data[start:stop]."""
    while start < stop:
        size = struct.unpack(">I", data[start : start + 4])[0]
        yield data[start + 4 : start + 8], start, size
        start += size


def _find(data: bytes, start: int, stop: int, name: bytes) -> tuple[int, int]:
    return next((at, size) for found, at, size in _boxes(data, start, stop) if found == name)
