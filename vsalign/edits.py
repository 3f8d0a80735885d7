"""What one version of a film does differently from the other, read from the frame map.

Scenes missing, added, replaced or moved, another speed, frames repeated or dropped at a beat or without one, and where films
start and end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vsalign.cadence import Beat, find_beats
from vsalign.editkinds import Cadence, Edit, End, Extra, Missing, Moved, Nothing, Replaced, Span, Start, Uneven
from vsalign.framemap import FrameMap
from vsalign.frames import FrameRange
from vsalign.mapnoise import confidence_of, without_noise
from vsalign.scenes import Scene, in_order, split_scenes
from vsalign.speed import find_speeds

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Where one film has at least this many times the frames of the other, it has a scene more rather than another one.
FEW = 8
#: Frames held, or passed over, no more than so many rows apart are one edit, if those rows are less sure than this.
SPREAD_ROWS, SPREAD_SURE = 6, 0.5
#: Edits of so few frames are small; that many of them are listed one by one. More are one line, as long as they lie no further
#: apart than so many ref seconds, or than so many times their mean distance.
SMALL = 2
MOST_SMALL, TOGETHER_SECONDS, TOGETHER_SHARE = 8, 60.0, 8.0
_FIRST = ("nothing", "start", "speed", "cadence")


@dataclass(frozen=True, eq=False)
class Times:
    """Seconds of every frame of both films since each one's first; the last frame lasts as long as most do."""

    clip: Doubles
    ref: Doubles

    @classmethod
    def of(cls, clip_seconds: Doubles, ref_seconds: Doubles) -> Times:
        return cls(_with_end(clip_seconds), _with_end(ref_seconds))

    def where(self, ref_frames: FrameRange, clip_frames: FrameRange) -> tuple[FrameRange, FrameRange, Span, Span]:
        """The four fields that every edit has."""
        return ref_frames, clip_frames, _span(self.ref, ref_frames), _span(self.clip, clip_frames)


@dataclass(frozen=True, eq=False)
class _Ranges:
    """Frame ranges in order of their starts, so many that each question has to be asked of all at once."""

    starts: Ints
    stops: Ints

    @classmethod
    def of(cls, ranges: Iterable[FrameRange]) -> _Ranges:
        pairs = sorted((part.start, part.stop) for part in ranges)
        return cls(*np.array(pairs, np.int64).reshape(-1, 2).T)

    def left_of(self, whole: FrameRange) -> list[FrameRange]:
        """What these leave of ``whole``, none of it empty."""
        left, at = [], whole.start
        for k in np.flatnonzero((self.starts < whole.stop) & (self.stops > whole.start)).tolist():
            left.append(FrameRange(at, max(int(self.starts[k]), at)))
            at = max(at, min(int(self.stops[k]), whole.stop))
        left.append(FrameRange(at, max(whole.stop, at)))
        return [part for part in left if len(part)]


@dataclass(frozen=True, eq=False)
class _Moved:
    """The frames of both films that are found in another order."""

    ref: _Ranges
    clip: _Ranges

    @classmethod
    def of(cls, scenes: Sequence[Scene]) -> _Moved:
        return cls(_Ranges.of(scene.ref for scene in scenes), _Ranges.of(scene.clip for scene in scenes))


