"""Who does what next: properties of any assignment, and how far the whole is from the best one."""

from __future__ import annotations

import heapq
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.nodes import Slot
from orchestrator.schedule import Busy, Rates, Unit, Waiting, assign

SPEEDS = {"slow": 1.0, "mid": 2.0, "fast": 4.0}


def known(speeds: dict[str, float] = SPEEDS) -> Rates:
    rates = Rates()
    for name, speed in speeds.items():
        rates.note(name, round(1000 * speed), 1000.0)
    return rates


def units(*frames: int) -> list[Unit]:
    return [Unit(f"u{at}", num) for at, num in enumerate(frames)]


def slots(*classes: str, node: str = "n", left: float | None = None) -> list[Slot]:
    return [Slot(at, f"{node}{at}", name, left) for at, name in enumerate(classes)]


def placed(waiting: list[Unit], free: list[Slot], busy: list[Busy] | None = None, rates: Rates | None = None) -> dict[str, int]:
    return {unit.name: slot.id for unit, slot in assign(Waiting(waiting), free, busy or [], rates or known(), 0.0)}


def free_in(seconds: float) -> Busy:
    """A fast worker with 1,000 s of work, so far on with it that it will be free so soon."""
    return Busy("n9", "fast", 4000, seconds - 1000)


_NODE = st.sampled_from(["a", "b", "c", "d"])
_UNITS = st.lists(
    st.tuples(st.integers(1, 1000), st.integers(0, 3), st.frozensets(_NODE, max_size=4)), min_size=1, max_size=12
).map(lambda rows: [Unit(f"u{i}", n, f or bool(bad), bad) for i, (n, f, bad) in enumerate(rows)])
_DOUBTED = st.frozensets(_NODE, max_size=4)
_CLASS = st.sampled_from([*SPEEDS, "unmeasured"])
_SLOTS = st.lists(st.tuples(_NODE, _CLASS, st.none() | st.floats(0, 500)), min_size=1, max_size=8).map(
    lambda rows: [Slot(i, *row) for i, row in enumerate(rows)]
)
_BUSY = st.lists(st.builds(Busy, _NODE, _CLASS, st.integers(1, 1000), st.floats(-500, 0)), max_size=8)
_RATES = st.sampled_from([known(), known({"fast": 4.0}), Rates()])


@settings(max_examples=400, deadline=None)
@given(_UNITS, _SLOTS, _BUSY, _RATES, _DOUBTED)
def test_any_assignment_is_sound(
    waiting: list[Unit], free: list[Slot], busy: list[Busy], rates: Rates, doubted: frozenset[str]
):
    queue = Waiting(waiting)
    chosen = assign(queue, free, busy, rates, 0.0, doubted)
    assert len({unit.name for unit, _ in chosen}) == len({slot.id for _, slot in chosen}) == len(chosen)
    assert {unit for unit, _ in chosen} <= set(waiting) and {slot for _, slot in chosen} <= set(free)
    assert len(queue) == len(waiting)
    staying = {slot.node for slot in free if slot.seconds_left is None} | {worker.node for worker in busy}
    for unit, slot in chosen:
        assert slot.node not in unit.bad_nodes or staying <= unit.bad_nodes
        assert not unit.num_failures or slot.node not in doubted or staying <= unit.bad_nodes | doubted
        if slot.seconds_left is not None:
            assert (
                not unit.num_failures
                and rates.any_known
                and rates.seconds(slot.speed_class, unit.num_frames) < slot.seconds_left
            )


@settings(max_examples=400, deadline=None)
@given(_UNITS, _SLOTS, _RATES, _DOUBTED)
def test_with_nothing_at_work_something_starts_unless_every_machine_goes(
    waiting: list[Unit], free: list[Slot], rates: Rates, doubted: frozenset[str]
):
    if any(slot.seconds_left is None for slot in free):
        assert assign(Waiting(waiting), free, [], rates, 0.0, doubted)


