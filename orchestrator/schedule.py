"""PURE: waiting units and free workers -> who does what next.

Long units first, the longest to the fastest worker; a slower one gets the longest that it can have done before the others have
done all the rest. Near the end a unit goes where it will be done soonest, be it a busy worker that is faster (earliest
completion time, as in list scheduling on uniform machines). A slow worker that would end the stage late stays free.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import NamedTuple

from orchestrator.nodes import Slot

#: What earlier results weigh against each new one in a measured rate.
_MEMORY = 0.9
_LAST = 1 << 62
#: Units go where they are done soonest once no more than this share of the busy workers can get one.
_MOST_BUSY_PER_UNIT = 4


@dataclass(frozen=True, slots=True)
class Unit:
    """A waiting unit: its size, how often it failed where it or its node may be to blame, and the nodes of these failures."""

    name: str
    num_frames: int
    num_failures: int = 0
    bad_nodes: frozenset[str] = frozenset()


class Busy(NamedTuple):
    """A worker that began a unit of ``num_frames`` at ``since``; ``again``: one that has failed before."""

    node: str
    speed_class: str
    num_frames: int
    since: float
    again: bool = False


@dataclass(slots=True)
class Rates:
    """Frames per second of each class of workers, as measured; a class not measured yet is taken for an average one."""

    _sums: dict[str, tuple[float, float]] = field(default_factory=dict)
    _per_frame: dict[str, float] = field(default_factory=dict)

    def note(self, speed_class: str, frames: int, seconds: float) -> None:
        """A worker of the class did ``frames`` in ``seconds``."""
        old_frames, old_seconds = self._sums.get(speed_class, (0.0, 0.0))
        self._sums[speed_class] = old_frames * _MEMORY + frames, old_seconds * _MEMORY + max(seconds, 1e-3)
        self._per_frame.clear()

    @property
    def any_known(self) -> bool:
        return bool(self._sums)

    def seconds(self, speed_class: str, frames: int) -> float:
        """How long a worker of the class takes for ``frames``; in arbitrary units while no rate is known."""
        return frames * self._seconds_per_frame(speed_class)

    @property
    def least_seconds_per_frame(self) -> float:
        """Of the fastest class measured."""
        return min(map(self._seconds_per_frame, self._sums), default=1.0)

    def seconds_to_go(self, busy: Busy, now: float) -> float:
        """Until a worker is free again; one that is overdue is taken to need as long again as it is late."""
        return abs(busy.num_frames * self._seconds_per_frame(busy.speed_class) - (now - busy.since))

    def _seconds_per_frame(self, speed_class: str) -> float:
        found = self._per_frame.get(speed_class)
        if found is None:
            sums = self._sums.get(speed_class) or tuple(map(sum, zip(*self._sums.values(), strict=True))) or (1.0, 1.0)
            found = self._per_frame[speed_class] = sums[1] / max(sums[0], 1e-9)
        return found


class Waiting:
    """Units that wait: failed ones first, so that their fate is known early, then long ones before short ones."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._order = {unit.name: at for at, unit in enumerate(units)}
        self._units = sorted(units, key=self._key)
        self.num_frames = sum(unit.num_frames for unit in units)

    def __len__(self) -> int:
        return len(self._units)

    def __iter__(self) -> Iterator[Unit]:
        return iter(self._units)

    def add(self, unit: Unit) -> None:
        insort(self._units, unit, key=self._key)
        self.num_frames += unit.num_frames

    def remove(self, unit: Unit) -> None:
        del self._units[bisect_left(self._units, self._key(unit), key=self._key)]
        self.num_frames -= unit.num_frames

    def failed(self) -> list[Unit]:
        return list(takewhile(lambda unit: unit.num_failures, self._units))

    def fresh_within(self, num_frames: float) -> Iterator[Unit]:
        """Those that never failed and have at most so many frames, the longest first."""
        return islice(self._units, bisect_left(self._units, (0, -num_frames, -1), key=self._key), None)

    def _key(self, unit: Unit) -> tuple[int, int, int]:
        return -unit.num_failures, -unit.num_frames, self._order[unit.name]


def assign(
    waiting: Waiting, slots: Sequence[Slot], busy: Collection[Busy], rates: Rates, now: float, doubted: Set[str] = frozenset()
) -> list[tuple[Unit, Slot]]:
    """Which waiting unit goes to which free slot now; a unit and a slot appear at most once, and some of both may be left.

    ``doubted``: nodes where something failed and nothing succeeded since; units that failed avoid them.
    """
    if not waiting or not slots:
        return []
    fastest_first = sorted(slots, key=lambda slot: rates.seconds(slot.speed_class, 1))
    staying = [slot for slot in fastest_first if slot.seconds_left is None]
    going = [slot for slot in fastest_first if slot.seconds_left is not None]
    nodes = {slot.node for slot in staying} | {worker.node for worker in busy}
    trying = {worker.node for worker in busy if worker.again}
    again = _tried_again(waiting.failed(), staying, nodes, doubted, trying)
    taken = {slot.id for _, slot in again}
    staying = [slot for slot in staying if slot.id not in taken]
    if len(waiting) > len(slots) + len(busy) // _MOST_BUSY_PER_UNIT:
        chosen = _longest_to_fastest(waiting, staying, busy, rates)
    else:
        chosen = _soonest_done(waiting.fresh_within(float("inf")), staying, busy, rates, now)
    return [*again, *chosen, *_what_fits(waiting, going, {unit.name for unit, _ in chosen}, rates)]