def find_edits(frame_map: FrameMap, clip_seconds: Doubles, ref_seconds: Doubles) -> tuple[Edit, ...]:
    """The edits that turn ref into the clip, in order of ref.

    clip_seconds (M,), ref_seconds (N,): rising presentation times of all frames. Exact to the frame where the map is; what the
    map is not sure of (slow pans, fades) and what would be a detour of a frame or two is taken for noise. Raises ValueError
    when the map is not of ref's length or names a frame that the clip does not have.
    """
    num_clip, num_ref = len(clip_seconds), len(ref_seconds)
    if len(frame_map) != num_ref or frame_map.clip_frame.max(initial=-1) >= num_clip:
        raise ValueError(f"a map of {len(frame_map)} rows does not go with {num_ref} ref and {num_clip} clip frames")
    times = Times.of(clip_seconds, ref_seconds)
    if not num_ref:
        return ()
    sure = confidence_of(frame_map)
    beats, usual = find_beats(frame_map.clip_frame, sure)
    clip_frame = without_noise(frame_map.clip_frame, sure, usual, num_clip)
    if beats:
        # Noise hides beats, and a cadence that is not quite known leaves noise.
        beats, usual = find_beats(clip_frame, sure)
        clip_frame = without_noise(clip_frame, sure, usual, num_clip)
    if not (clip_frame >= 0).any() and _in_order(frame_map.clip_frame):
        # What little there is looks right, though none of it is sure enough to tell an edit by.
        clip_frame = frame_map.clip_frame
    if not (clip_frame >= 0).any():
        return (Nothing(*times.where(FrameRange(0, num_ref), FrameRange(0, num_clip))),)
    scenes = split_scenes(clip_frame, usual, sure)
    main, moved = in_order(scenes)
    changes = _changes(clip_frame, usual, sure, main, _Moved.of(moved), times)
    edits = _uneven([edit for edit in changes if not _is_beat(edit, beats, num_ref)], times)
    edits += [_moved(scene, main, times) for scene in moved]
    edits += [_cadence(beat, clip_frame, times) for beat in beats]
    edits += find_speeds(main, usual, clip_frame, beats, times.clip, times.ref, times.where)
    return tuple(sorted(edits, key=lambda edit: (edit.ref_frames.start, _rank(edit), edit.ref_frames.stop)))


def _in_order(clip_frame: Ints) -> bool:
    """Whether most matched frames follow each other as a film's do."""
    steps = np.diff(clip_frame[clip_frame >= 0])
    return bool(np.mean((steps >= 0) & (steps <= 2)) > 0.9) if len(steps) else True


def _rank(edit: Edit) -> int:
    return _FIRST.index(edit.kind) if edit.kind in _FIRST else len(_FIRST)


def _changes(clip_frame: Ints, usual: Ints, sure: Doubles, main: list[Scene], moved: _Moved, times: Times) -> Iterator[Edit]:
    """What lies between the scenes in order, and the single frames inside of them."""
    ref_at, clip_at = 0, 0
    for scene in main:
        ref_gap = FrameRange(ref_at, scene.ref.start)
        if ref_at and not len(ref_gap):
            # Frames that the pace passes over belong to no edit.
            clip_at += max(int(usual[ref_at]) - 1, 0)
        yield from _gap(ref_gap, FrameRange(clip_at, max(scene.clip.start, clip_at)), moved, times)
        yield from _inside(scene, clip_frame, usual, sure, times)
        ref_at, clip_at = scene.ref.stop, max(clip_at, scene.clip.stop)
    yield from _gap(FrameRange(ref_at, len(clip_frame)), FrameRange(clip_at, len(times.clip) - 1), moved, times)


def _is_beat(edit: Edit, beats: tuple[Beat, ...], num_ref: int) -> bool:
    """The clip frames before the first or after the last ref frame are no more than the cadence there passes over."""
    if not isinstance(edit, Start | End) or len(edit.ref_frames):
        return False
    at = [beat for beat in beats if (beat.stop == num_ref if isinstance(edit, End) else beat.start == 0)]
    return any(len(edit.clip_frames) < beat.step + max(beat.change, 0) for beat in at)


def _gap(ref: FrameRange, clip: FrameRange, moved: _Moved, times: Times) -> Iterator[Edit]:
    """The edits between two scenes; frames that are found elsewhere are no difference."""
    refs, clips = moved.ref.left_of(ref), moved.clip.left_of(clip)
    if len(refs) == 1 and len(clips) == 1:
        yield _difference(refs[0], clips[0], times)
        return
    for part in refs:
        yield _difference(part, FrameRange(clip.start, clip.start), times)
    for part in clips:
        yield _difference(FrameRange(ref.start, ref.start), part, times)


def _difference(ref: FrameRange, clip: FrameRange, times: Times) -> Edit:
    where = times.where(ref, clip)
    if len(ref) < FEW * len(clip) and len(clip) < FEW * len(ref):
        return Replaced(*where)
    if ref.start == 0 and clip.start == 0:
        return Start(*where)
    if ref.stop == len(times.ref) - 1 and clip.stop == len(times.clip) - 1:
        return End(*where)
    return Missing(*where) if len(ref) > len(clip) else Extra(*where)


