"""What H.264 and HEVC packets say of prediction: from where nothing earlier is looked back to, and what is never. Pure."""

from __future__ import annotations

from collections.abc import Iterator

#: By codec: the byte of the extradata (avcC, hvcC) whose last two bits say how long a unit's length is.
_LENGTH_AT = {"h264": 4, "hevc": 21}
_H264_SLICES, _H264_IDR, _H264_SEI = (1, 2, 5), 5, 6
_HEVC_SLICES, _HEVC_ENTRIES = range(32), range(16, 24)
_RECOVERY_POINT = 6
#: recovery_frame_cnt 0, exact_match_flag 1, broken_link_flag 0: all is right from here on.
_FLAGS, _AT_ONCE_AND_EXACT = 0b11100000, 0b11000000


def begins_anew(codec: str, payload: bytes, extradata: bytes) -> bool:
    """True where what is shown from this picture on is predicted from nothing that was decoded before it."""
    exact = False
    for unit in _units(codec, payload, extradata):
        if codec == "hevc":
            if (kind := unit[0] >> 1 & 63) in _HEVC_SLICES:
                return kind in _HEVC_ENTRIES
        elif (kind := unit[0] & 31) in _H264_SLICES:
            return exact or kind == _H264_IDR
        elif kind == _H264_SEI:
            exact |= _recovers_at_once(unit.replace(b"\0\0\3", b"\0\0"))
    return False


def is_looked_at(payload: bytes, extradata: bytes) -> bool:
    """False for an H.264 picture that no other is predicted from."""
    slices = [unit for unit in _units("h264", payload, extradata) if unit[0] & 31 in _H264_SLICES]
    return not slices or any(unit[0] & 0x60 for unit in slices)


def _units(codec: str, payload: bytes, extradata: bytes) -> Iterator[bytes]:
    """NAL units behind start codes, or behind their lengths."""
    at = _LENGTH_AT[codec]
    if extradata[:1] != b"\x01" or len(extradata) <= at:
        yield from (unit for unit in payload.split(b"\0\0\1")[1:] if unit)
        return
    size, at = (extradata[at] & 3) + 1, 0
    while at + size < len(payload):
        length = int.from_bytes(payload[at : at + size], "big")
        if unit := payload[at + size : at + size + length]:
            yield unit
        at += size + length


def _recovers_at_once(sei: bytes) -> bool:
    at = 1
    while at + 1 < len(sei):
        kind, at = _summed(sei, at)
        size, at = _summed(sei, at)
        if kind == _RECOVERY_POINT and at < len(sei):
            return sei[at] & _FLAGS == _AT_ONCE_AND_EXACT
        at += size
    return False


def _summed(data: bytes, at: int) -> tuple[int, int]:
    """A number written as 255 as often as it goes, and the rest; and where it ends."""
    total = 0
    while at < len(data) and data[at] == 255:
        total, at = total + 255, at + 1
    return total + (data[at] if at < len(data) else 0), at + 1
