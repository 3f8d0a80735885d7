"""MPEG-4 pictures that are not coded: an encoder's word for "the same as before", of which no picture comes. Pure."""

from __future__ import annotations

import re

_VOP = b"\0\0\1\xb6"
_VOL = re.compile(rb"\x00\x00\x01[\x20-\x2f]", re.DOTALL)
#: Behind its start code such a picture has time and a flag, no more; what has is damaged.
_MOST_BYTES = 8
_RECTANGULAR, _EXTENDED_ASPECT, _VBV_BITS = 0, 15, 79


class NotCoded:
    """Looks at a stream's packets one by one, in file order, from its ``extradata`` on."""

    def __init__(self, extradata: bytes) -> None:
        self._time_bits = time_bits(extradata) or 0
        self._before_was_packed = False

    def shows_nothing(self, payload: bytes) -> bool:
        """True for a packet that holds one picture, not coded. Where frames are packed in pairs it only fills the place of one
        that came before, whose picture then comes out: False."""
        self._time_bits = time_bits(payload) or self._time_bits
        behind_two, self._before_was_packed = self._before_was_packed, payload.count(_VOP) > 1
        if behind_two or self._before_was_packed or not self._time_bits:
            return False
        at = payload.find(_VOP)
        return at >= 0 and len(payload) - at - len(_VOP) <= _MOST_BYTES and not _coded(payload[at + 4 :], self._time_bits)


def time_bits(data: bytes) -> int | None:
    """How many bits a picture's time takes, by a layer's header (ISO/IEC 14496-2, 6.2.3) in ``data``; None without one."""
    found = _VOL.search(data)
    if found is None:
        return None
    bits = _Bits(data[found.end() :])
    bits.skip(1 + 8)
    if bits.take(1):
        bits.skip(4 + 3)
    if bits.take(4) == _EXTENDED_ASPECT:
        bits.skip(16)
    if bits.take(1):
        bits.skip(2 + 1)
        bits.skip(_VBV_BITS if bits.take(1) else 0)
    if bits.take(2) != _RECTANGULAR:
        return None
    bits.skip(1)
    resolution = bits.take(16)
    return max(1, (resolution - 1).bit_length()) if resolution else None


def _coded(vop: bytes, num_time_bits: int) -> bool:
    bits = _Bits(vop)
    bits.skip(2)
    while bits.take(1):
        pass
    marker = bits.take(1)
    bits.skip(num_time_bits)
    return not (marker and bits.take(1) and not bits.is_over and not bits.take(1))


class _Bits:
    """Bits from the first on; behind the end they are 0."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data[:32], "big"), 8 * len(data[:32])

    @property
    def is_over(self) -> bool:
        return self._left <= 0

    def take(self, count: int) -> int:
        self._left -= count
        shifted = self._value >> self._left if self._left >= 0 else 0
        return shifted & (1 << count) - 1

    def skip(self, count: int) -> None:
        self._left -= count
