"""H.264 in separate fields (PAFF), which no free encoder writes: every macroblock holds its samples as they are (I_PCM)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from tests.synth import painted

_I_PCM = 25
_BLOCK = 16
#: Decode time, time of showing and duration in fields, whether a decoder can start here, bytes.
type _Coded = tuple[int, int | None, int, bool, bytes]


class _Bits:
    """A bit string that grows, in the words of the H.264 standard."""

    def __init__(self) -> None:
        self._text = ""

    def u(self, width: int, value: int) -> None:
        self._text += format(value, f"0{width}b") if width else ""

    def ue(self, value: int) -> None:
        code = format(value + 1, "b")
        self._text += "0" * (len(code) - 1) + code

    def align(self) -> None:
        self._text += "0" * (-len(self._text) % 8)

    def raw(self, data: bytes) -> None:
        self._text += "".join(format(byte, "08b") for byte in data)

    def nal(self, header: int) -> bytes:
        """The whole as a NAL unit: stop bit, emulation prevention, start code."""
        text = self._text + "1"
        text += "0" * (-len(text) % 8)
        payload = int(text, 2).to_bytes(len(text) // 8, "big")
        kept, zeros = bytearray(), 0
        for byte in payload:
            if zeros == 2 and byte <= 3:
                kept.append(3)
                zeros = 0
            kept.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return b"\0\0\0\1" + bytes([header]) + bytes(kept)


def _headers(width: int, height: int) -> bytes:
    sps = _Bits()
    for value in (77, 0, 40):  # Main profile, level 4
        sps.u(8, value)
    for value in (0, 0, 0, 0):  # id, log2 of frame_num's room - 4, order by lsb, log2 of its room - 4
        sps.ue(value)
    sps.ue(2)  # reference frames
    sps.u(1, 0)
    sps.ue(width // _BLOCK - 1)
    sps.ue(height // (2 * _BLOCK) - 1)
    sps.u(1, 0)  # fields may be coded
    sps.u(1, 0)
    sps.u(1, 1)
    sps.u(1, 0)
    sps.u(1, 1)  # of what follows, only the timing is there: 50 fields a second
    sps.u(4, 0)
    sps.u(1, 1)
    sps.u(32, 1)
    sps.u(32, 50)
    sps.u(1, 1)
    sps.u(4, 0)
    pps = _Bits()
    pps.ue(0)
    pps.ue(0)
    pps.u(2, 0)  # CAVLC, both fields' order is not told apart by the picture
    pps.ue(0)
    pps.ue(0)
    pps.ue(0)
    pps.u(3, 0)
    for _ in range(3):
        pps.ue(0)
    pps.u(3, 0)
    return sps.nal(0x67) + pps.nal(0x68)


def _slice(planes: Sequence[npt.NDArray[np.uint8]], number: int, group: int, field: int | None) -> bytes:
    """One picture: a whole frame (``field`` None), or its first (0) or second (1) field."""
    in_group, idr = number % group, number % group == 0 and field != 1
    bits = _Bits()
    bits.ue(0)
    bits.ue(7)  # I
    bits.ue(0)
    bits.u(4, in_group % 16)
    bits.u(1, field is not None)
    if field is not None:
        bits.u(1, field)
    if idr:
        bits.ue(number // group % 2)
    bits.u(4, (2 * in_group + (field or 0)) % 16)
    bits.u(2 if idr else 1, 0)  # how references are kept
    bits.ue(0)  # quantiser, unused
    luma = planes[0]
    for y in range(0, luma.shape[0], _BLOCK):
        for x in range(0, luma.shape[1], _BLOCK):
            bits.ue(_I_PCM)
            bits.align()
            bits.raw(luma[y : y + _BLOCK, x : x + _BLOCK].tobytes())
            for chroma in planes[1:]:
                bits.raw(chroma[y // 2 : y // 2 + 8, x // 2 : x // 2 + 8].tobytes())
    return bits.nal(0x65 if idr else 0x41)


def field_film(path: Path, num_frames: int = 12, group: int = 6, whole: Sequence[int] = (), timed_fields: bool = True) -> Path:
    """64x64 at 25 frames a second, numbered as :func:`tests.synth.painted` does; frames in ``whole`` are coded as frames, all
    others as two fields, each a packet. ``timed_fields``: second fields carry a time of their own.
    """
    packets: list[_Coded] = []
    for number in range(num_frames):
        planes = [np.asarray(plane, np.uint8) for plane in painted(number, 64, 64).planes]
        head = _headers(64, 64) if number % group == 0 else b""
        fields: list[int | None] = [None] if number in whole else [0, 1]
        for field in fields:
            shown = planes if field is None else [np.ascontiguousarray(p[field::2]) for p in planes]
            time = 2 * number + (field or 0)
            data = (head if field != 1 else b"") + _slice(shown, number, group, field)
            shown_at = time if timed_fields or field != 1 else None
            packets.append((time, shown_at, 2 if field is None else 1, bool(head) and field != 1, data))
    if path.suffix == ".h264":
        path.write_bytes(b"".join(data for *_, data in packets))
        return path
    return _muxed(path, packets)


def _muxed(path: Path, packets: Sequence[_Coded]) -> Path:
    raw = path.with_suffix(".head.h264")
    raw.write_bytes(b"".join(data for *_, data in packets))
    with av.open(str(raw)) as film, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(film.streams.video[0], opaque=True)
        for time, shown, duration, key, data in packets:
            packet = av.Packet(data)
            packet.time_base = Fraction(1, 50)
            packet.dts, packet.pts, packet.is_keyframe, packet.stream = time, shown, key, stream
            packet.duration = duration
            out.mux(packet)
    raw.unlink()
    return path
