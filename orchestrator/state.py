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

from tasks.work import Record


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
    """The worker died on a machine that lives on (segfault, killed for memory)."""
    INFRA = "infra"
    """The machine or its worker went away or never started: not the work's fault."""


@dataclass(frozen=True, slots=True)
class Budgets:
    """Failures a unit may have, per cause, before it is parked."""

    code: int = 2
    crash: int = 3
    infra: int = 20

    def of(self, cause: Cause) -> int:
        return {Cause.CODE: self.code, Cause.CRASH: self.crash, Cause.INFRA: self.infra}[cause]


@dataclass(frozen=True, slots=True)
class AttemptSucceeded:
    item: str
    attempt: int
    record: Record


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    item: str
    attempt: int
    cause: Cause
    message: str


Event = AttemptSucceeded | AttemptFailed


@dataclass(frozen=True, slots=True)
class Submit:
    """Give this unit to a free worker."""

    item: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Park:
    """Give this unit up for this run; all others go on."""

    item: str
    failure: AttemptFailed


@dataclass(frozen=True, slots=True)
class ItemStatus:
    state: ItemState = ItemState.WAITING
    #: Number of the running or last attempt; 0 before the first.
    attempt: int = 0
    failures: tuple[AttemptFailed, ...] = ()
    record: Record | None = None

    def count(self, cause: Cause) -> int:
        return sum(1 for failure in self.failures if failure.cause is cause)


@dataclass(slots=True)
class Board:
    """State of all units of one stage; ``handle`` and ``take`` are the only ways it changes."""

    items: dict[str, ItemStatus]
    budgets: Budgets = field(default_factory=Budgets)
    draining: bool = False
    #: Units to submit, first come first served; a failed unit goes to the front so that its fate is known early.
    waiting: list[str] = field(default_factory=list)
    num_running: int = 0

    @staticmethod
    def of(names: Iterable[str], budgets: Budgets | None = None) -> Board:
        order = list(names)
        board = Board({name: ItemStatus() for name in order}, budgets or Budgets(), waiting=order[::-1])
        if len(board.items) != len(order):
            raise ValueError("names of work must be unique")
        return board

    def take(self, free_slots: int) -> list[Submit]:
        """The next submissions for ``free_slots`` free workers; none when draining."""
        submissions: list[Submit] = []
        while self.waiting and len(submissions) < free_slots and not self.draining:
            name = self.waiting.pop()
            status = self.items[name]
            self.items[name] = replace(status, state=ItemState.RUNNING, attempt=status.attempt + 1)
            self.num_running += 1
            submissions.append(Submit(name, status.attempt + 1))
        return submissions

    def handle(self, event: Event) -> list[Park]:
        """Apply what was heard; says what is given up because of it."""
        status = self.items[event.item]
        if status.state is not ItemState.RUNNING or event.attempt != status.attempt:
            return []
        self.num_running -= 1
        if isinstance(event, AttemptSucceeded):
            self.items[event.item] = replace(status, state=ItemState.DONE, record=event.record)
            return []
        status = replace(status, failures=(*status.failures, event))
        if status.count(event.cause) >= self.budgets.of(event.cause):
            self.items[event.item] = replace(status, state=ItemState.PARKED)
            return [Park(event.item, event)]
        self.items[event.item] = replace(status, state=ItemState.WAITING)
        self.waiting.append(event.item)
        return []

    def drain(self) -> None:
        """Submit nothing more; what runs may finish."""
        self.draining = True

    def in_state(self, state: ItemState) -> list[str]:
        return [name for name, status in self.items.items() if status.state is state]

    @property
    def finished(self) -> bool:
        """Nothing runs and nothing is left to submit."""
        return self.num_running == 0 and (self.draining or not self.waiting)
