"""A frame map's times as a few straight lines: clip seconds = rate * ref seconds + delay, from one true cut to the next.

Candidate lines are found one after the other, each the one that most of the rows left over lie on; then the cheapest way along
them is taken (Viterbi), where every change of line costs as much as many rows that lie off. So held and dropped frames,
telecine patterns and rows that are a frame or two off make no cut, and a lasting jump does, at its exact row.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Clip seconds per ref second that films come in: the same, PAL against film, NTSC against film, PAL against NTSC film.
KNOWN_RATES = (1.0, 1000 / 1001, 1001 / 1000, 24 / 25, 25 / 24, 24000 / 25025, 25025 / 24000)
SLOWEST, FASTEST = 0.4, 2.5
#: Rows this far off a line, in frames, lie on it as well as any: uneven rates alone make as much.
FREE = 0.5
#: A row costs one for each frame it lies off beyond FREE, but never more than this.
WORST = 4.0
#: What a change of line costs: a jump of two frames must last 50 rows, a long one 19.
CHANGE = 75.0
#: After so many seconds without any match the line may change at a quarter of that.
LONG_GAP_SECONDS, CHANGE_AFTER_GAP = 1.0, 0.25
#: Rows this near to a line, in frames, belong to it while lines are looked for.
NEAR = 0.75
FEWEST_ROWS, MOST_LINES = 12, 200
#: So many rows tell which line most of them lie on.
ENOUGH_ROWS = 20_000
#: Over how many seconds the pace is measured when looking for rates.
PACE_SECONDS = 10.0
#: A known rate is taken for a measured one where that moves a stretch's ends by no more than this, beyond chance.
SNAP_SECONDS = 0.002
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Line:
    """clip seconds = ``rate`` * ref seconds + ``delay``."""

    rate: float
    delay: float

    def clip_seconds(self, ref_seconds: float) -> float:
        return self.rate * ref_seconds + self.delay


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows ``start`` to ``stop`` (half-open, into the rows given) that follow one line."""

    start: int
    stop: int
    line: Line


@dataclass(frozen=True, eq=False)
class _Rows:
    """Matched rows: ref seconds, clip seconds, weight, each (N,); ``frame``: the longer of both films' frames in seconds."""

    ref: Doubles
    clip: Doubles
    weight: Doubles
    frame: float

    def __len__(self) -> int:
        return len(self.ref)

    @property
    def seconds(self) -> float:
        """From the first row to the last, on ref's time."""
        return float(self.ref[-1] - self.ref[0])

    def of(self, stretch: Stretch) -> _Rows:
        cut = slice(stretch.start, stretch.stop)
        return _Rows(self.ref[cut], self.clip[cut], self.weight[cut], self.frame)

    def off(self, line: Line) -> Doubles:
        """How far each row lies from the line, in frames, signed."""
        return np.asarray((self.clip - line.rate * self.ref - line.delay) / self.frame, np.float64)


def follow(ref_seconds: Doubles, clip_seconds: Doubles, weight: Doubles, frame_seconds: float) -> list[Stretch]:
    """Stretches that cover all rows in order.

    ref_seconds (N,) rising, clip_seconds (N,): the matched rows' times; weight (N,) in [0, 1]: how much each counts;
    frame_seconds: the longer of both films' frame durations. Empty for N = 0.
    """
    rows = _Rows(ref_seconds, clip_seconds, weight, frame_seconds)
    if not len(rows):
        return []
    lines = _candidates(rows)
    stretches: list[Stretch] = []
    for _ in range(_ROUNDS):
        stretches = _settled(rows, _cheapest(rows, lines))
        lines = list(dict.fromkeys(stretch.line for stretch in stretches))
    return stretches


def _candidates(rows: _Rows) -> list[Line]:
    rates = _likely_rates(rows)
    left = np.ones(len(rows), np.bool_)
    lines: list[Line] = []
    while len(lines) < MOST_LINES and (not lines or left.sum() >= FEWEST_ROWS):
        line = _grown(rows, left, _fullest(rows, left, rates))
        near = left & (np.abs(rows.off(line)) <= NEAR)
        if lines and near.sum() < FEWEST_ROWS:
            break
        lines.append(line)
        left &= ~near
    return lines


