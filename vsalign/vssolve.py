"""What is solved over the whole films before the first frame is answered: a frame map, and the times that go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vsalign.framemap import FrameMap
from vsalign.metric import Doubles
from vsalign.metricband import Ints, path_map
from vsalign.signature import sign
from vsalign.smallpicture import thumb_of
from vsalign.sync import MIN_SCORE, solve
from vsalign.temporalargs import Rates
from vsalign.thumb import SIGNATURE_BYTES
from vsalign.vsframe import Frame
from vsalign.vspicture import picture_of
from vsalign.vsrows import row_of
from vsalign.vsscan import Pass

#: vapoursynth.VideoNode, read by its attributes.
Node = Any
#: Frames per second of a node that tells no rate and whose frames tell no duration: sync finds the true ratio anyway.
_USUAL_RATE = 24.0


@dataclass(frozen=True, eq=False)
class Solved:
    """A frame map of the whole film; ``offset_ms`` (N,) clip time minus ref time, NaN where unknown, or None: by the rates."""

    frame_map: FrameMap
    offset_ms: Doubles | None


class PathSolver:
    """Collects the rows of costs of all ref frames, then takes the least-cost path; ``centres`` (N,) clip frames."""

    def __init__(self, centres: Ints, num_clip: int, tr: int) -> None:
        self._centres, self._num_clip, self._tr = centres, num_clip, min(tr, num_clip)
        self._rows: dict[int, tuple[Sequence[int], Doubles]] = {}
        self.solved: Solved | None = None

    def take(self, n: int, frame: Frame) -> None:
        """The row of ref frame ``n``."""
        self._rows[n] = row_of(frame)

    def solve(self) -> None:
        """To be called when all rows are there."""
        self.solved = Solved(path_map(self._rows, self._centres, self._num_clip, self._tr), None)
        self._rows.clear()


class SignatureSolver:
    """Scans both films for their signatures, then matches them as ``vsalign sync`` does.

    ``blank``: a tiny node. ``rates``: None for those of the nodes.
    """

    def __init__(self, clip: Node, ref: Node, blank: Node, rates: Rates | None, temporal_radius: int) -> None:
        self._clip, self._ref = _Scan(clip, blank), _Scan(ref, blank)
        self._rates, self._temporal_radius = rates, temporal_radius
        self.solved: Solved | None = None
        self.passes = [Pass("scanning the clip", self._clip.node, _nothing), Pass("scanning the ref", self._ref.node, _nothing)]

    def solve(self) -> None:
        """To be called when the passes are through. Raises ValueError when the films have nothing in common."""
        rates = self._rates
        clip_rate = None if rates is None or rates.clip_rate is None else float(rates.clip_rate)
        ref_rate = None if rates is None or clip_rate is None else clip_rate / float(rates.ratio)
        clip_seconds, ref_seconds = self._clip.seconds(clip_rate), self._ref.seconds(ref_rate)
        found = solve(self._clip.signatures, self._ref.signatures, clip_seconds, ref_seconds, self._temporal_radius)
        if found.score < MIN_SCORE:
            raise ValueError(
                f"precision is 4 and clip and ref have nothing in common: best match score {found.score:.3f}, accepted is "
                f"{MIN_SCORE} or more, or a frame_map"
            )
        shown = found.frame_map.shown_frames()
        offset = np.where(shown >= 0, clip_seconds[np.maximum(shown, 0)] - ref_seconds, np.nan) * 1000.0
        self.solved = Solved(found.frame_map, offset)
        self._clip.forget()
        self._ref.forget()


class _Scan:
    """``node`` hands out tiny frames; signatures and durations of the film's frames are put down on the way."""

    def __init__(self, film: Node, blank: Node) -> None:
        self.signatures = np.empty((film.num_frames, SIGNATURE_BYTES), np.uint8)
        self._durations = np.full(film.num_frames, np.nan)
        self._rate = float(film.fps) if film.fps else None
        tiny = blank.std.BlankClip(length=film.num_frames, keep=True)
        self.node = tiny.std.ModifyFrame([tiny, film], self._look)

    def seconds(self, rate: float | None) -> Doubles:
        """Times of the frames: by ``rate``, else by the frames' durations, the node's rate, or some rate."""
        if rate is None and np.isfinite(self._durations).all():
            return np.concatenate([[0.0], np.cumsum(self._durations)[:-1]])
        return np.arange(len(self._durations)) / (rate or self._rate or _USUAL_RATE)

    def forget(self) -> None:
        """Free the signatures."""
        self.signatures = self.signatures[:0].copy()

    def _look(self, n: int, f: Sequence[Frame]) -> Frame:
        blank, frame = f
        self.signatures[n] = sign(thumb_of(picture_of(frame, copied=False))[None])[0]
        num, den = frame.props.get("_DurationNum", 0), frame.props.get("_DurationDen", 0)
        if num > 0 and den > 0:
            self._durations[n] = num / den
        return blank


def _nothing(n: int, frame: Frame) -> None:
    pass
