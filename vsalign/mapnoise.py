"""Telling edits from noise in a frame map: on slow pans, in fades and in stills the best match may be a frame or two off.

What a map is sure of is never changed, so a map taken for certain comes back as it was.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vsalign.framemap import UNMATCHED, FrameMap, Source

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: A run of rows at one offset is doubted below this mean confidence, and below this sum of it.
DOUBTED_MEAN, DOUBTED_SUM = 0.8, 12.0
#: So is a longer one whose mean is below this share of the film's usual confidence.
POOR_SHARE, POOR_SUM = 0.5, 40.0
#: Runs at most this many frames apart are seen together; doubted ones take the offset of the sure ones next to them.
SMALL_DETOUR = 2
#: Frames that they may drift away in small steps.
MOST_DRIFT = 8
#: A run further off is taken for chance, and its rows for unmatched, below these.
CHANCE_MEAN, CHANCE_SUM = 0.25, 6.0
#: Rows on each side that say how far a hole in the map is to be believed; length times their confidence must reach HOLE_SUM.
HOLE_RADIUS, HOLE_SUM = 6, 1.0


def confidence_of(frame_map: FrameMap) -> Doubles:
    """How sure each row is (N,), 0 where unmatched; what the user put in is certain."""
    sure = np.where(frame_map.source == Source.EDITED, 1.0, frame_map.confidence)
    return np.where(frame_map.matched, sure, 0.0)


def without_noise(clip_frame: Ints, sure: Doubles, usual: Ints, num_clip: int) -> Ints:
    """The map (N,) with detours and holes that its confidence doesn't bear out taken out; ``usual`` (N,) clip frames that each
    row advances where nothing is edited."""
    base = np.cumsum(usual)
    rows = np.flatnonzero(clip_frame >= 0)
    if not len(rows):
        return clip_frame
    offset = _straightened(clip_frame[rows] - base[rows], sure[rows])
    chance = _by_chance(offset, sure[rows])
    steady = base[rows] + offset
    out = np.full(len(clip_frame), UNMATCHED, np.int64)
    inside = ~chance & (steady >= 0) & (steady < num_clip)
    out[rows[inside]] = steady[inside]
    return _filled(out, sure, base)


def _runs(offset: Ints) -> tuple[Ints, Ints]:
    """First index of every run of equal offsets, and the index after its last."""
    bounds = np.flatnonzero(np.diff(offset)) + 1
    return np.concatenate([[0], bounds]), np.concatenate([bounds, [len(offset)]])


def _straightened(offset: Ints, sure: Doubles) -> Ints:
    """Offsets of matched rows (K,) with every block of doubted runs, no far jump inside, fitted to the sure runs beside it."""
    start, stop = _runs(offset)
    level, total = offset[start].copy(), np.add.reduceat(sure, start)
    poor = min(POOR_SHARE * float(np.median(sure)), DOUBTED_MEAN)
    doubted = (total < DOUBTED_MEAN * (stop - start)) & (total < DOUBTED_SUM)
    doubted |= (total < poor * (stop - start)) & (total < POOR_SUM)
    near = np.concatenate([[False], np.abs(np.diff(level)) <= SMALL_DETOUR, [False]])
    bounds = np.flatnonzero(~near[1:-1] | (doubted[1:] != doubted[:-1])) + 1
    for first, last in pairwise([0, *bounds.tolist(), len(level)]):
        if doubted[first]:
            before = int(level[first - 1]) if near[first] else None
            after = int(level[last]) if near[last] else None
            level[first:last] = _fitted(level[first:last], total[first:last], before, after)
    return np.repeat(level, stop - start)


def _fitted(level: Ints, total: Doubles, before: int | None, after: int | None) -> Ints:
    """What to believe of doubted offsets between two sure ones, None where there is none next to them."""
    anchor = after if before is None else before
    if anchor is None:
        best = int(level[np.argmax(total)])
        return np.where(np.abs(level - best) <= SMALL_DETOUR, best, level)
    if before is None or after is None or before == after:
        return np.where(np.abs(level - anchor) <= MOST_DRIFT, anchor, level)
    # On the way from one offset to the other: the stairs are kept, what leads astray is not.
    if after > before:
        return np.maximum.accumulate(np.clip(level, before, after))
    return np.minimum.accumulate(np.clip(level, after, before))


def _by_chance(offset: Ints, sure: Doubles) -> Flags:
    """Rows of runs that lie far from both neighbours and that nothing speaks for."""
    start, stop = _runs(offset)
    total = np.add.reduceat(sure, start)
    far = np.abs(np.diff(offset[start])) > SMALL_DETOUR
    alone = np.concatenate([[True], far]) & np.concatenate([far, [True]])
    chance = alone & (total < CHANCE_MEAN * (stop - start)) & (total < CHANCE_SUM)
    return np.repeat(chance, stop - start)


def _filled(clip_frame: Ints, sure: Doubles, base: Ints) -> Ints:
    """Holes that the clip passes at its usual pace are filled, where the rows around are unsure themselves."""
    out = clip_frame.copy()
    holes = np.flatnonzero(np.diff(np.concatenate([[0], (clip_frame < 0).astype(np.int8), [0]])))
    for start, stop in zip(holes[::2].tolist(), holes[1::2].tolist(), strict=True):
        if start == 0 or stop == len(clip_frame):
            continue
        offset = clip_frame[start - 1] - base[start - 1]
        around = np.concatenate([sure[max(start - HOLE_RADIUS, 0) : start], sure[stop : stop + HOLE_RADIUS]])
        if clip_frame[stop] - base[stop] == offset and (stop - start) * around.mean() < HOLE_SUM:
            out[start:stop] = base[start:stop] + offset
    return out