def _likely_rates(rows: _Rows) -> list[float]:
    """Rates worth trying, the plainest first: 1, and what the pace over some seconds comes to in part of the film at least."""
    span = rows.ref[-1] - rows.ref[0]
    later = np.searchsorted(rows.ref, rows.ref + min(PACE_SECONDS, span / 2))
    early = np.flatnonzero((later < len(rows)) & (later > np.arange(len(rows))))
    pace = (rows.clip[later[early]] - rows.clip[early]) / (rows.ref[later[early]] - rows.ref[early])
    pace = np.sort(pace[(pace > SLOWEST) & (pace < FASTEST)])
    found: list[float] = []
    enough = max(len(pace) // 20, 1)
    while len(pace) >= enough:
        ends = np.searchsorted(pace, pace * 1.01, "right")
        first = int((ends - np.arange(len(pace))).argmax())
        if ends[first] - first < enough:
            break
        found.append(float(np.median(pace[first : ends[first]])))
        pace = pace[np.abs(pace / found[-1] - 1) > 0.015]
    known = [rate for rate in KNOWN_RATES if any(abs(rate / pace - 1) < 0.01 for pace in found)]
    return list(dict.fromkeys([1.0, *known, *found]))


def _fullest(rows: _Rows, left: Bools, rates: list[float]) -> Line:
    """The line of one of ``rates`` that most of the rows left lie near."""
    best, most = Line(1.0, 0.0), -1
    sample = np.flatnonzero(left)
    sample = sample[:: max(len(sample) // ENOUGH_ROWS, 1)]
    for rate in rates:
        delay = rows.clip[sample] - rate * rows.ref[sample]
        bins = np.floor((delay - delay.min()) * (2 / rows.frame)).astype(np.int64)
        values, counts = np.unique(bins, return_counts=True)
        # Three neighbouring half frames together; films may lie hours apart, so only bins that hold something are looked at.
        wide = counts + _count_at(values, counts, values - 1) + _count_at(values, counts, values + 1)
        if wide.max() > most:
            middle, most = int(values[wide.argmax()]), int(wide.max())
            best = Line(rate, float(np.median(delay[np.abs(bins - middle) <= 1])))
    return best


def _count_at(values: Ints, counts: Ints, wanted: Ints) -> Ints:
    at = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return np.where(values[at] == wanted, counts[at], 0)


def _grown(rows: _Rows, left: Bools, line: Line) -> Line:
    """The line turned until it holds as many of the rows left as it can: a rate a little off shows only over the whole film."""
    held = -1
    for _ in range(12):
        near = left & (np.abs(rows.off(line)) <= NEAR)
        if near.sum() <= held or near.sum() < 3 * FEWEST_ROWS:
            break
        held = int(near.sum())
        line = _least_squares(rows, near)[0]
    return line


def _least_squares(rows: _Rows, chosen: Bools) -> tuple[Line, float]:
    """The line through the rows chosen, and the standard error of its rate (0 for a single moment)."""
    t, c = rows.ref[chosen], rows.clip[chosen]
    centre, spread = t.mean(), float(((t - t.mean()) ** 2).sum())
    if spread == 0.0:
        return Line(1.0, float((c - t).mean())), 0.0
    rate = float(((t - centre) * (c - c.mean())).sum()) / spread
    line = Line(rate, float(c.mean() - rate * centre))
    noise = float(np.sqrt(np.mean((c - rate * t - line.delay) ** 2)))
    return line, noise / spread**0.5


def _cheapest(rows: _Rows, lines: list[Line]) -> list[Stretch]:
    rate, delay = np.array([line.rate for line in lines]), np.array([line.delay for line in lines])
    toll = np.full(len(rows), CHANGE)
    toll[1:][np.diff(rows.ref) > LONG_GAP_SECONDS] *= CHANGE_AFTER_GAP
    path = _viterbi(rows.ref, rows.clip, rows.weight, toll, rate, delay, rows.frame)
    borders = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(rows)]
    return [Stretch(start, stop, lines[path[start]]) for start, stop in pairwise(borders)]


@numba.njit(cache=True, nogil=True)
def _viterbi(ref, clip, weight, toll, rate, delay, frame):  # type: ignore[no-untyped-def]
    """Line of every row (N,) on the cheapest way; rate, delay (K,), toll (N,): what a change before the row costs."""
    n, k = len(ref), len(rate)
    came_from = np.empty((n, k), np.int16)
    total = np.zeros(k)
    for i in range(n):
        cheapest = np.argmin(total)
        change = total[cheapest] + toll[i]
        for j in range(k):
            came_from[i, j] = j
            if i and change < total[j]:
                came_from[i, j] = cheapest
                total[j] = change
        for j in range(k):
            off = abs(clip[i] - rate[j] * ref[i] - delay[j]) / frame
            total[j] += weight[i] * min(max(off - FREE, 0.0), WORST)
    path = np.empty(n, np.int64)
    at = np.argmin(total)
    for i in range(n - 1, -1, -1):
        path[i] = at
        at = came_from[i, at]
    return path


def _settled(rows: _Rows, stretches: list[Stretch]) -> list[Stretch]:
    """Each stretch with the line fitted to its own rows; the longest one's rate serves those that do not tell another."""
    longest = max(stretches, key=lambda s: s.stop - s.start)
    usual = _fitted(rows.of(longest), longest.line, KNOWN_RATES).rate
    rates = tuple(dict.fromkeys((usual, *KNOWN_RATES)))
    return [Stretch(s.start, s.stop, _fitted(rows.of(s), s.line, rates)) for s in stretches]


def _fitted(rows: _Rows, line: Line, rates: tuple[float, ...]) -> Line:
    """The line of the first of ``rates`` that the rows near it do not contradict, else the one they fit."""
    for rate in rates:
        guess = Line(rate, _delay(rows, rate))
        fit, allowed = _near_fit(rows, guess)
        if abs(fit.rate - rate) * rows.seconds / 2 <= allowed:
            return guess
    fit, _ = _near_fit(rows, line)
    return Line(fit.rate, _delay(rows, fit.rate))


def _near_fit(rows: _Rows, line: Line) -> tuple[Line, float]:
    """The line through the rows near ``line``, and by how many seconds chance and measure may move its ends."""
    near = np.abs(rows.off(line)) <= 1.0 + FREE / 2
    if near.sum() < min(3 * FEWEST_ROWS, len(rows)) or near.sum() < 2:
        return line, SNAP_SECONDS if len(rows) < 3 * FEWEST_ROWS else -1.0
    fit, error = _least_squares(rows, near)
    return fit, SNAP_SECONDS + 3 * error * rows.seconds / 2


def _delay(rows: _Rows, rate: float) -> float:
    """The mean of the delays within half a frame of their median: exact for plain maps, deaf to rows that are off."""
    delay = rows.clip - rate * rows.ref
    middle = np.median(delay)
    near = np.abs(delay - middle) <= FREE * rows.frame
    return float(delay[near].mean()) if near.any() else float(middle)