@settings(max_examples=200, deadline=None)
@given(_UNITS, _SLOTS, _BUSY, _RATES)
def test_a_stage_goes_on_to_its_end(waiting: list[Unit], free: list[Slot], busy: list[Busy], rates: Rates):
    """Whatever is placed ends at once and frees its worker: all units are placed in turn."""
    free = [Slot(slot.id, slot.node, slot.speed_class) for slot in free]
    queue = Waiting(waiting)
    for _ in range(len(waiting) + 1):
        for unit, _slot in assign(queue, free, busy, rates, 0.0):
            queue.remove(unit)
        busy = []
    assert not queue


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=4, max_size=20), st.integers(1, 3))
def test_on_equal_workers_the_longest_start_first(frames: list[int], num_slots: int):
    chosen = assign(Waiting(units(*frames)), slots(*["mid"] * num_slots), [], known(), 0.0)
    assert [unit.num_frames for unit, _ in chosen] == sorted(frames, reverse=True)[:num_slots]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=9, max_size=20), st.lists(st.sampled_from([*SPEEDS]), min_size=1, max_size=8))
def test_the_longest_goes_to_the_fastest_and_slower_ones_get_what_they_can_do_in_time(frames: list[int], classes: list[str]):
    free = slots(*classes)
    chosen = {slot.id: unit for unit, slot in assign(Waiting(units(*frames)), free, [], known(), 0.0)}
    fastest = max(SPEEDS[name] for name in classes)
    in_time = max(sum(frames) / sum(SPEEDS[name] for name in classes), max(frames) / fastest)
    assert max(chosen[slot.id].num_frames for slot in free if SPEEDS[slot.speed_class] == fastest) == max(frames)
    left = list(frames)
    for unit in chosen.values():
        left.remove(unit.num_frames)
    for slot in free:
        seconds = [num / SPEEDS[slot.speed_class] for num in left]
        if slot.id in chosen:
            took = chosen[slot.id].num_frames / SPEEDS[slot.speed_class]
            assert took <= in_time * (1 + 1e-6)
            assert not any(took < other <= in_time * (1 - 1e-6) for other in seconds), "a longer one was left"
        else:
            assert min(seconds) > in_time * (1 - 1e-6), "one that it could do in time was left"


def test_units_that_failed_go_before_longer_ones():
    waiting = [Unit("long", 100), Unit("failed", 1, 1, frozenset({"elsewhere"})), Unit("twice", 1, 2)]
    assert set(placed(waiting, slots("fast", "fast"))) == {"failed", "twice"}


def test_of_units_that_failed_each_node_gets_one_at_a_time():
    failed = [Unit(name, 100, 1, frozenset({"elsewhere"})) for name in "abc"]
    free = [Slot(0, "n", "fast"), Slot(1, "n", "fast"), Slot(2, "m", "slow")]
    assert placed([*failed, Unit("fresh", 100)], free) == {"a": 0, "b": 2, "c": 1}, "no node without one is left for the third"
    busy = [Busy("m", "fast", 100, 0.0), Busy("m", "fast", 100, 0.0)]
    assert placed([*failed, Unit("fresh", 100)], free[:2], busy) == {"a": 0, "fresh": 1}, "the second waits for another node"


def test_the_last_units_go_to_the_fastest():
    assert placed(units(100, 100), slots("slow", "fast", "slow", "fast")) == {"u0": 1, "u1": 3}


def test_a_slow_worker_that_would_end_the_stage_late_stays_free():
    """The fast one is free in 10 s and then needs 25 s; the slow one would need 100 s."""
    assert placed(units(100), slots("slow"), [free_in(10)]) == {}
    assert placed(units(100), slots("slow"), [free_in(90)]) == {"u0": 0}


def test_a_worker_that_is_free_is_taken_before_one_that_is_about_to_be():
    assert placed(units(100), slots("fast"), [free_in(0)]) == {"u0": 0}


def test_a_worker_that_is_overdue_is_not_waited_for_longer_than_it_is_late():
    """The fast one should have been free 200 s ago, and would need 25 s more; the slow one needs 100 s."""
    assert placed(units(100), slots("slow"), [free_in(-200)]) == {"u0": 0}
    assert placed(units(100), slots("slow"), [free_in(-50)]) == {}


def test_the_machine_where_a_unit_failed_is_used_when_the_others_only_go():
    waiting = [Unit("a", 100, 1, frozenset({"bad"}))]
    assert placed(waiting, [Slot(0, "bad", "fast"), Slot(1, "goes", "fast", 1.0)]) == {"a": 0}


def test_a_failed_unit_waits_for_a_busy_machine_rather_than_go_back():
    assert placed([Unit("a", 100, 1, frozenset({"n0"}))], slots("fast"), [free_in(500)]) == {}