def _tried_again(
    failed: Iterable[Unit], slots: Iterable[Slot], nodes: Set[str], doubted: Set[str], trying: set[str]
) -> list[tuple[Unit, Slot]]:
    """Each to a node that does others well, at least to one where it has not failed, if there is any such node.

    If possible one at a time per node, lest units that fail everywhere bring a node into disrepute; ``trying`` have one.
    """
    free = list(slots)
    chosen = []
    for unit in failed:
        others = nodes - unit.bad_nodes
        allowed = others - doubted - trying or others - doubted or others or nodes
        slot = next((slot for slot in free if slot.node in allowed), None)
        if slot is not None:
            free.remove(slot)
            trying.add(slot.node)
            chosen.append((unit, slot))
    return chosen


def _longest_to_fastest(
    waiting: Waiting, slots: Sequence[Slot], busy: Collection[Busy], rates: Rates
) -> list[tuple[Unit, Slot]]:
    """Each worker gets the longest unit that it does in no more time than all the rest takes."""
    longest = next(waiting.fresh_within(float("inf")), None)
    if longest is None or not slots:
        return []
    # A hair more, for the fastest worker takes the longest unit by an equality.
    most_seconds = _seconds_for_all(waiting, longest, slots, busy, rates) * (1 + 1e-9)
    taken = set[str]()
    queues: dict[str, Iterator[Unit]] = {}
    chosen = []
    for slot in slots:
        if slot.speed_class not in queues:
            queues[slot.speed_class] = waiting.fresh_within(most_seconds / rates.seconds(slot.speed_class, 1))
        unit = next((unit for unit in queues[slot.speed_class] if unit.name not in taken), None)
        if unit is not None:
            taken.add(unit.name)
            chosen.append((unit, slot))
    return chosen


def _seconds_for_all(waiting: Waiting, longest: Unit, slots: Sequence[Slot], busy: Collection[Busy], rates: Rates) -> float:
    """What waits can't be done sooner: shared by all workers without rest, the longest unit on the fastest."""
    at_least = waiting.num_frames * rates.least_seconds_per_frame / (len(slots) + len(busy))
    if at_least >= rates.seconds(slots[-1].speed_class, longest.num_frames):
        return at_least  # even the slowest of the free ones has time for any unit
    num_workers = Counter([slot.speed_class for slot in slots]) + Counter([worker.speed_class for worker in busy])
    per_frame = {name: rates.seconds(name, 1) for name in num_workers}
    frames_per_second = sum(num / per_frame[name] for name, num in num_workers.items())
    return max(waiting.num_frames / frames_per_second, longest.num_frames * min(per_frame.values()))


def _what_fits(waiting: Waiting, slots: Iterable[Slot], taken: set[str], rates: Rates) -> list[tuple[Unit, Slot]]:
    """For machines that are about to go: the longest unit that each can still do. None while no rate is known."""
    chosen = []
    for slot in slots if rates.any_known else ():
        most = (slot.seconds_left or 0.0) / rates.seconds(slot.speed_class, 1)
        unit = next((unit for unit in waiting.fresh_within(most) if unit.name not in taken and unit.num_frames < most), None)
        if unit is not None:
            taken.add(unit.name)
            chosen.append((unit, slot))
    return chosen


#: Per class: (when a worker of it is free, tie break in favour of those free now, the slot if it is one of them).
type _Ready = dict[str, list[tuple[float, int, Slot | None]]]


def _soonest_done(
    waiting: Iterable[Unit], slots: Sequence[Slot], busy: Iterable[Busy], rates: Rates, now: float
) -> list[tuple[Unit, Slot]]:
    """Each unit, in order, to the worker that will have done it first; those that fall to free workers start now."""
    ready = _ready_times(slots, busy, rates, now)
    chosen: list[tuple[Unit, Slot]] = []
    for unit in waiting:
        if len(chosen) == len(slots):
            break
        picked = _pop_soonest(ready, unit, rates)
        if picked is not None:
            chosen.append((unit, picked))
    return chosen


def _ready_times(slots: Iterable[Slot], busy: Iterable[Busy], rates: Rates, now: float) -> _Ready:
    ready: _Ready = {}
    for slot in slots:
        ready.setdefault(slot.speed_class, []).append((0.0, slot.id, slot))
    for worker in busy:
        ready.setdefault(worker.speed_class, []).append((rates.seconds_to_go(worker, now), _LAST, None))
    for queue in ready.values():
        heapq.heapify(queue)
    return ready


def _pop_soonest(ready: _Ready, unit: Unit, rates: Rates) -> Slot | None:
    """Book the worker that will have done ``unit`` first; it, if it is free now."""
    best, done_in = None, float("inf")
    for name, queue in ready.items():
        seconds = queue[0][0] + rates.seconds(name, unit.num_frames)
        if seconds < done_in:
            best, done_in = queue, seconds
    return heapq.heapreplace(best, (done_in, _LAST, None))[2] if best is not None else None
