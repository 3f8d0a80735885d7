"""Half-open ranges of frame numbers, the one interval type of the project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class FrameRange:
    """Frames ``start, start + 1, ..., stop - 1`` in presentation order, 0-based. May be empty, never negative in length."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.stop < self.start:
            raise ValueError(f"FrameRange [{self.start}, {self.stop}) ends before it starts")

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.stop))

    def __contains__(self, frame: object) -> bool:
        return isinstance(frame, int) and self.start <= frame < self.stop

    def __str__(self) -> str:
        return f"[{self.start}, {self.stop})"

    def clamp(self, within: FrameRange) -> FrameRange:
        """The part of this range that lies in ``within``; empty, at the nearer end, when there is none."""
        start = min(max(self.start, within.start), within.stop)
        return FrameRange(start, max(start, min(self.stop, within.stop)))

    def dilate(self, radius: int, within: FrameRange) -> FrameRange:
        """This range with a halo of ``radius`` frames on each side, never past ``within``."""
        return FrameRange(self.start - radius, self.stop + radius).clamp(within)
