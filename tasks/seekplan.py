"""Where decoding has to start so that a frame comes out exactly as in a linear run. Pure, on the frame index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.messages import FrameIndex

#: A "key frame" of these codecs may be a mere recovery point or an I picture that later pictures look past:
#: one more group of pictures is decoded in front.
_PREROLL_CODECS = ("h264",)
#: Decoding on is cheaper than a seek for gaps up to this many frames.
_SHORT_GAP = 32
#: Instead of a key frame: the file's first packet.
FILE_START = -1


@dataclass(frozen=True, eq=False)
class SeekPlan:
    """The key frames of an index in decode order, by packet rank, and which frame each one shows."""

    index: FrameIndex
    key_ranks: npt.NDArray[np.int64]
    key_frames: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    """Frame number by packet rank, -1 for packets that show none."""
    shown: npt.NDArray[np.int64]
    """The latest frame, by number, that this packet or one before it shows; -1 for none."""
    preroll: int

    @classmethod
    def of(cls, index: FrameIndex, codec: str) -> SeekPlan:
        frames = np.flatnonzero(index.keyframe)
        order = np.argsort(index.packet[frames])
        by_rank = np.full(int(index.packet.max(initial=-1)) + 1, -1, dtype=np.int64)
        by_rank[index.packet] = np.arange(len(index))
        shown = np.maximum.accumulate(by_rank)
        return cls(index, index.packet[frames][order], frames[order], by_rank, shown, 1 if codec in _PREROLL_CODECS else 0)

    def frame_of(self, rank: int) -> int | None:
        """The frame that the packet of ``rank`` shows, None when it shows none."""
        return int(self.frames[rank]) if rank < len(self.frames) and self.frames[rank] >= 0 else None

    def is_key(self, rank: int) -> bool:
        """A decoder can start at the packet of ``rank``."""
        frame = self.frame_of(rank)
        return frame is not None and bool(self.index.keyframe[frame])

    def is_shown_early(self, rank: int) -> bool:
        """The packet of ``rank`` shows its frame before one that is decoded earlier."""
        frame = self.frame_of(rank)
        return frame is not None and int(self.shown[rank]) > frame

    def last_key(self, frame: int) -> int:
        """Position in ``key_ranks`` of the last key frame that is decoded no later than ``frame`` and shown no later; -1 for
        none."""
        at = int(np.searchsorted(self.key_ranks, self.index.packet[frame], side="right")) - 1
        while at >= 0 and self.key_frames[at] > frame:
            at -= 1
        return at

    def start_key(self, frame: int, earlier: int = 0) -> int:
        """Position in ``key_ranks`` of the key frame to start at for ``frame``, ``earlier`` ones before it; or FILE_START.

        A picture decoded after a key frame but shown before it (open GOP) needs the key frame before that one.
        """
        return max(FILE_START, self.last_key(frame) - self.preroll - earlier)

    def worth_seeking(self, frame: int, next_frame: int) -> bool:
        """True when ``frame`` lies behind the next frame to come out, or so far ahead that a key frame saves decoding."""
        if frame < next_frame:
            return True
        start = self.start_key(frame)
        return start >= 0 and int(self.key_frames[start]) - next_frame > _SHORT_GAP


def reorder_depth(ranks: npt.NDArray[np.int64]) -> int:
    """How many frames a decoder must hold back; ``ranks`` are decode positions (gaps allowed) in presentation order."""
    decode_position = np.argsort(np.argsort(ranks))
    return int(np.max(decode_position - np.arange(len(ranks)), initial=0))
