"""A window that slides over items of rising frame numbers. Pure: it decides what to wait for and what to let go."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence


class Windows[Item]:
    """Gives the items within ``radius`` frames of one frame after the other, and holds no others.

    ``frames``: the frame number of every item, strictly rising; ``items`` come in the same order and are taken only when a
    window needs them.
    """

    def __init__(self, frames: Sequence[int], items: Iterator[Item], radius: int) -> None:
        self._frames, self._items, self._radius = frames, items, radius
        self._held: deque[Item] = deque()
        self._first = 0

    def around(self, frame: int) -> tuple[list[Item], int]:
        """The items of frames [frame - radius, frame + radius] and which of them is ``frame``'s own.

        Windows are asked for in rising order. Raises ValueError when ``frame`` has no item or its window has passed.
        """
        start = bisect_left(self._frames, frame - self._radius)
        stop = bisect_right(self._frames, frame + self._radius)
        own = bisect_left(self._frames, frame)
        if own == len(self._frames) or self._frames[own] != frame:
            raise ValueError(f"frame {frame} has no item")
        if start < self._first:
            raise ValueError(f"frame {frame}: the window around it has passed")
        while self._first < start:
            if self._held:
                self._held.popleft()
            else:
                next(self._items)
            self._first += 1
        while self._first + len(self._held) < stop:
            self._held.append(next(self._items))
        return list(self._held), own - start