def _inside(scene: Scene, clip_frame: Ints, usual: Ints, sure: Doubles, times: Times) -> Iterator[Edit]:
    """Frames held and passed over where the scene goes on."""
    first = scene.ref.start + 1
    change = np.diff(clip_frame[scene.ref.start : scene.ref.stop]) - usual[first : scene.ref.stop]
    rows = (np.flatnonzero(change) + first).tolist()
    at = 0
    while at < len(rows):
        row, number = rows[at], int(change[rows[at] - first])
        at += 1
        # Where frames are hard to tell apart, what is missing or added in one place is spread over some rows.
        while at < len(rows) and number * change[rows[at] - first] > 0 and _is_spread(rows[at - 1], rows[at], number < 0, sure):
            number += int(change[rows[at] - first])
            at += 1
        clip = int(clip_frame[row - 1]) + int(usual[row]) if number > 0 else int(clip_frame[row]) + 1
        ref_frames = FrameRange(row, row - min(number, 0))
        yield _difference(ref_frames, FrameRange(clip, clip + max(number, 0)), times)


def _is_spread(row: int, following: int, held: bool, sure: Doubles) -> bool:
    between = sure[row + held : following]
    return len(between) <= SPREAD_ROWS and bool((between < SPREAD_SURE).all())


def _uneven(edits: list[Edit], times: Times) -> list[Edit]:
    """Many small edits close together become one."""
    small = sorted((e for e in edits if _is_small(e)), key=lambda edit: (edit.ref_frames.start, edit.clip_frames.start))
    if len(small) <= MOST_SMALL:
        return edits
    kept = [edit for edit in edits if not _is_small(edit)]
    apart = max(TOGETHER_SECONDS, TOGETHER_SHARE * float(times.ref[-1]) / len(small))
    cluster: list[Edit] = []
    for edit in small:
        if cluster and edit.ref_seconds[0] - cluster[-1].ref_seconds[1] > apart:
            kept += _collapsed(cluster, times)
            cluster = []
        cluster.append(edit)
    return kept + _collapsed(cluster, times)


def _is_small(edit: Edit) -> bool:
    return isinstance(edit, Missing | Extra | Replaced) and max(len(edit.ref_frames), len(edit.clip_frames)) <= SMALL


def _collapsed(cluster: list[Edit], times: Times) -> list[Edit]:
    if len(cluster) < MOST_SMALL / 2:
        return cluster
    ref = FrameRange(cluster[0].ref_frames.start, max(edit.ref_frames.stop for edit in cluster))
    clip = FrameRange(cluster[0].clip_frames.start, max(edit.clip_frames.stop for edit in cluster))
    sizes = [(edit, max(len(edit.ref_frames), len(edit.clip_frames))) for edit in cluster]
    dropped, repeated, replaced = (
        sum(size for edit, size in sizes if isinstance(edit, kind)) for kind in (Missing, Extra, Replaced)
    )
    single = all(size == 1 for _, size in sizes)
    return [Uneven(*times.where(ref, clip), dropped, repeated, replaced, single)]


def _moved(scene: Scene, main: list[Scene], times: Times) -> Moved:
    before = [other for other in main if other.ref.start < scene.ref.start]
    after = main[len(before)].clip.start if len(before) < len(main) else None
    earlier = scene.clip.start < before[-1].clip.stop if before else after is not None and scene.clip.start < after
    return Moved(*times.where(scene.ref, scene.clip), earlier)


def _cadence(beat: Beat, clip_frame: Ints, times: Times) -> Cadence:
    shown = clip_frame[beat.start : beat.stop]
    shown = shown[shown >= 0]
    clip = FrameRange(int(shown[0]), max(int(shown[-1]) + 1, int(shown[0]))) if len(shown) else FrameRange(0, 0)
    return Cadence(*times.where(FrameRange(beat.start, beat.stop), clip), beat.step, beat.change, beat.period)


def _with_end(seconds: Doubles) -> Doubles:
    times = np.asarray(seconds, np.float64)
    if not len(times):
        return np.zeros(1)
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return np.asarray(np.append(times, times[-1] + usual) - times[0])


def _span(seconds: Doubles, frames: FrameRange) -> Span:
    last = len(seconds) - 1
    return float(seconds[min(frames.start, last)]), float(seconds[min(frames.stop, last)])
