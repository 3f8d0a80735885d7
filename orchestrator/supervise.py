"""The loop of one stage: what the pool tells -> the board's decisions -> submissions; the record has the last word."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.errors import InterruptedRun, LeaseLost, StageFailed
from orchestrator.nodes import Census, NodeTrust, Slot
from orchestrator.schedule import Busy, Rates, Unit, Waiting, assign
from orchestrator.state import (
    BLAMES_WORK_OR_NODE,
    ENDS_STAGE,
    AttemptFailed,
    AttemptSucceeded,
    Board,
    Budgets,
    Cause,
    Event,
    ItemState,
)
from orchestrator.stopping import StopRequest
from orchestrator.watchdog import Watchdog
from tasks.commit import find_record
from tasks.errors import StorageError
from tasks.store import JobStore
from tasks.work import Attempt, Record, Work

WAIT_SECONDS = 0.25
#: How often it is looked whether what runs still moves, whether its machine stays, and whom workers kept free could help.
WATCH_SECONDS = 2.0


class WorkerPool(Protocol):
    """Workers of one kind, in this process or on a cluster: the one seam between deciding and doing."""

    def slots(self) -> list[Slot]:
        """Workers that could take a unit now."""

    def submit(self, slot: Slot, work: Work, attempt: Attempt) -> None:
        """Start ``work`` on a free worker."""

    def wait(self, timeout_s: float) -> list[Event]:
        """What was heard, after at most ``timeout_s``. Raises PoolError when no worker is left and none can be had."""

    def progress(self) -> Mapping[str, int]:
        """Frames done of each unit that runs, as last heard."""

    def want(self, num_units: int) -> None:
        """So many units have no worker yet: more workers are of use, or idle ones can go."""

    def stop(self, item: str, cause: Cause, why: str) -> None:
        """Kill the worker that runs ``item``; ``wait`` tells of a failure by ``cause``."""

    def shun(self, node: str) -> None:
        """Never use this node again."""

    def census(self) -> Census:
        """Who works now, as last heard."""

    def close(self, kill: bool = False) -> None:
        """Let the workers go; ``kill`` does not wait for what they do."""


class StageListener(Protocol):
    """Who wants to see a stage go on (display, journal, metrics, tests)."""

    def unit_started(self, work: Work, attempt: Attempt, slot: Slot) -> None: ...

    def unit_done(self, work: Work, record: Record) -> None: ...

    def unit_failed(self, work: Work, failure: AttemptFailed, parked: bool) -> None: ...

    def tick(self, frames_running: int, census: Census) -> None:
        """Several times a second: frames finished inside units that still run, and who works."""


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """Records of all finished units by name, the last failure of each parked one, and failed attempts by cause."""

    records: dict[str, Record]
    parked: dict[str, AttemptFailed]
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def num_retries(self) -> int:
        """Attempts that came to nothing and were followed by another."""
        return sum(self.failures.values()) - len(self.parked)


@dataclass(slots=True)
class _Running:
    work: Work
    attempt: Attempt
    slot: Slot
    busy: Busy


def run_stage(
    stage: str,
    works: Sequence[Work],
    pool: WorkerPool,
    store: JobStore,
    listener: StageListener,
    stop: StopRequest,
    *,
    budgets: Budgets | None = None,
    watchdog: Watchdog | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> StageOutcome:
    """Do all ``works`` over ``pool``, trying failed ones again within their budgets.

    Raises InterruptedRun when ``stop`` asked to drain (after what ran has finished) or to kill (at once), LeaseLost when
    another run has the job, StageFailed when the job's storage refuses or a film is damaged, PoolError without any worker.
    """
    return _Stage(stage, works, pool, store, listener, stop, budgets, watchdog or Watchdog(), clock).run()


class _Stage:
    def __init__(
        self,
        stage: str,
        works: Sequence[Work],
        pool: WorkerPool,
        store: JobStore,
        listener: StageListener,
        stop: StopRequest,
        budgets: Budgets | None,
        watchdog: Watchdog,
        clock: Callable[[], float],
    ) -> None:
        self._stage, self._pool, self._store, self._listener, self._stop = stage, pool, store, listener, stop
        self._works = {work.name: work for work in works}
        self._board = Board.of([work.name for work in works], budgets)
        self._waiting = Waiting([Unit(work.name, work.num_frames) for work in works])
        self._running: dict[str, _Running] = {}
        self._rates, self._trust, self._watchdog, self._clock = Rates(), NodeTrust(), watchdog, clock
        self._next_tick = self._next_watch = self._next_assigned = 0.0
        self._free_when_assigned = 0
        self._refusal: AttemptFailed | None = None

    def run(self) -> StageOutcome:
        with self._stop.heeded():
            while self._board.num_left and not self._stop.kill:
                if self._is_draining and not self._running:
                    break
                self._submit()
                for event in self._pool.wait(WAIT_SECONDS):
                    self._hear(event)
                self._tick()
        if self._stop.kill:
            self._pool.close(kill=True)
        return self._outcome()

    @property
    def _is_draining(self) -> bool:
        return self._stop.drain or self._refusal is not None

    # --- submitting

    def _submit(self) -> None:
        if self._is_draining:
            self._pool.want(0)
            return
        slots, now = self._pool.slots() if self._waiting else [], self._clock()
        for unit, slot in self._assigned(slots, now):
            work, attempt = self._works[unit.name], self._board.start(unit.name)
            self._waiting.remove(unit)
            busy = Busy(slot.node, slot.speed_class, work.num_frames, now, unit.num_failures > 0)
            self._running[unit.name] = _Running(work, attempt, slot, busy)
            self._listener.unit_started(work, attempt, slot)
            self._pool.submit(slot, work, attempt)
        self._pool.want(len(self._waiting))

    def _assigned(self, slots: Sequence[Slot], now: float) -> list[tuple[Unit, Slot]]:
        """Workers left free on purpose are looked at again when others join them, and now and then."""
        if len(slots) == self._free_when_assigned and now < self._next_assigned:
            return []
        self._next_assigned = now + WATCH_SECONDS
        busy = [running.busy for running in self._running.values()]
        pairs = assign(self._waiting, slots, busy, self._rates, now, self._trust.doubted)
        self._free_when_assigned = len(slots) - len(pairs)
        return pairs

    # --- hearing

    def _hear(self, event: Event) -> None:
        running = self._running.get(event.item)
        if running is None or running.attempt.number != event.attempt:
            return
        event = self._settled(event, running.work)
        del self._running[event.item]
        self._watchdog.forget(event.item)
        if isinstance(event, AttemptSucceeded):
            self._succeeded(event, running)
        else:
            self._failed(event, running)

    def _settled(self, event: Event, work: Work) -> Event:
        """A failure whose record exists is a success whose answer was lost: the record decides."""
        if isinstance(event, AttemptSucceeded):
            return event
        try:
            record = find_record(self._store, work)
        except StorageError:
            # The next attempt looks for the record before it works.
            return event
        return event if record is None else AttemptSucceeded(event.item, event.attempt, record)

    def _succeeded(self, event: AttemptSucceeded, running: _Running) -> None:
        self._board.handle(event)
        self._trust.succeeded(running.slot.node)
        if event.record.attempt == event.attempt:
            self._rates.note(running.slot.speed_class, running.work.num_frames, event.record.seconds)
        self._listener.unit_done(running.work, event.record)

    def _failed(self, event: AttemptFailed, running: _Running) -> None:
        num_nodes = max(self._pool.census().usable, 1)
        state = self._board.handle(event, num_nodes)
        status = self._board.items[event.item]
        if event.cause in ENDS_STAGE:
            self._refusal = self._refusal or event
        elif state is ItemState.WAITING:
            blamed = sum(failure.cause in BLAMES_WORK_OR_NODE for failure in status.failures)
            self._waiting.add(Unit(event.item, running.work.num_frames, blamed, status.bad_nodes()))
        node = running.slot.node
        if event.cause in BLAMES_WORK_OR_NODE and self._trust.blames(node, event.item, num_nodes):
            self._pool.shun(node)
        self._listener.unit_failed(running.work, event, state is ItemState.PARKED)

    # --- watching

    def _tick(self) -> None:
        now = self._clock()
        if now < self._next_tick:
            return
        self._next_tick = now + WAIT_SECONDS
        census, progress = self._pool.census(), self._pool.progress()
        self._listener.tick(sum(progress.values()), census)
        if now >= self._next_watch:
            self._next_watch = now + WATCH_SECONDS
            self._watch(now, census, progress)

    def _watch(self, now: float, census: Census, progress: Mapping[str, int]) -> None:
        going = {node.id: node.seconds_left for node in census.nodes if node.seconds_left is not None}
        for name, running in self._running.items():
            seconds_left = going.get(running.slot.node) if going and self._rates.any_known else None
            if seconds_left is not None and self._rates.seconds_to_go(running.busy, now) > seconds_left:
                self._pool.stop(name, Cause.PREEMPTED, f"its machine goes in {seconds_left:.0f} s, before it could be done")
            elif stalled_s := self._watchdog.stalled(running.work, progress.get(name, 0), running.busy.since, now):
                self._pool.stop(name, Cause.STALL, f"no frame came for {stalled_s:.0f} s")

    # --- the end

    def _outcome(self) -> StageOutcome:
        items = self._board.items
        if self._refusal is not None:
            raise StageFailed(self._stage, self._refusal.item, self._refusal.message)
        records = {name: status.record for name, status in items.items() if status.record is not None}
        parked = {name: items[name].failures[-1] for name in self._board.in_state(ItemState.PARKED)}
        if self._stop.is_lost():
            raise LeaseLost(self._stage, len(records), len(items))
        if len(records) + len(parked) < len(items):
            raise InterruptedRun(self._stage, len(records), len(items))
        failures: dict[str, int] = {}
        for status in items.values():
            for failure in status.failures:
                failures[failure.cause.value] = failures.get(failure.cause.value, 0) + 1
        return StageOutcome(records, parked, failures)
