"""Frame map -> which of the clip's sound is heard when: a few pieces of constant rate on ref's time, silence between. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vsalign.framemap import FrameMap

if TYPE_CHECKING:
    from vsalign.timelines import Stretch

Doubles = npt.NDArray[np.float64]

#: Ref frames without counterpart that the clip's sound runs through: where the same line goes on behind them, and where another
#: begins. It never runs on into sound that comes again later.
BRIDGED_SECONDS, BRIDGED_AT_CUT_SECONDS = 1.0, 0.25
#: Fewer matched frames than this, alone in silence, are chance.
FEWEST_FRAMES = 12
#: A row's weight without any confidence; a sure one's is 1.
LEAST_WEIGHT = 0.3
#: Less than this is no stretch of time worth hearing or keeping silent.
_INSTANT = 0.005


@dataclass(frozen=True, slots=True)
class SoundPiece:
    """From ``ref_start`` to ``ref_stop`` (seconds, half-open) the clip's sound from ``clip_start`` (seconds) on is heard, at
    ``rate`` clip seconds per ref second: exactly 1.0, or a known ratio, where the map does not measurably differ from it."""

    ref_start: float
    ref_stop: float
    clip_start: float
    rate: float

    def clip_seconds(self, ref_seconds: float) -> float:
        return self.clip_start + self.rate * (ref_seconds - self.ref_start)


@dataclass(frozen=True, slots=True)
class SoundPlan:
    """Pieces in order, apart or touching, on a film from ``ref_start`` to ``ref_stop`` seconds; silence where there is none."""

    pieces: tuple[SoundPiece, ...]
    ref_start: float
    ref_stop: float

    def is_shift(self, clip_start: float, clip_stop: float) -> bool:
        """One piece at ref's own rate, and what is silent is so because the clip, from ``clip_start`` to ``clip_stop`` seconds,
        has no sound there: moving all of it does the same."""
        piece = self.pieces[0]
        whole_start = piece.ref_start <= self.ref_start or piece.clip_start <= clip_start + _INSTANT
        end = piece.clip_seconds(piece.ref_stop)
        whole_stop = piece.ref_stop >= self.ref_stop or end >= clip_stop - _INSTANT
        return len(self.pieces) == 1 and piece.rate == 1.0 and whole_start and whole_stop

    @property
    def num_fades(self) -> int:
        return sum(one.ref_stop == other.ref_start for one, other in pairwise(self.pieces))

    @property
    def silent_seconds(self) -> float:
        heard = sum(piece.ref_stop - piece.ref_start for piece in self.pieces)
        return max(self.ref_stop - self.ref_start - heard, 0.0)

    def describe(self) -> str:
        """In words: "3 pieces, rate 1.042708 resampled, 2 cross-fades, 12.3 s silence"."""
        rates = dict.fromkeys(f"{piece.rate:.6f}" for piece in self.pieces if piece.rate != 1.0)
        parts = [_counted(len(self.pieces), "piece")]
        if rates:
            parts.append(f"rate {', '.join([*rates][:4])}{' ...' if len(rates) > 4 else ''} resampled")
        if self.num_fades:
            parts.append(_counted(self.num_fades, "cross-fade"))
        if self.silent_seconds >= 0.05:
            parts.append(f"{self.silent_seconds:.1f} s silence")
        return ", ".join(parts)


def plan_sound(
    frame_map: FrameMap, clip_seconds: Doubles, ref_seconds: Doubles, clip_stop: float, ref_stop: float
) -> SoundPlan | None:
    """The clip's sound on ref's time; None when no frame is matched.

    clip_seconds (M,), ref_seconds (N,): rising presentation times of the frames; clip_stop, ref_stop: when the last one of each
    is over. Frames without counterpart are silent but for short gaps (BRIDGED_SECONDS); pieces meet at the first frame of the
    later one.
    """
    from vsalign.timelines import follow  # numba takes its time to load

    at = np.flatnonzero(frame_map.matched)
    if not len(at):
        return None
    ref, clip = ref_seconds[at], clip_seconds[frame_map.clip_frame[at]]
    weight = LEAST_WEIGHT + (1 - LEAST_WEIGHT) * frame_map.confidence[at].astype(np.float64)
    stretches = follow(ref, clip, weight, max(_usual_step(ref_seconds, ref_stop), _usual_step(clip_seconds, clip_stop)))
    until = np.append(ref_seconds, ref_stop)[at + 1]
    runs = _without_chance([run for stretch in stretches for run in _runs(stretch, ref, until)])
    pieces = [_piece(run, ref, until) for run in runs]
    pieces = _met(pieces)
    pieces[0] = _from_start(pieces[0], float(ref_seconds[0]), float(clip_seconds[0]))
    pieces[-1] = _to_stop(pieces[-1], ref_stop, clip_stop)
    return SoundPlan(tuple(pieces), float(ref_seconds[0]), ref_stop)


def _usual_step(seconds: Doubles, stop: float) -> float:
    return float(np.median(np.diff(np.append(seconds, stop))))


def _runs(stretch: Stretch, ref: Doubles, until: Doubles) -> list[Stretch]:
    """The stretch without the long gaps in it."""
    from vsalign.timelines import Stretch

    gap = ref[stretch.start + 1 : stretch.stop] - until[stretch.start : stretch.stop - 1]
    cuts = (np.flatnonzero(gap > BRIDGED_SECONDS) + stretch.start + 1).tolist()
    return [Stretch(start, stop, stretch.line) for start, stop in pairwise([stretch.start, *cuts, stretch.stop])]


def _without_chance(runs: list[Stretch]) -> list[Stretch]:
    """Lone matches amid frames without counterpart are left out, unless there is nothing else."""
    enough = [run for run in runs if run.stop - run.start >= FEWEST_FRAMES]
    return enough or runs


def _piece(run: Stretch, ref: Doubles, until: Doubles) -> SoundPiece:
    start, stop = float(ref[run.start]), float(until[run.stop - 1])
    return SoundPiece(start, stop, run.line.clip_seconds(start), run.line.rate)


def _met(pieces: Sequence[SoundPiece]) -> list[SoundPiece]:
    """Pieces prolonged over short gaps, as far as the clip has sound there that is not heard again in the next piece."""
    met: list[SoundPiece] = []
    for piece, following in pairwise(pieces):
        gap = following.ref_start - piece.ref_stop
        unused = (following.clip_start - piece.clip_seconds(piece.ref_stop)) / piece.rate
        more = min(max(unused, 0.0), gap) if _INSTANT < gap <= BRIDGED_AT_CUT_SECONDS else 0.0
        met.append(_until(piece, following.ref_start if gap - more <= _INSTANT else piece.ref_stop + more))
    return [*met, pieces[-1]]


def _from_start(piece: SoundPiece, ref_start: float, clip_start: float) -> SoundPiece:
    gap = piece.ref_start - ref_start
    if gap > BRIDGED_SECONDS:
        return piece
    earlier = min(gap, max(piece.clip_start - clip_start, 0.0) / piece.rate)
    start = ref_start if gap - earlier <= _INSTANT else piece.ref_start - earlier
    return SoundPiece(start, piece.ref_stop, piece.clip_seconds(start), piece.rate)


def _to_stop(piece: SoundPiece, ref_stop: float, clip_stop: float) -> SoundPiece:
    gap = ref_stop - piece.ref_stop
    if gap > BRIDGED_SECONDS:
        return piece
    later = min(gap, max(clip_stop - piece.clip_seconds(piece.ref_stop), 0.0) / piece.rate)
    return _until(piece, ref_stop if gap - later <= _INSTANT else piece.ref_stop + later)


def _until(piece: SoundPiece, ref_stop: float) -> SoundPiece:
    return SoundPiece(piece.ref_start, ref_stop, piece.clip_start, piece.rate)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
