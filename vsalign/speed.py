"""How fast the clip runs in real time against ref, wherever the map goes on without a jump."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vsalign.cadence import Beat
from vsalign.editkinds import Span, Speed
from vsalign.frames import FrameRange
from vsalign.scenes import Scene

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Where = Callable[[FrameRange, FrameRange], tuple[FrameRange, FrameRange, Span, Span]]

#: Speeds that differ by less are the same.
SAME = 2e-4
#: Times in files are rounded to milliseconds, at both ends of a stretch.
ROUNDING_SECONDS = 2e-3
#: Frames that the ends of a stretch may be off where frames are repeated or dropped.
UNEVEN_FRAMES = 3.0


@dataclass(slots=True)
class _Stretch:
    """Ref rows [start, stop], the seconds that pass between both ends in either film, and how far those may be off."""

    start: int
    stop: int
    clip_seconds: float
    ref_seconds: float
    doubt_seconds: float

    @property
    def rate(self) -> float:
        return self.clip_seconds / self.ref_seconds

    @property
    def doubt(self) -> float:
        return self.doubt_seconds / self.ref_seconds

    def joined(self, other: _Stretch) -> _Stretch:
        return _Stretch(
            self.start,
            other.stop,
            self.clip_seconds + other.clip_seconds,
            self.ref_seconds + other.ref_seconds,
            max(self.doubt_seconds, other.doubt_seconds),
        )


def find_speeds(
    main: Sequence[Scene], usual: Ints, clip_frame: Ints, beats: Sequence[Beat], clip: Doubles, ref: Doubles, where: Where
) -> list[Speed]:
    """The stretches of the map in which the clip runs faster or slower than ref; clip, ref: seconds of every frame."""
    bounds = sorted({bound for beat in beats for bound in (beat.start, beat.stop - 1)})
    stretches: list[_Stretch] = []
    for scene in main:
        last = scene.ref.stop - 1
        inner = [bound for bound in bounds if scene.ref.start < bound < last]
        for start, stop in pairwise([scene.ref.start, *inner, last]):
            if ref[stop] > ref[start]:
                stretches = _with(stretches, _stretch(start, stop, usual, clip_frame, clip, ref))
    # A clip that stands still has no speed.
    off = [s for s in stretches if s.rate > 0 and abs(s.rate - 1.0) > SAME + s.doubt]
    whole = len(off) == len(stretches) == 1
    return [_speed(stretch, clip_frame, where, whole) for stretch in off]


def _stretch(start: int, stop: int, usual: Ints, clip_frame: Ints, clip: Doubles, ref: Doubles) -> _Stretch:
    """Where frames go one to one both ends are exact; else each may be a frame off.

    Single frames dropped or repeated are edits of their own and no speed, unless they are what keeps the films together.
    """
    pace = usual[start + 1 : stop + 1]
    change = np.diff(clip_frame[start : stop + 1]) - pace
    passed, lasting = float(clip[clip_frame[stop]] - clip[clip_frame[start]]), float(ref[stop] - ref[start])
    frame = passed / max(int(clip_frame[stop] - clip_frame[start]), 1)
    doubt = frame * (UNEVEN_FRAMES + float(np.sqrt(np.abs(change).sum()))) + lasting / (stop - start)
    if abs(passed - lasting) > doubt:
        passed -= int(change.sum()) * frame
    return _Stretch(start, stop, passed, lasting, ROUNDING_SECONDS if (pace == 1).all() and not change.any() else doubt)


def _with(stretches: list[_Stretch], new: _Stretch) -> list[_Stretch]:
    """``new`` joined to the last stretch where it may run at the same speed."""
    if not stretches:
        return [new]
    last = stretches[-1]
    if abs(last.rate - new.rate) <= SAME + last.doubt + new.doubt:
        return [*stretches[:-1], last.joined(new)]
    return [*stretches, new]


def _speed(stretch: _Stretch, clip_frame: Ints, where: Where, throughout: bool) -> Speed:
    frames = FrameRange(stretch.start, stretch.stop + 1)
    clip = FrameRange(int(clip_frame[stretch.start]), int(clip_frame[stretch.stop]) + 1)
    return Speed(*where(frames, clip), 1.0 / stretch.rate, throughout)
