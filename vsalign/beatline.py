"""Events that keep time: which of some numbers lie on one line, number k within a frame of first + k * period."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

#: A cadence has that many beats, over that many ref frames.
LEAST_BEATS, LEAST_SPAN = 6, 20
LONGEST_PERIOD = 300
#: A beat may lie this far from its line: less than a frame, by rounding; where beats are rare more, for an uncertain match.
SHORT_SLACK, LONG_SLACK, LONG_FROM = 0.99, 1.5, 8
#: Beats tried as the second of a chain: those between are strays; so many of them to a beat of the chain are borne.
SECONDS_TRIED, MOST_STRAYS = 3, 0.125
#: Beats in a row that a map may lack.
MOST_LACKING = 2


def beat_lines(beats: list[int]) -> list[list[int]]:
    """Lines of at least LEAST_BEATS of the rising ``beats``, one after the other; each has all its beats, those that the map
    lacks where they would be."""
    found = []
    at = 0
    while at <= len(beats) - LEAST_BEATS:
        tried = range(at + 1, min(at + 1 + SECONDS_TRIED, len(beats)))
        best = max((chain for second in tried if _holds(beats, chain := _grow(beats, at, second))), key=len, default=None)
        if best is not None:
            found.append(_complete(beats, best))
            at = best[-1][0] + 1
        else:
            at += 1
    return found


def _grow(beats: list[int], first: int, second: int) -> list[tuple[int, int]]:
    """(index of a beat, its number on the line) for the ``beats`` that lie on one line from ``first`` through ``second``.

    Strays between them are passed over, and now and then the line has a beat that the map lacks.
    """
    origin = beats[first]
    slack = SHORT_SLACK if beats[second] - origin < LONG_FROM else LONG_SLACK
    if not 2 <= beats[second] - origin <= LONGEST_PERIOD:
        return []
    low, high = beats[second] - origin - slack, beats[second] - origin + slack
    chain = [(first, 0), (second, 1)]
    while True:
        choices = [(number, _nearest(beats, chain[-1][0] + 1, origin + number * (low + high) / 2)) for number in _next(chain)]
        fitting = [
            # A beat that the line has and the map lacks counts like a frame off.
            (abs(beats[k] - origin - number * (low + high) / 2) + number - chain[-1][1], number, k)
            for number, k in choices
            if k is not None and number * low - slack <= beats[k] - origin <= number * high + slack
        ]
        if not fitting:
            return chain
        _, number, chosen = min(fitting)
        chain.append((chosen, number))
        gone = beats[chosen] - origin
        low, high = max(low, (gone - slack) / number), min(high, (gone + slack) / number)


def _next(chain: list[tuple[int, int]]) -> range:
    return range(chain[-1][1] + 1, chain[-1][1] + 2 + MOST_LACKING)


def _nearest(beats: list[int], first: int, wanted: float) -> int | None:
    """Index of the beat nearest to ``wanted``, from index ``first`` on."""
    at = bisect_left(beats, wanted, min(first, len(beats)))
    near = [k for k in (at - 1, at) if first <= k < len(beats)]
    return min(near, key=lambda k: abs(beats[k] - wanted), default=None)


def _holds(beats: list[int], chain: list[tuple[int, int]]) -> bool:
    """Long enough, and not picked from among many beats that keep no time."""
    if len(chain) < LEAST_BEATS:
        return False
    (first, _), (last, number) = chain[0], chain[-1]
    strays, lacking = last - first + 1 - len(chain), number + 1 - len(chain)
    return beats[last] - beats[first] >= LEAST_SPAN - 1 and max(strays, lacking) <= MOST_STRAYS * len(chain)


def _complete(beats: list[int], chain: list[tuple[int, int]]) -> list[int]:
    """The rows of all beats of a line, those that the map lacks where they would be."""
    numbers = np.array([number for _, number in chain])
    rows = np.array([beats[k] for k, _ in chain])
    return [int(row) for row in np.rint(np.interp(np.arange(numbers[-1] + 1), numbers, rows))]
