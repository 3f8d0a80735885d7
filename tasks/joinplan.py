"""What stitch decides before and checks after it touches files: the plan, the times, the labels. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from tasks.contents import Contents
from tasks.errors import StitchError
from tasks.timing import rounded_pts
from vsalign.frames import FrameRange

_MATROSKA_TICK = Fraction(1, 1000)
#: mp4 and mov count time in 32 bits a second.
LARGEST_TIMESCALE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """A segment file and the ref frames it holds."""

    path: str
    ref_frames: FrameRange


@dataclass(frozen=True, slots=True)
class StitchResult:
    """What was written, counted while writing. ``left_out``: how many events and chapters the film has no place for;
    ``notes``: what else of other films is not there as it was, a line each."""

    path: str
    num_frames: int
    size_bytes: int
    contents: Contents
    left_out: dict[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What a finished film holds by demuxing; ``problems`` are one line each, empty when all is as planned. ``lost``: the same
    of titles, languages, flags and tags, not all of which every container keeps."""

    path: str
    num_frames: int
    contents: Contents
    problems: tuple[str, ...]
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """All that is known of the picture stream before it is written; arrays per ref frame, in ticks of ``time_base``."""

    segments: Sequence[SegmentPlan]
    pts: npt.NDArray[np.int64]
    durations: npt.NDArray[np.int64]
    time_base: Fraction
    moved: int
    """Ticks by which ``pts`` are later than ref's own."""

    @property
    def stop_seconds(self) -> Fraction:
        """When the last frame is over."""
        return (int(self.pts[-1]) + int(self.durations[-1])) * self.time_base


def check_plan(segments: Sequence[SegmentPlan], pts: npt.NDArray[np.int64]) -> None:
    """Raise StitchError unless the segments cover all frames once, in order."""
    expected = 0
    for segment in segments:
        if segment.ref_frames.start != expected:
            raise StitchError(f"{segment.path}: segment begins at frame {segment.ref_frames.start}, expected {expected}")
        expected = segment.ref_frames.stop
    if expected != len(pts) or not expected:
        raise StitchError(f"segments cover {expected} frames, the film has {len(pts)}")


def check_times(pts: npt.NDArray[np.int64], time_base: Fraction, container: str) -> None:
    """Raise StitchError where the container (FFmpeg's muxer name) can't hold the film's times apart or at all."""
    if container != "matroska" and time_base.denominator > LARGEST_TIMESCALE:
        raise StitchError(f"{container} cannot count time in {time_base} s; .mkv can, rounded to milliseconds")
    rounded = rounded_pts(pts, time_base, _MATROSKA_TICK) if container == "matroska" else pts
    if (same := np.flatnonzero(np.diff(rounded) <= 0)).size:
        why = (
            "are less than a millisecond apart, which Matroska cannot hold; .mp4 can"
            if container == "matroska"
            else "do not rise"
        )
        raise StitchError(f"the times of frames {same[0]} and {same[0] + 1} {why}")


def head_start(pts: npt.NDArray[np.int64]) -> int:
    """Ticks by which a film that starts before zero is moved so that it starts at zero; else 0."""
    return max(0, -int(pts[0]))


def is_constant_rate(pts: npt.NDArray[np.int64]) -> bool:
    """Evenly spaced up to the rounding of a coarse time base."""
    return bool(np.all(np.abs(pts - np.linspace(pts[0], pts[-1], len(pts))) <= 1.0))


def picture_problems(rows: Sequence[tuple[int | None, int | None, bool]], expected: npt.NDArray[np.int64]) -> Iterator[str]:
    """One line for each way in which demuxed (pts, dts, is key) rows differ from ``expected`` PTS, in ticks of the file."""
    if len(rows) != len(expected):
        yield f"{len(rows)} frames, {len(expected)} were planned"
        return
    if not rows[0][2]:
        yield "the first packet is not a key frame"
    decode_times = np.array([dts for _, dts, _ in rows if dts is not None], dtype=np.int64)
    if (back := np.flatnonzero(np.diff(decode_times) <= 0)).size:
        yield f"decode times do not rise at packet {back[0] + 1} ({back.size} places)"
    if missing := sum(pts is None for pts, _, _ in rows):
        yield f"{missing} packets have no presentation time"
        return
    found = np.sort(np.array([pts for pts, _, _ in rows], dtype=np.int64))
    if (wrong := np.flatnonzero(found != expected)).size:
        at = wrong[0]
        yield f"frame {at} is shown at tick {found[at]}, planned was {expected[at]} ({wrong.size} frames differ)"
