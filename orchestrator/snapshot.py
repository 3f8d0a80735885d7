"""How far a stage is, as progress.json tells whoever looks at the job's storage: small, replaced every few seconds.

``snapshot`` is PURE: what a stage has come to -> the file's content. ``SnapshotListener`` counts, and writes it.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.lease import read_lease
from orchestrator.ledger import Ledger
from orchestrator.nodes import Census, Slot
from orchestrator.state import AttemptFailed
from tasks.outfile import out_size
from tasks.store import JobStore, json_object
from tasks.work import Attempt, Record, Work, unit_of

PROGRESS = "progress.json"
PROGRESS_SCHEMA = 1
WRITE_EVERY_S = 5.0
#: After a write that failed: storage that does not answer must not hold the run up again and again.
WRITE_AGAIN_S = 60.0
RATE_WINDOW_S = 180.0
SAMPLE_EVERY_S = 1.0
#: What is listed one by one, so that the file stays below 100 kB for any number of units and nodes; the rest is counted.
MOST_RUNNING, MOST_TROUBLED, MOST_NODES = 1000, 75, 100
MESSAGE_CHARS = 160
NODE_CHARS = 12


@dataclass(slots=True)
class UnitNow:
    """A unit that runs, waits after a failure, or was given up. ``node``: the start of its id."""

    state: str
    attempt: int
    node: str
    cause: str = ""
    message: str = ""


@dataclass(slots=True)
class StageNow:
    """A stage in numbers. ``stale``: units not begun that have a result made by other settings."""

    name: str
    num_units: int
    total_frames: int
    reused: int = 0
    done: int = 0
    """Units done, the reused ones included."""
    done_frames: int = 0
    running_frames: int = 0
    stale: set[str] = field(default_factory=set)
    units: dict[str, UnitNow] = field(default_factory=dict)
    ended: bool = False

    @property
    def frames(self) -> int:
        return min(self.done_frames + self.running_frames, self.total_frames)

    def counts(self) -> dict[str, int]:
        """Units by state; the states add up to ``total``."""
        states = [unit.state for unit in self.units.values()]
        counts = {state: states.count(state) for state in ("running", "failed", "parked")}
        waiting = self.num_units - self.done - len(states) - len(self.stale)
        return {"total": self.num_units, "done": self.done, "waiting": waiting, "stale": len(self.stale), **counts}


def snapshot(
    stage: StageNow, ledger: Ledger, census: Census, frames_per_second: float | None, wall_time: float
) -> dict[str, Any]:
    """The content of progress.json. ``wall_time``: seconds since 1970 by this machine's clock."""
    left = stage.total_frames - stage.frames
    table = _table(stage.units)
    return {
        "schema": PROGRESS_SCHEMA,
        "time": round(wall_time, 3),
        "stage": stage.name,
        "ended": stage.ended,
        "earlier_stages": list(ledger.earlier_stages),
        "units": {**stage.counts(), "reused": stage.reused},
        "frames": {"done": stage.frames, "total": stage.total_frames},
        "frames_per_second": None if frames_per_second is None else round(frames_per_second, 3),
        "eta_seconds": round(left / frames_per_second, 1) if frames_per_second and not stage.ended else None,
        "retries": dict(ledger.failures),
        "lost_seconds": {cause: round(seconds, 1) for cause, seconds in ledger.lost_seconds.items()},
        "spot_lost_seconds": round(ledger.spot_lost_seconds, 1),
        "thrift": ledger.facts().thrift,
        "workers": {"busy": census.busy, "idle": census.idle, "starting": census.starting, "wanted": census.wanted},
        "nodes": _nodes(stage.units.values(), census),
        "nodes_left_out": max(len(census.nodes) - MOST_NODES, 0),
        "table": table,
        "table_left_out": len(stage.units) - len(table),
    }


def _table(units: dict[str, UnitNow]) -> dict[str, list[Any]]:
    """[state, attempt, node] of what runs, [state, attempts, node, cause, message] of what was given up or failed last time;
    first what needs a person."""
    rows: dict[str, list[Any]] = {}
    for state, most in (("parked", MOST_TROUBLED), ("failed", MOST_TROUBLED), ("running", MOST_RUNNING)):
        for name in [name for name, unit in units.items() if unit.state == state][:most]:
            unit = units[name]
            why = [] if state == "running" else [unit.cause, unit.message[:MESSAGE_CHARS]]
            rows[name] = [state, unit.attempt, unit.node, *why]
    return rows


def _nodes(units: Iterable[UnitNow], census: Census) -> list[dict[str, Any]]:
    busy: dict[str, int] = {}
    for unit in units:
        if unit.state == "running":
            busy[unit.node] = busy.get(unit.node, 0) + 1
    rows = []
    for node in census.nodes[:MOST_NODES]:
        state = "blocked" if node.id in census.blocked else "up" if node.seconds_left is None else "going"
        row: dict[str, Any] = {"id": _short(node.id), "host": node.host[:40], "accelerator": node.accelerator, "state": state}
        left = {} if node.seconds_left is None else {"seconds_left": round(node.seconds_left, 1)}
        rows.append({**row, "busy": busy.get(_short(node.id), 0), **left})
    return rows


