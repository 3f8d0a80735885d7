"""Presentation and decode times of a stitched stream, made while packets pass through. Pure numbers."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from tasks.errors import StitchError


class MoreDelayNeeded(Exception):
    """A packet is shown further from where it is decoded than the reorder delay allows: start over with ``delay``."""

    def __init__(self, delay: int) -> None:
        super().__init__(delay)
        self.delay = delay


def rank_in_window[T](packets: Iterable[tuple[int, T]], window: int, name: str) -> Iterator[tuple[int, T]]:
    """(pts, packet) in decode order -> (rank by pts, packet) in the same order, looking ``window`` packets ahead.

    A packet's rank is how many packets have a smaller pts. Raises StitchError when two share a pts, or when one is shown more
    than ``window`` packets before its place.
    """
    ahead: deque[tuple[int, T]] = deque()
    unranked: list[int] = []
    ranks: dict[int, int] = {}
    next_rank, last = 0, None

    def rank_smallest() -> None:
        nonlocal next_rank, last
        pts = heapq.heappop(unranked)
        if last is not None and pts <= last:
            raise StitchError(f"{name}: two frames have the same time or lie more than {window} packets out of order")
        ranks[pts], last = next_rank, pts
        next_rank += 1

    for pts, packet in packets:
        ahead.append((pts, packet))
        heapq.heappush(unranked, pts)
        if len(ahead) > window:
            while ahead[0][0] not in ranks:
                rank_smallest()
            first, ready = ahead.popleft()
            yield ranks.pop(first), ready
    while unranked:
        rank_smallest()
    for pts, packet in ahead:
        yield ranks.pop(pts), packet


class DecodeClock:
    """Decode times for the n-th packet of a stream whose frames are shown at ``pts``: the sorted pts, ``delay`` frames earlier.

    They rise strictly over the whole stream, seams included, and never exceed the packet's own pts. The first packet comes as
    early before its picture as any key frame does: FFmpeg, seeking in mp4, takes its lead for that of all and would land behind
    the frame that is looked for. Those that follow it before zero have no smaller lead, for FFmpeg makes the smallest of theirs
    the film's start. int64 ticks.
    """

    def __init__(self, pts: npt.NDArray[np.int64], delay: int) -> None:
        self._pts, self._delay = pts, delay
        first = int(pts[1] - pts[0]) if len(pts) > 1 else 1
        self._lead = int(np.max(pts[delay:] - pts[:-delay])) if 0 < delay < len(pts) else delay * first
        self._step = max(1, first // max(1, delay - 1))

    def dts(self, position: int, frame: int) -> int:
        """Decode time of the packet at ``position`` (decode order) that shows ``frame``; MoreDelayNeeded if too soon."""
        if position - frame > self._delay:
            raise MoreDelayNeeded(position - frame)
        return self._decoded(position)

    def _decoded(self, position: int) -> int:
        at = position - self._delay
        return int(self._pts[at]) if at >= 0 else int(self._pts[0]) - self._lead + position * self._step

    def duration(self, position: int, frame: int, shown: npt.NDArray[np.int64]) -> int:
        """How long the packet at ``position`` that shows ``frame`` lasts; ``shown``: how long frames are shown.

        mp4 lasts as long as its packets do, one decoded after the other: the last of them has to reach the film's end, though
        it may show an earlier frame.
        """
        own = int(shown[frame])
        if position < len(self._pts) - 1:
            return own
        end = int(self._pts[-1]) + int(shown[-1])
        missing = end - int(self._pts[0]) - (self._decoded(position) - self._decoded(0))
        return min(max(own, missing), end - int(self._pts[frame]))


def rounded_pts(pts: npt.NDArray[np.int64], time_base: Fraction, to: Fraction) -> npt.NDArray[np.int64]:
    """Ticks of ``time_base`` as ticks of ``to``, each rounded once to the nearest (halves away from zero, as FFmpeg does)."""
    factor = time_base / to
    if factor.denominator == 1:
        return pts * factor.numerator
    doubled = np.abs(pts) * (2 * factor.numerator) + factor.denominator
    return np.asarray(np.sign(pts) * (doubled // (2 * factor.denominator)), dtype=np.int64)
