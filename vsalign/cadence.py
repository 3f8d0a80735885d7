"""Frames repeated or dropped at a steady beat (telecine, pull-down, doubled frames), found in the steps of a frame map.

A step is how far the clip advances from one ref frame to the next. Around most frames it is one whole number, the pace; at a
beat it is one more or one less. Beats belong together while they can lie on one line: beat k within a frame of
first + k * period.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vsalign.beatline import LEAST_SPAN, MOST_LACKING, SHORT_SLACK, beat_lines

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: Rows on each side that say what the pace is.
PACE_RADIUS = 24
#: Steps count no more than this in it, so that a jump is no pace.
LONGEST_STEP = 6
#: The pace's fraction from which beats are seen as fewer than the next whole pace; at one half either would do.
ROUND_UP = 0.55
#: A pace below this is a held frame rather than a cadence.
SLOWEST = 0.28
#: Its rows have this share of the film's usual confidence; of a pace without beats, this share of steps keep it.
LEAST_SURE, LEAST_EVEN = 0.5, 0.8
#: A period this close to a whole number is that number, whatever the noise.
ROUND_PERIOD = 0.05
#: Periods over which a line goes on unseen where its phase is the same on both sides.
MOST_BRIDGED = 12


@dataclass(frozen=True, slots=True)
class Beat:
    """Ref rows [start, stop) in which the clip advances ``step`` frames per row, and ``change`` (1, -1, or 0 for never) more
    once in ``period`` rows."""

    start: int
    stop: int
    step: int
    change: int
    period: float


@dataclass(frozen=True, slots=True)
class _Chain:
    rows: tuple[int, ...]
    step: int
    change: int

    @property
    def period(self) -> float:
        return (self.rows[-1] - self.rows[0]) / (len(self.rows) - 1)


def find_beats(clip_frame: Ints, sure: Doubles) -> tuple[tuple[Beat, ...], Ints]:
    """The cadences of a map (N,), -1 for unmatched rows, in order; and per row (N,) the clip frames that a row advances when
    nothing is edited: 1, or what the cadence says. sure (N,): confidence; where there is little, beats are chance."""
    count = len(clip_frame)
    usual = np.ones(count, np.int64)
    step = np.diff(clip_frame, prepend=clip_frame[:1])
    known = np.zeros(count, np.bool_)
    known[1:] = (clip_frame[1:] >= 0) & (clip_frame[:-1] >= 0)
    if known.sum() < LEAST_SPAN:
        return (), usual
    pace = _pace(step, known)
    needed = LEAST_SURE * float(np.median(sure[clip_frame >= 0]))
    chains = [
        chain
        for start, stop in _level_stretches(pace)
        for rows in _unbroken(step, known, pace, start, stop)
        for chain in _chains(step, rows, int(pace[start]))
        if sure[chain.rows[0] : chain.rows[-1] + 1].mean() >= needed
    ]
    groups = _grouped(chains, step, known)
    found = [_beat(group, pace, known) for group in groups]
    found += _plain(step, known, pace, found)
    found.sort(key=lambda beat: beat.start)
    for beat in found:
        usual[beat.start : beat.stop] = beat.step
    for group in groups:
        usual[_beats_of(group, step, known)] = group[0].step + group[0].change
    for beat in found:
        _go_through_holes(beat, clip_frame, usual)
    return tuple(found), usual


def _go_through_holes(beat: Beat, clip_frame: Ints, usual: Ints) -> None:
    """Count the beats that fall into unmatched rows at the row after them, if there are as many as there should be."""
    rows = np.flatnonzero(clip_frame[beat.start : beat.stop] >= 0) + beat.start
    for at in np.flatnonzero(np.diff(rows) > 1).tolist() if beat.change else []:
        before, after = int(rows[at]), int(rows[at + 1])
        length = after - before
        number = (int(clip_frame[after] - clip_frame[before]) - beat.step * length) * beat.change
        if abs(number - length / beat.period) <= 1.0:
            usual[before + 1 : after] = beat.step
            usual[after] = beat.step + number * beat.change


def _pace(step: Ints, known: Flags) -> Ints:
    """The whole number of clip frames that most steps around a row advance (N,)."""
    sums = np.concatenate([[0], np.cumsum(np.where(known, np.clip(step, 0, LONGEST_STEP), 0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    rows = np.arange(len(step))
    low, high = np.maximum(rows - PACE_RADIUS, 0), np.minimum(rows + PACE_RADIUS + 1, len(step))
    number = counts[high] - counts[low]
    mean = np.where(number >= LEAST_SPAN // 2, (sums[high] - sums[low]) / np.maximum(number, 1), 1.0)
    pace = np.floor(mean + 1.0 - ROUND_UP).astype(np.int64)
    pace[(pace == 0) & (mean < SLOWEST)] = 1
    for start, stop in _level_stretches(pace):
        if stop - start < LEAST_SPAN:
            pace[start:stop] = 1
    return pace


def _level_stretches(pace: Ints) -> list[tuple[int, int]]:
    bounds = np.flatnonzero(np.diff(pace)) + 1
    return list(pairwise([0, *bounds.tolist(), len(pace)]))


def _unbroken(step: Ints, known: Flags, pace: Ints, start: int, stop: int) -> list[Ints]:
    """The rows of [start, stop), cut where the map has a gap or jumps."""
    rows = np.arange(start, stop)
    cut = ~known[rows] | (np.abs(step[rows] - pace[rows]) > 1)
    parts = [part[known[part]] for part in np.split(rows, np.flatnonzero(cut))]
    return [part for part in parts if len(part) >= LEAST_SPAN // 2]


def _chains(step: Ints, rows: Ints, pace: int) -> list[_Chain]:
    found = []
    for change in (1, -1):
        beats = rows[step[rows] == pace + change].tolist()
        found += [_Chain(tuple(line), pace, change) for line in beat_lines(beats)]
    return found


def _grouped(chains: list[_Chain], step: Ints, known: Flags) -> list[list[_Chain]]:
    """Chains of one period that only a cut or a stray interrupts, in order of the film."""
    groups: list[list[_Chain]] = []
    for chain in sorted(chains, key=lambda chain: chain.rows[0]):
        last = groups[-1][-1] if groups else None
        if last is not None and _go_on(last, chain, step, known):
            groups[-1].append(chain)
        else:
            groups.append([chain])
    return groups


def _go_on(last: _Chain, chain: _Chain, step: Ints, known: Flags) -> bool:
    same = (last.step, last.change) == (chain.step, chain.change)
    slack = 0.02 * last.period + 2.0 / (len(last.rows) - 1) + 2.0 / (len(chain.rows) - 1)
    between = slice(last.rows[-1] + 1, chain.rows[0])
    beats = 1 + int((known[between] & (step[between] == last.step + last.change)).sum())
    few = int(known[between].sum()) <= (MOST_LACKING + 1.5) * last.period * beats
    return same and few and abs(last.period - chain.period) <= slack


def _beats_of(group: list[_Chain], step: Ints, known: Flags) -> list[int]:
    """All beats of a group: its chains', and those between them, where the line says if it goes on, else where they are seen,
    for a cut has moved the phase."""
    rows = [row for chain in group for row in chain.rows]
    for last, chain in pairwise(group):
        far = chain.rows[0] - last.rows[-1]
        number = round(far / last.period)
        if 1 <= number <= MOST_BRIDGED and abs(far - number * last.period) <= SHORT_SLACK:
            rows += np.rint(np.linspace(last.rows[-1], chain.rows[0], number + 1)).astype(int).tolist()[1:-1]
            continue
        between = np.arange(last.rows[-1] + 1, chain.rows[0])
        rows += between[known[between] & (step[between] == last.step + last.change)].tolist()
    return rows


def _beat(group: list[_Chain], pace: Ints, known: Flags) -> Beat:
    """From the first beat to the last; to the stretch's end where not even one more period fits."""
    number = sum(len(chain.rows) - 1 for chain in group)
    period = sum(chain.rows[-1] - chain.rows[0] for chain in group) / number
    # The first and last beat of every chain are each known to a frame.
    if abs(period - round(period)) <= max(1.0 / number, min(ROUND_PERIOD, 2.0 * len(group) / number)):
        period = float(round(period))
    start, stop = group[0].rows[0], group[-1].rows[-1] + 1
    before, after = start, stop
    while before > 0 and known[before - 1] and pace[before - 1] == group[0].step and start - before <= period + 1:
        before -= 1
    while after < len(pace) and known[after] and pace[after] == group[0].step and after - stop <= period + 1:
        after += 1
    if before > 0 and not known[before - 1] and start - before <= period + 1:
        before -= 1
    start = before if start - before <= period + 1 else start
    stop = after if after - stop <= period + 1 else stop
    return Beat(start, stop, group[0].step, group[0].change, period)


def _plain(step: Ints, known: Flags, pace: Ints, found: list[Beat]) -> list[Beat]:
    """Stretches of another whole pace in which nothing beats, such as every frame shown twice."""
    plain = []
    for start, stop in _level_stretches(pace):
        beaten = sum(max(0, min(stop, beat.stop) - max(start, beat.start)) for beat in found)
        rows = np.arange(start, stop)[known[start:stop]]
        even = len(rows) > 0 and float((step[rows] == pace[rows]).mean()) >= LEAST_EVEN
        if pace[start] > 1 and even and beaten < (stop - start) / 2:
            plain.append(Beat(start, stop, int(pace[start]), 0, 0.0))
    return plain