def _short(node: str) -> str:
    return node[:NODE_CHARS]


def stale_units(works: Sequence[Work], reused: Collection[str], record_names: Collection[str]) -> set[str]:
    """PURE: units that are to be done and have a record, but not their own one: other settings made it."""
    with_record = {unit_of(name) for name in record_names}
    own = set(record_names)
    return {w.name for w in works if w.name not in reused and w.name in with_record and w.record_name not in own}


class SnapshotListener:
    """Counts one stage and replaces progress.json every few seconds. ``works``: all units, ``reused``: names of those done by
    earlier runs. Writing may raise StorageError; ``orchestrator.listeners`` keeps that from the run."""

    def __init__(
        self,
        store: JobStore,
        stage: str,
        works: Sequence[Work],
        reused: Collection[str],
        ledger: Ledger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._ledger, self._clock = store, ledger, clock
        done_frames = sum(work.num_frames for work in works if work.name in reused)
        total = sum(work.num_frames for work in works)
        self.stage = StageNow(stage, len(works), total, len(reused), len(reused), done_frames)
        self.stage.stale = stale_units(works, reused, store.names("done"))
        self._census = Census()
        self._began = clock()
        self._samples: deque[tuple[float, int]] = deque([(self._began, self.stage.frames)])
        self._write_at = self._began

    def unit_started(self, work: Work, attempt: Attempt, slot: Slot) -> None:
        self.stage.stale.discard(work.name)
        self.stage.units[work.name] = UnitNow("running", attempt.number, _short(slot.node))

    def unit_done(self, work: Work, record: Record) -> None:
        self.stage.units.pop(work.name, None)
        self.stage.stale.discard(work.name)
        self.stage.done += 1
        self.stage.done_frames += work.num_frames

    def unit_failed(self, work: Work, failure: AttemptFailed, parked: bool) -> None:
        self.stage.stale.discard(work.name)
        known = self.stage.units.get(work.name)
        node = _short(failure.node) or (known.node if known else "")
        state = "parked" if parked else "failed"
        self.stage.units[work.name] = UnitNow(state, failure.attempt, node, failure.cause, failure.message)

    def tick(self, frames_running: int, census: Census) -> None:
        self.stage.running_frames, self._census = frames_running, census
        now = self._clock()
        if now - self._samples[-1][0] >= SAMPLE_EVERY_S:
            self._samples.append((now, self.stage.frames))
            while now - self._samples[0][0] > RATE_WINDOW_S:
                self._samples.popleft()
        if now >= self._write_at:
            self._write_at = now + WRITE_AGAIN_S
            self._write()
            self._write_at = now + WRITE_EVERY_S

    def close(self) -> None:
        """The stage has ended, or the run was interrupted in it: write what it came to."""
        self.stage.ended, self.stage.running_frames = True, 0
        self._write()
        counts, seconds = self.stage.counts(), round(self._clock() - self._began, 1)
        told = {"units": counts["total"], "done": counts["done"], "parked": counts["parked"], "frames": self.stage.frames}
        self._ledger.earlier_stages.append({"name": self.stage.name, **told, "seconds": seconds})

    def rate(self) -> float | None:
        """Frames per second over the last minutes; None before anything can be told."""
        (since, before), now = self._samples[0], self._clock()
        seconds = now - since
        return max(self.stage.frames - before, 0) / seconds if seconds >= SAMPLE_EVERY_S else None

    def _write(self) -> None:
        _replace(self._store, snapshot(self.stage, self._ledger, self._census, self.rate(), time.time()))


def read_progress(store: JobStore) -> dict[str, Any] | None:
    """progress.json; None where there is none, a torn one, or one of another version."""
    told = json_object(store.read(PROGRESS))
    return told if told is not None and told.get("schema") == PROGRESS_SCHEMA else None


def mark_published(store: JobStore, out: str) -> None:
    """Note in progress.json that the run which holds the lease ended with ``out`` published, and how many bytes it has.

    The note is void once another run has taken the lease, or begun a stage. Raises StorageError, OSError.
    """
    told = read_progress(store) or {}
    units = told.get("units") or {"done": 0, "total": 0}
    if not told.get("ended") or units["done"] != units["total"]:
        # A run that found all done has had no stage; what is told is of one that was killed.
        told = {"schema": PROGRESS_SCHEMA}
    lease = read_lease(store)
    mark = {"lease": lease.token if lease else None, "size": out_size(out)}
    _replace(store, {**told, "time": round(time.time(), 3), "published": mark})


def _replace(store: JobStore, values: dict[str, Any]) -> None:
    store.replace(PROGRESS, json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode(errors="replace"))
