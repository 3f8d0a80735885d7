"""What one run did so far, over all its stages: attempts that failed, time thrown away, who did the work. No I/O."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.nodes import Census, Slot
from orchestrator.state import AttemptFailed, Cause
from tasks.work import Attempt, Record, Work

#: The machine went away: what ran there is the price of machines that may be taken.
SPOT_CAUSES = (Cause.PREEMPTED, Cause.INFRA)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a report tells of how a run went. ``hosts``: units done by each; ``thrift``: units by the level of thrift, above 0,
    that they needed; ``failures``: failed attempts by cause."""

    hosts: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    spot_lost_seconds: float = 0.0
    thrift: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Ledger:
    """A listener that only counts. Seconds are those of an attempt from its submission to its failure, by ``clock``."""

    clock: Callable[[], float] = time.monotonic
    failures: Counter[str] = field(default_factory=Counter)
    """Failed attempts by cause."""
    lost_seconds: dict[str, float] = field(default_factory=dict)
    """Seconds of work thrown away, by cause."""
    units_by_host: Counter[str] = field(default_factory=Counter)
    """Units done, by the host that did them."""
    units_by_thrift: Counter[int] = field(default_factory=Counter)
    """Units that worked only at a level of thrift above 0, by that level."""
    earlier_stages: list[dict[str, object]] = field(default_factory=list)
    """Summaries of the stages that this run has ended, in order."""
    _began: dict[str, float] = field(default_factory=dict)

    @property
    def spot_lost_seconds(self) -> float:
        """Seconds of work thrown away because machines went away."""
        return sum(self.lost_seconds.get(cause, 0.0) for cause in SPOT_CAUSES)

    def facts(self) -> RunFacts:
        """The run so far, for the report."""
        thrift = {str(level): count for level, count in sorted(self.units_by_thrift.items())}
        hosts = dict(self.units_by_host.most_common())
        return RunFacts(hosts, dict(self.failures.most_common()), round(self.spot_lost_seconds, 1), thrift)

    def seconds_of(self, unit: str) -> float:
        """How long the running attempt of ``unit`` has been at it."""
        began = self._began.get(unit)
        return self.clock() - began if began is not None else 0.0

    def unit_started(self, work: Work, attempt: Attempt, slot: Slot) -> None:
        self._began[work.name] = self.clock()

    def unit_done(self, work: Work, record: Record) -> None:
        self._began.pop(work.name, None)
        self.units_by_host[record.host] += 1
        thrift = record.facts.get("thrift", 0)
        if thrift:
            self.units_by_thrift[int(thrift)] += 1

    def unit_failed(self, work: Work, failure: AttemptFailed, parked: bool) -> None:
        self.failures[failure.cause] += 1
        self.lost_seconds[failure.cause] = self.lost_seconds.get(failure.cause, 0.0) + self.seconds_of(work.name)
        self._began.pop(work.name, None)

    def tick(self, frames_running: int, census: Census) -> None:
        """Nothing to count."""
