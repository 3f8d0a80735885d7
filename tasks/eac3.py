"""Frames of E-AC-3 as far as a muxer has to understand them (ETSI TS 102 366, annex E). Pure."""

from __future__ import annotations

from dataclasses import dataclass

_SYNC = b"\x0b\x77"
_NUM_BLOCKS = (1, 2, 3, 6)
_KILOBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_INDEPENDENT, _DEPENDENT, _RESERVED = 0, 1, 3
#: The muxers gather so many blocks in one packet.
_SEXTET = 6
#: FFmpeg learns what the track holds from so many packets, and looks at all of their frames.
_LOOKED_THROUGH = 2


@dataclass(frozen=True, slots=True)
class _Frame:
    kind: int
    size_bytes: int
    num_blocks: int


@dataclass(slots=True)
class Eac3Gate:
    """Lets those packets of one stream pass that FFmpeg's mp4 and mov muxers take: they give up the film at any other.
    ``num_blocks`` of each packet, 256 samples each; 0: as the first has it."""

    num_blocks: int = 0
    num_passed: int = 0

    @property
    def is_complete(self) -> bool:
        """What passed so far makes whole sextets of blocks; the muxers lose what is left of one at the end."""
        return self.num_passed * self.num_blocks % _SEXTET == 0

    def passes(self, packet: memoryview) -> bool:
        frame = _frame(packet[:6])
        if frame is None or frame.kind == _DEPENDENT:
            return False
        # Blocks are gathered by six: one packet with another number of them, and no later one fits.
        if frame.num_blocks != (self.num_blocks or frame.num_blocks):
            return False
        if self.num_passed < _LOOKED_THROUGH and not _is_whole(packet):
            return False
        self.num_blocks, self.num_passed = frame.num_blocks, self.num_passed + 1
        return True


def _is_whole(packet: memoryview) -> bool:
    """Frames one behind the other to the very end, the first independent, the others its own."""
    at = 0
    while at < len(packet):
        frame = _frame(packet[at : at + 6])
        if frame is None or (at and frame.kind != _DEPENDENT):
            return False
        at += frame.size_bytes
    return at == len(packet)


def _frame(head: memoryview) -> _Frame | None:
    """None for what is no header. On Blu-ray the independent frames are plain AC-3."""
    if len(head) < 6 or head[:2] != _SYNC or head[5] >> 3 > 16:
        return None
    return _extended(head) if head[5] >> 3 > 10 else _plain(head)


def _extended(head: memoryview) -> _Frame | None:
    kind, rate, blocks = head[2] >> 6, head[4] >> 6, head[4] >> 4 & 3
    size = 2 * ((head[2] & 7) << 8 | head[3]) + 2
    if kind == _RESERVED or head[2] >> 3 & 7 or size < 7 or (rate == 3 and blocks == 3):
        return None
    return _Frame(kind, size, _NUM_BLOCKS[3 if rate == 3 else blocks])


def _plain(head: memoryview) -> _Frame | None:
    rate, code = head[4] >> 6, head[4] & 63
    if rate == 3 or code >= 2 * len(_KILOBITS):
        return None
    kilobits = _KILOBITS[code // 2]
    words = (2 * kilobits, 320 * kilobits // 147 + code % 2, 3 * kilobits)[rate]
    return _Frame(_INDEPENDENT, 2 * words, 6)