def test_a_machine_that_goes_gets_the_longest_unit_that_it_can_still_do():
    going = [Slot(0, "n", "fast", 30.0)]
    assert placed(units(400, 130, 110, 40), going, [free_in(1)] * 2) == {"u2": 0}
    assert placed(units(400, 130), going) == {}


def test_while_no_rate_is_known_a_machine_that_goes_gets_nothing():
    assert placed(units(1), [Slot(0, "n", "fast", 1e6)], rates=Rates()) == {}


def test_a_class_without_a_rate_is_taken_for_an_average_one():
    rates = known({"fast": 4.0, "slow": 1.0})
    assert rates.seconds("slow", 100) == pytest.approx(100) and rates.seconds("fast", 100) == pytest.approx(25)
    assert rates.seconds("new", 100) == pytest.approx(100 / 2.5)
    assert Rates().seconds("new", 7) == 7


def test_rates_follow_what_is_measured_last():
    rates = known({"fast": 1.0})
    for _ in range(60):
        rates.note("fast", 4000, 1000.0)
    assert rates.seconds("fast", 400) == pytest.approx(100, rel=0.02)


@given(_UNITS)
def test_the_queue_keeps_its_order(waiting: list[Unit]):
    queue = Waiting(waiting)
    order = list(queue)
    assert order == sorted(order, key=lambda unit: (-unit.num_failures, -unit.num_frames, int(unit.name[1:])))
    for unit in waiting:
        queue.remove(unit)
        assert unit not in list(queue)
        queue.add(unit)
    assert list(queue) == order


def makespan(frames: tuple[int, ...], classes: tuple[str, ...]) -> float:
    """Play ``assign`` to the end, each unit taking exactly what its rate says."""
    queue, rates, now = Waiting(units(*frames)), known(), 0.0
    free = {slot.id: slot for slot in slots(*classes)}
    busy: list[tuple[float, int, Slot, Busy]] = []
    while queue or busy:
        at_work = [begun for _, _, _, begun in busy]
        for unit, slot in assign(queue, list(free.values()), at_work, rates, now):
            queue.remove(unit)
            begun = Busy(slot.node, slot.speed_class, unit.num_frames, now)
            heapq.heappush(busy, (now + unit.num_frames / SPEEDS[slot.speed_class], slot.id, free.pop(slot.id), begun))
        assert busy, "nothing runs and nothing starts"
        now, _, slot, _ = heapq.heappop(busy)
        free[slot.id] = slot
    return now


def best_makespan(frames: tuple[int, ...], classes: tuple[str, ...]) -> float:
    """Of all ways to deal the units to the workers."""
    return min(
        max(
            sum(num for num, who in zip(frames, dealt, strict=True) if who == at) / SPEEDS[name]
            for at, name in enumerate(classes)
        )
        for dealt in product(range(len(classes)), repeat=len(frames))
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6).map(tuple),
    st.lists(st.sampled_from([*SPEEDS]), min_size=1, max_size=3).map(tuple),
)
def test_the_whole_ends_within_twice_the_best(frames: tuple[int, ...], classes: tuple[str, ...]):
    """Longest first to whom it is done soonest is within 2 - 2/(m+1) of the best on m machines of given speeds (Gonzalez,
    Ibarra and Sahni 1977). While there are more units than workers a free one may take a unit that is better done elsewhere:
    at worst the longest on the slowest."""
    slack = max(frames) / min(SPEEDS[name] for name in classes) if len(frames) > len(classes) else 0.0
    bound = 2 - 2 / (len(classes) + 1)
    assert makespan(frames, classes) <= max(bound * best_makespan(frames, classes), slack) + 1e-9


@pytest.mark.parametrize("classes", [("fast",), ("fast", "fast", "fast"), ("slow", "slow")])
def test_on_equal_workers_the_bound_is_the_known_one(classes: tuple[str, ...]):
    """4/3 - 1/(3m) (Graham 1969)."""
    for frames in ((5, 5, 4, 4, 3, 3), (7, 7, 6, 6, 5), (9, 1, 1, 1, 1), (3, 3, 2, 2, 2)):
        assert makespan(frames, classes) <= (4 / 3 - 1 / (3 * len(classes))) * best_makespan(frames, classes) + 1e-9
