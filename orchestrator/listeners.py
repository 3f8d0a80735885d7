"""Everybody who follows a stage, behind one listener: none of them can stop the run that they only look at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from orchestrator.gauges import metrics_listener
from orchestrator.journal import JOURNAL, JournalListener
from orchestrator.ledger import Ledger
from orchestrator.nodes import Census, Slot
from orchestrator.snapshot import PROGRESS, SnapshotListener
from orchestrator.state import AttemptFailed
from orchestrator.supervise import StageListener
from tasks.store import JobStore
from tasks.work import Attempt, Record, Work
from vsalign.errors import VsalignError

METRICS = "metrics"
Say = Callable[[str], None]


class Listeners:
    """Forwards to several listeners in order, each under the name that people know it by. A fault in one, of storage, of the
    terminal or of our own, is told once, by ``say``, and keeps neither the others nor the run from going on."""

    def __init__(self, listeners: Mapping[str, StageListener], say: Say) -> None:
        self._listeners, self._say = dict(listeners), say
        self._told: set[str] = set()

    def add(self, name: str, listener: StageListener) -> None:
        """One more, that hears all that follows."""
        self._listeners[name] = listener

    def unit_started(self, work: Work, attempt: Attempt, slot: Slot) -> None:
        for name, listener in self._listeners.items():
            self.guard(name, partial(listener.unit_started, work, attempt, slot))

    def unit_done(self, work: Work, record: Record) -> None:
        for name, listener in self._listeners.items():
            self.guard(name, partial(listener.unit_done, work, record))

    def unit_failed(self, work: Work, failure: AttemptFailed, parked: bool) -> None:
        for name, listener in self._listeners.items():
            self.guard(name, partial(listener.unit_failed, work, failure, parked))

    def tick(self, frames_running: int, census: Census) -> None:
        for name, listener in self._listeners.items():
            self.guard(name, partial(listener.tick, frames_running, census))

    def guard(self, name: str, call: Callable[[], None]) -> None:
        """Do ``call``; a fault is told once per name and swallowed. Requests to stop (KeyboardInterrupt) go through."""
        try:
            call()
        except Exception as error:
            if name not in self._told:
                self._told.add(name)
                with suppress(Exception):
                    self._say(f"{name} {_words(error)}; the run goes on")


def _words(error: Exception) -> str:
    if isinstance(error, (OSError, VsalignError)):
        return f"could not be written ({error})"
    return f"has a fault ({type(error).__name__}: {error})"


@contextmanager
def stage_listeners(
    store: JobStore,
    ledger: Ledger,
    stage: str,
    works: Sequence[Work],
    reused: Collection[str],
    view: StageListener,
    say: Say,
) -> Iterator[StageListener]:
    """All that follows a stage: the run's ledger, journal.jsonl and fail/, progress.json, metrics, and what the user sees.

    ``works``: all units of the stage; ``reused``: names of those that earlier runs have done.
    """
    closing: dict[str, Callable[[], None]] = {}
    all_of_them = Listeners({"the ledger": ledger, JOURNAL: JournalListener(store, stage), "the display": view}, say)

    def measure() -> None:
        if metrics := metrics_listener(stage, works, reused):
            all_of_them.add(METRICS, metrics)
            closing[METRICS] = metrics.close

    def show() -> None:
        snapshot = SnapshotListener(store, stage, works, reused, ledger)
        all_of_them.add(PROGRESS, snapshot)
        closing[PROGRESS] = snapshot.close

    all_of_them.guard(METRICS, measure)
    all_of_them.guard(PROGRESS, show)
    closing[JOURNAL] = store.flush
    try:
        yield all_of_them
    finally:
        for name, close in closing.items():
            all_of_them.guard(name, close)
