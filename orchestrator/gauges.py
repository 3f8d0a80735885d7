"""A run in numbers for Prometheus, through Ray's metrics: each node serves those of its processes, these the driver's node.

Ray writes ``ray_`` before every name. No tag has more values than there are stages, causes, states and kinds of GPU.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from orchestrator.ledger import SPOT_CAUSES
from orchestrator.nodes import Census, Slot
from orchestrator.state import AttemptFailed
from tasks.work import Attempt, Record, Work

#: Seconds that one frame takes, from a quick scan to the slowest network on a CPU.
FRAME_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
#: Ray serves a gauge only if it was set since it was last served.
GAUGES_EVERY_S = 2.0


def metrics_listener(stage: str, works: Sequence[Work], reused: Collection[str]) -> MetricsListener | None:
    """A listener for this stage while Ray is up in this process; None otherwise (a job without Ray does not load it)."""
    if "ray" not in sys.modules:
        return None
    import ray

    return MetricsListener(stage, len(works) - len(reused)) if ray.is_initialized() else None


class MetricsListener:
    """Counts what is heard of one stage that has ``num_units`` units to do."""

    def __init__(self, stage: str, num_units: int, clock: Callable[[], float] = time.monotonic) -> None:
        from ray.util.metrics import Counter, Gauge, Histogram

        self._stage, self._clock = stage, clock
        self._left, self._gauges_at = num_units, clock()
        #: When each running unit began, and on which kind of GPU.
        self._running: dict[str, tuple[float, str]] = {}
        self._units: Any = Counter("vsalign_chunks_total", "attempts at units of work by how they ended", ("stage", "result"))
        self._frames: Any = Counter("vsalign_frames_total", "frames of units that are done", ("stage",))
        told = "seconds per frame, mean of a unit"
        self._frame_seconds: Any = Histogram("vsalign_frame_seconds", told, list(FRAME_SECONDS), ("stage",))
        self._queue: Any = Gauge("vsalign_queue_units", "units of the stage that wait for a worker", ("stage",))
        self._retries: Any = Counter("vsalign_retries_total", "failed attempts by cause", ("cause",))
        self._gpu_seconds: Any = Counter("vsalign_gpu_seconds_total", "seconds of work on GPU workers", ("accelerator",))
        self._lost: Any = Counter("vsalign_spot_lost_seconds_total", "seconds of work lost with machines that went away")
        self._workers: Any = Gauge("vsalign_workers", "workers by what they do", ("state",))

    def unit_started(self, work: Work, attempt: Attempt, slot: Slot) -> None:
        self._running[work.name] = (self._clock(), slot.accelerator)

    def unit_done(self, work: Work, record: Record) -> None:
        self._ended(work)
        self._left -= 1
        self._units.inc(1, {"stage": self._stage, "result": "done"})
        if work.num_frames:
            self._frames.inc(work.num_frames, {"stage": self._stage})
            self._frame_seconds.observe(record.seconds / work.num_frames, {"stage": self._stage})

    def unit_failed(self, work: Work, failure: AttemptFailed, parked: bool) -> None:
        seconds = self._ended(work)
        self._left -= parked
        self._units.inc(1, {"stage": self._stage, "result": "parked" if parked else "failed"})
        self._retries.inc(1, {"cause": failure.cause.value})
        if failure.cause in SPOT_CAUSES and seconds > 0:
            self._lost.inc(seconds)

    def tick(self, frames_running: int, census: Census) -> None:
        if self._clock() >= self._gauges_at:
            self._gauges_at = self._clock() + GAUGES_EVERY_S
            self._set_gauges(self._left - len(self._running), census)

    def close(self) -> None:
        """The stage is over: nothing waits for it, nobody works at it."""
        self._set_gauges(0, Census())

    def _ended(self, work: Work) -> float:
        """Seconds that the attempt took, charged to its GPU if it had one."""
        began, accelerator = self._running.pop(work.name, (self._clock(), ""))
        seconds = self._clock() - began
        if accelerator and seconds > 0:
            self._gpu_seconds.inc(seconds, {"accelerator": accelerator})
        return seconds

    def _set_gauges(self, waiting: int, census: Census) -> None:
        self._queue.set(waiting, {"stage": self._stage})
        for state, count in (("busy", census.busy), ("idle", census.idle), ("starting", census.starting)):
            self._workers.set(count, {"state": state})
