"""PURE: what happens to each unit of work when something is heard of it. No clock, no I/O, no Ray.

    WAITING --submit--> RUNNING --succeeded--> DONE
       ^                   |
       +---- failed -------+----- budget of the cause is spent ----> PARKED

Every try carries an attempt number; an answer of an earlier attempt changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from tasks.errors import DamagedFrame, EncoderBusy, OutOfMemory, SourceChanged, StorageError
from tasks.thrift import MOST_THRIFT
from tasks.work import Attempt, Record


class ItemState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    PARKED = "parked"


class Cause(StrEnum):
    """Why an attempt failed, which decides the budget it is charged to."""

    CODE = "code"
    """The work raised an exception."""
    CRASH = "crash"
    """The worker died on a machine that lives on (a fault in native code, a kill)."""
    STALL = "stall"
    """No frame came for so long that the worker was killed."""
    MEMORY = "memory"
    """The worker's memory, or its machine's, did not suffice; the next attempt is thriftier."""
    STORAGE = "storage"
    """The job's storage is full or refuses us, or a film has changed: no attempt can do better before somebody sees to it."""
    DAMAGE = "damage"
    """A film is damaged, and the settings say to leave out what needs the damaged frame: the unit is given up at once."""
    SOURCE = "source"
    """A film is damaged, and the settings say to stop."""
    PREEMPTED = "preempted"
    """The machine was taken away after it had been announced."""
    BUSY = "busy"
    """The machine's GPU had as many encoders open as it can: later there will be room."""
    INFRA = "infra"
    """The machine or its worker went away or never started, or storage did not answer: not the work's fault."""


#: The work itself may be to blame: another node is tried first, and the node is watched.
BLAMES_WORK_OR_NODE = frozenset({Cause.CODE, Cause.CRASH, Cause.STALL, Cause.MEMORY})
#: The stage ends, for no attempt at any unit can do better before somebody sees to it.
ENDS_STAGE = frozenset({Cause.STORAGE, Cause.SOURCE})
#: Crashes park a unit only once this many nodes saw them, where there are so many.
CRASH_NODES = 2


@dataclass(frozen=True, slots=True)
class Budgets:
    """Failures a unit may have, per cause, before it is parked."""

    code: int = 2
    crash: int = 3
    stall: int = 2
    memory: int = MOST_THRIFT + 3
    storage: int = 1
    damage: int = 1
    source: int = 1
    preempted: int = 200
    busy: int = 20
    infra: int = 20

    def of(self, cause: Cause) -> int:
        return int(getattr(self, cause.value))


@dataclass(frozen=True, slots=True)
class AttemptSucceeded:
    item: str
    attempt: int
    record: Record


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """``node``: where it ran, "" when it never did; ``frames_done``: as far as it was heard to come."""

    item: str
    attempt: int
    cause: Cause
    message: str
    node: str = ""
    frames_done: int = 0


Event = AttemptSucceeded | AttemptFailed


def cause_of(error: BaseException) -> Cause:
    """The cause that an exception raised by the work stands for."""
    if isinstance(error, DamagedFrame):
        return Cause.SOURCE if error.policy == "stop" else Cause.DAMAGE
    if isinstance(error, SourceChanged):
        return Cause.STORAGE
    if isinstance(error, EncoderBusy):
        return Cause.BUSY
    if isinstance(error, StorageError):
        return Cause.INFRA if error.what == "unreachable" else Cause.STORAGE
    return Cause.MEMORY if isinstance(error, (OutOfMemory, MemoryError)) else Cause.CODE


@dataclass(frozen=True, slots=True)
class ItemStatus:
    state: ItemState = ItemState.WAITING
    #: Number of the running or last attempt; 0 before the first.
    attempt: int = 0
    #: Level of thrift at which the next attempt begins.
    thrift: int = 0
    failures: tuple[AttemptFailed, ...] = ()
    record: Record | None = None

    def count(self, cause: Cause) -> int:
        return sum(1 for failure in self.failures if failure.cause is cause)

    def bad_nodes(self) -> frozenset[str]:
        """Nodes on which it failed and may fail again."""
        return frozenset(failure.node for failure in self.failures if failure.cause in BLAMES_WORK_OR_NODE and failure.node)

    def is_spent(self, cause: Cause, budgets: Budgets, num_nodes: int) -> bool:
        """No attempt is left for failures of this cause; crashes on one node alone may be that node's doing."""
        if self.count(cause) < budgets.of(cause):
            return False
        crashed_on = {failure.node for failure in self.failures if failure.cause is cause}
        if cause is not Cause.CRASH or len(crashed_on) >= min(CRASH_NODES, num_nodes):
            return True
        return self.count(cause) >= CRASH_NODES * budgets.crash


@dataclass(slots=True)
class Board:
    """State of all units of one stage; ``start`` and ``handle`` are the only ways it changes."""

    items: dict[str, ItemStatus]
    budgets: Budgets = field(default_factory=Budgets)
    num_left: int = 0

    @staticmethod
    def of(names: Iterable[str], budgets: Budgets | None = None) -> Board:
        order = list(names)
        board = Board({name: ItemStatus() for name in order}, budgets or Budgets(), len(order))
        if len(board.items) != len(order):
            raise ValueError("names of work must be unique")
        return board

    def start(self, name: str) -> Attempt:
        """The next attempt of a waiting unit, which runs from now on. Raises ValueError when it does not wait."""
        status = self.items[name]
        if status.state is not ItemState.WAITING:
            raise ValueError(f"{name} is {status.state}, accepted: waiting")
        self.items[name] = replace(status, state=ItemState.RUNNING, attempt=status.attempt + 1)
        return Attempt(status.attempt + 1, status.thrift)

    def handle(self, event: Event, num_nodes: int = 1) -> ItemState | None:
        """Apply what was heard, on a pool of ``num_nodes`` nodes: the unit's new state, None where nothing changes because the
        answer is an earlier attempt's."""
        status = self.items[event.item]
        if status.state is not ItemState.RUNNING or event.attempt != status.attempt:
            return None
        if isinstance(event, AttemptSucceeded):
            status = replace(status, state=ItemState.DONE, record=event.record)
        else:
            status = _after_failure(status, event, self.budgets, num_nodes)
        self.items[event.item] = status
        self.num_left -= status.state is not ItemState.WAITING
        return status.state

    def in_state(self, state: ItemState) -> list[str]:
        return [name for name, status in self.items.items() if status.state is state]

    def check(self) -> None:
        """Raise AssertionError where a fact that must always hold does not; for tests."""
        states = [status.state for status in self.items.values()]
        assert self.num_left == states.count(ItemState.WAITING) + states.count(ItemState.RUNNING)
        for status in self.items.values():
            assert (status.record is not None) == (status.state is ItemState.DONE)
            assert len(status.failures) <= status.attempt
            assert status.attempt > 0 or status.state is ItemState.WAITING


def _after_failure(status: ItemStatus, failure: AttemptFailed, budgets: Budgets, num_nodes: int) -> ItemStatus:
    # A kernel or a container that is short of memory kills without a word: that looks like any other crash.
    thrift = min(status.thrift + (failure.cause in (Cause.MEMORY, Cause.CRASH)), MOST_THRIFT)
    status = replace(status, failures=(*status.failures, failure), thrift=thrift)
    spent = status.is_spent(failure.cause, budgets, num_nodes)
    return replace(status, state=ItemState.PARKED if spent else ItemState.WAITING)
