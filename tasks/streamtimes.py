"""When what is copied from another film is heard, read and reached on ref's time. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from operator import itemgetter

from tasks.soundplan import SoundPiece, SoundPlan

#: Parts of an event that are so near on ref's time are one.
_TOUCHING_SECONDS = 0.05
#: Files interleave their streams at least so well.
_WINDOW_SECONDS = 3.0
_MOST_BYTES = 32 << 20

Span = tuple[float, float]


def clip_stop(piece: SoundPiece) -> float:
    return piece.clip_seconds(piece.ref_stop)


def ref_second(piece: SoundPiece, clip_seconds: float) -> float:
    return piece.ref_start + (clip_seconds - piece.clip_start) / piece.rate


def spans_on_ref(plan: SoundPlan, start: float, stop: float) -> list[Span]:
    """Where on ref's time the clip's seconds from ``start`` to ``stop`` are, in ref's order; parts that touch are one. An
    instant (stop = start) is in a piece or not."""
    spans: list[Span] = []
    for piece in plan.pieces:
        first, last = max(start, piece.clip_start), min(stop, clip_stop(piece))
        if first < last or (start == stop and piece.clip_start <= start < clip_stop(piece)):
            spans.append((ref_second(piece, first), ref_second(piece, last)))
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and stop > start and span[0] - merged[-1][1] <= _TOUCHING_SECONDS:
            merged[-1] = (merged[-1][0], max(span[1], merged[-1][1]))
        else:
            merged.append(span)
    return merged


def moved_event(plan: SoundPlan, start: float, stop: float) -> Span | None:
    """When an event is shown that the clip has from ``start`` to ``stop`` seconds: where a cut divides it, its longest part;
    None where ref has nothing of it."""
    spans = spans_on_ref(plan, start, stop)
    return max(spans, key=lambda span: (round(span[1] - span[0], 6), -span[0])) if spans else None


def moved_chapter(plan: SoundPlan, start: float, stop: float) -> float | None:
    """When a chapter begins: at its own first frame, or where ref comes in later; None where ref has nothing of it."""
    at = spans_on_ref(plan, start, start) or spans_on_ref(plan, start, max(stop, start))
    return at[0][0] if at else None


def forward_runs(plan: SoundPlan) -> list[tuple[SoundPiece, ...]]:
    """The pieces in ref's order, cut where the clip is gone back in: each run is read from front to back."""
    numbers = [0]
    for one, following in pairwise(plan.pieces):
        numbers.append(numbers[-1] + (following.clip_start < one.clip_start))
    numbered = groupby(zip(numbers, plan.pieces, strict=True), key=itemgetter(0))
    return [tuple(piece for _, piece in run) for _, run in numbered]


def by_time[T](packets: Iterable[tuple[float, int, T]]) -> Iterator[tuple[float, T]]:
    """(seconds, bytes, packet) of several streams of a file, about in order -> (seconds, packet) in order.

    A packet that comes later than 3 s, or 32 MiB, after its turn is passed on late.
    """
    waiting: list[tuple[float, int, int, T]] = []
    held, newest = 0, float("-inf")
    for number, (seconds, size, packet) in enumerate(packets):
        heapq.heappush(waiting, (seconds, number, size, packet))
        held, newest = held + size, max(newest, seconds)
        while waiting and (waiting[0][0] <= newest - _WINDOW_SECONDS or held > _MOST_BYTES):
            due, _, freed, ready = heapq.heappop(waiting)
            held -= freed
            yield due, ready
    while waiting:
        due, _, _, ready = heapq.heappop(waiting)
        yield due, ready
