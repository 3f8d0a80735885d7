"""The loop of one stage: what the pool tells -> the board's decisions -> submissions; the record has the last word."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.errors import InterruptedRun
from orchestrator.state import AttemptFailed, AttemptSucceeded, Board, Budgets, Event, ItemState
from orchestrator.stopping import StopRequest
from tasks.commit import find_record
from tasks.store import JobStore
from tasks.work import Record, Work

WAIT_SECONDS = 0.25


class WorkerPool(Protocol):
    """Workers of one kind, in this process or on a cluster: the one seam between deciding and doing."""

    def free(self) -> int:
        """Workers that could take a unit now."""

    def submit(self, work: Work, attempt: int) -> None:
        """Start ``work`` on a free worker."""

    def wait(self, timeout_s: float) -> list[Event]:
        """What was heard, after at most ``timeout_s``. Raises PoolError when no worker is left and none can be had."""

    def frames_done(self) -> int:
        """Frames finished inside units that still run; for display."""

    def close(self, kill: bool = False) -> None:
        """Let the workers go; ``kill`` does not wait for what they do."""


class StageListener(Protocol):
    """Who wants to see a stage go on (progress display, tests)."""

    def unit_done(self, work: Work, record: Record) -> None: ...

    def unit_failed(self, work: Work, failure: AttemptFailed, parked: bool) -> None: ...

    def running(self, frames: int) -> None:
        """Frames finished inside units that still run."""


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """Records of all finished units by name, the last failure of each parked one, and how many attempts failed."""

    records: dict[str, Record]
    parked: dict[str, AttemptFailed]
    num_retries: int


def run_stage(
    stage: str,
    works: Sequence[Work],
    pool: WorkerPool,
    store: JobStore,
    listener: StageListener,
    stop: StopRequest,
    budgets: Budgets | None = None,
) -> StageOutcome:
    """Do all ``works`` over ``pool``, trying failed ones again within their budgets.

    Raises InterruptedRun when ``stop`` asked to drain (after what ran has finished) or to kill (at once).
    """
    by_name = {work.name: work for work in works}
    board = Board.of(by_name, budgets)
    journal = _Journal(store, stage)
    with stop.heeded():
        while not board.finished:
            if stop.kill:
                pool.close(kill=True)
                break
            if stop.drain:
                board.drain()
            for submit in board.take(pool.free()):
                journal.note("submitted", submit.item, submit.attempt)
                pool.submit(by_name[submit.item], submit.attempt)
            for heard in pool.wait(WAIT_SECONDS):
                _apply(_settled(heard, by_name[heard.item], store), board, by_name, journal, listener)
            listener.running(pool.frames_done())
    return _outcome(stage, board)


def _settled(event: Event, work: Work, store: JobStore) -> Event:
    """A failure whose record exists is a success whose answer was lost: the record decides."""
    if isinstance(event, AttemptFailed):
        record = find_record(store, work)
        if record is not None:
            return AttemptSucceeded(event.item, event.attempt, record)
    return event


def _apply(event: Event, board: Board, by_name: dict[str, Work], journal: _Journal, listener: StageListener) -> None:
    parked = board.handle(event)
    if isinstance(event, AttemptSucceeded):
        journal.note("done", event.item, event.attempt, blob=event.record.blob)
        listener.unit_done(by_name[event.item], event.record)
        return
    journal.note("failed", event.item, event.attempt, cause=event.cause, message=event.message, parked=bool(parked))
    listener.unit_failed(by_name[event.item], event, bool(parked))


def _outcome(stage: str, board: Board) -> StageOutcome:
    records = {name: status.record for name, status in board.items.items() if status.record is not None}
    parked = {name: board.items[name].failures[-1] for name in board.in_state(ItemState.PARKED)}
    if len(records) + len(parked) < len(board.items):
        raise InterruptedRun(stage, len(records), len(board.items))
    return StageOutcome(records, parked, sum(max(status.attempt - 1, 0) for status in board.items.values()))


@dataclass(frozen=True, slots=True)
class _Journal:
    """journal.jsonl: what happened, for people; nothing is decided from it."""

    store: JobStore
    stage: str

    def note(self, what: str, item: str, attempt: int, **facts: object) -> None:
        line = {"time": round(time.time(), 3), "stage": self.stage, "what": what, "item": item, "attempt": attempt, **facts}
        self.store.append("journal.jsonl", json.dumps(line))
