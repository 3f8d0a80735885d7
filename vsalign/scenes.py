"""Pieces of a frame map that go on without a jump, and which of them stand in the same order in both films."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vsalign.frames import FrameRange

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: A step that differs by this much from the usual one ends a piece.
JUMP = 3
#: A piece out of order is believed to be moved from this sum of confidence on.
MOVED_SUM = 3.0


@dataclass(frozen=True, slots=True)
class Scene:
    """Matched rows ``ref`` without a hole and the clip frames from their first to their last; sure: summed confidence."""

    ref: FrameRange
    clip: FrameRange
    sure: float


def split_scenes(clip_frame: Ints, usual: Ints, sure: Doubles) -> list[Scene]:
    """The pieces of a map (N,), in order of ref; they end at holes, at jumps and wherever the clip would run backwards."""
    rows = np.flatnonzero(clip_frame >= 0)
    step = np.diff(clip_frame[rows])
    change = step - usual[rows[1:]]
    bounds = np.flatnonzero((np.diff(rows) > 1) | (np.abs(change) >= JUMP) | (step < 0)) + 1
    return [
        Scene(
            FrameRange(int(part[0]), int(part[-1]) + 1),
            FrameRange(int(clip_frame[part[0]]), int(clip_frame[part[-1]]) + 1),
            float(sure[part].sum()),
        )
        for part in np.split(rows, bounds)
    ]


def in_order(scenes: list[Scene]) -> tuple[list[Scene], list[Scene]]:
    """The surest set of scenes that both films show in the same order, and those that are found elsewhere in the clip; what
    is too uncertain for that is left out."""
    main = order_of(scenes)
    chosen = {scene.ref.start for scene in main}
    moved = [scene for scene in scenes if scene.ref.start not in chosen and scene.sure >= MOVED_SUM]
    return main, moved


def order_of(scenes: list[Scene]) -> list[Scene]:
    """The rising sequence of largest summed confidence (a Fenwick tree of maxima over the clip frames that scenes end at)."""
    ends = sorted({scene.clip.stop for scene in scenes})
    place = {stop: k + 1 for k, stop in enumerate(ends)}
    tree: list[tuple[float, int]] = [(0.0, -1)] * (len(ends) + 1)
    came = [-1] * len(scenes)
    best = (0.0, -1)
    for number, scene in enumerate(scenes):
        # A scene may go on with the very frame on which the last one was held; what is less than a jump back is no move.
        low = bisect_right(ends, scene.clip.start + JUMP)
        before = _most(tree, low)
        came[number] = before[1]
        value = (before[0] + scene.sure + 1e-6 * len(scene.ref), number)
        best = max(best, value)
        _raise(tree, place[scene.clip.stop], value)
    out: list[Scene] = []
    at = best[1]
    while at >= 0:
        out.append(scenes[at])
        at = came[at]
    return out[::-1]


def _most(tree: list[tuple[float, int]], at: int) -> tuple[float, int]:
    best = (0.0, -1)
    while at > 0:
        best = max(best, tree[at])
        at -= at & -at
    return best


def _raise(tree: list[tuple[float, int]], at: int, value: tuple[float, int]) -> None:
    while at < len(tree):
        tree[at] = max(tree[at], value)
        at += at & -at
