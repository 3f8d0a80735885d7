"""How far a job is, read from its directory alone: works while it runs, after a kill, and from another machine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestrator.jobdir import saved_config
from orchestrator.journal import JOURNAL
from orchestrator.lease import LEASE, lease_patience, standing_of
from orchestrator.leasenote import LeaseNote, Standing
from orchestrator.snapshot import read_progress
from tasks.outfile import out_size
from tasks.store import JobStore, json_object, open_store
from tasks.work import unit_of

#: While somebody watches: how often done/ and the journal are read in full, beside the small files.
FULL_EVERY_S = 60.0

#: What progress.json tells, and what stands for it in a job directory without one.
_TOLD: dict[str, Any] = {
    "stage": None,
    "earlier_stages": [],
    "units": None,
    "frames": None,
    "frames_per_second": None,
    "eta_seconds": None,
    "retries": {},
    "lost_seconds": {},
    "spot_lost_seconds": 0.0,
    "thrift": {},
    "workers": None,
    "nodes": [],
    "nodes_left_out": 0,
}


class JobLook:
    """Looks at one job directory, again and again: each look reads a few small files, and all of it now and then. ``patient``:
    it will go on looking, and need not believe another machine's clock. Raises InputError when it is no job directory."""

    def __init__(self, job_dir: str, patient: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.job_dir = job_dir
        self._out = saved_config(job_dir).out
        self._store, self._clock = open_store(job_dir), clock
        self._full: dict[str, Any] = {}
        self._full_at = 0.0
        self._lease = LeaseWatch(patient, clock)

    def look(self, full: bool = False) -> dict[str, Any]:
        """The status now: plain values, the same keys every time. ``full``: read everything, whenever that was done last."""
        told = read_progress(self._store)
        if full or not self._full or told is None or self._clock() >= self._full_at:
            self._full, self._full_at = _full(self._store), self._clock() + FULL_EVERY_S
        found = self._store.read_tagged(LEASE)
        supervisor = self._lease.heard(found[0] if found else None)
        published = _is_published(told or {}, found[0] if found else None, self._out)
        works = supervisor is not None and supervisor["at_work"]
        status = {
            "job": self.job_dir,
            "out": self._out,
            "out_exists": published,
            "state": "working" if works else "published" if published else "stopped",
            "supervisor": supervisor,
            **{key: value for key, value in self._full.items() if key != "parked"},
            **_TOLD,
            **{key: (told or {}).get(key, default) for key, default in _TOLD.items()},
            "parked": self._full["parked"] if told is None else _parked(told.get("table", {})),
            "running": [[name, *row[1:3]] for name, row in (told or {}).get("table", {}).items() if row[0] == "running"],
            "written": told["time"] if told else None,
        }
        return status if works else _at_rest(status)


class LeaseWatch:
    """Whether the supervisor whose lease lies there is at work, by its beat and this machine's clock."""

    def __init__(self, patient: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._patient, self._clock = patient, clock
        self._seen: bytes | None = None
        self._moved_at = clock()
        self._has_moved = False

    def heard(self, lease: bytes | None) -> dict[str, Any] | None:
        """What is known of the supervisor now that this lease was read; None without any lease."""
        if lease is None:
            return None
        now = self._clock()
        if lease != self._seen:
            self._has_moved = self._has_moved or self._seen is not None
            self._seen, self._moved_at = lease, now
        note = LeaseNote.from_json(lease)
        standing = standing_of(note)
        still_s = now - self._moved_at
        shown = (
            {} if note is None else {key: getattr(note, key) for key in ("host", "pid", "epoch", "beat", "ttl_s", "written")}
        )
        return {
            **dict.fromkeys(("host", "pid", "epoch", "beat", "ttl_s", "written")),
            **shown,
            "standing": standing,
            "at_work": self._is_at_work(note, standing, still_s),
            "seconds_since_beat": round(still_s, 1) if self._has_moved else None,
        }

    def _is_at_work(self, note: LeaseNote | None, standing: Standing, still_s: float) -> bool:
        if standing != "unknown":
            return standing == "works"
        if self._patient:
            return still_s <= lease_patience(note)
        # Of a single look only the clocks of two machines can tell; who watches on sees the beat itself.
        return note is not None and abs(time.time() - note.written) <= lease_patience(note)


def _is_published(told: Mapping[str, Any], lease: bytes | None, out: str) -> bool:
    """The last run ended with OUT published, and it is there in its full size. A film of an earlier run does not count."""
    mark = told.get("published")
    if not isinstance(mark, dict):
        return False
    note = LeaseNote.from_json(lease) if lease is not None else None
    is_of_last_run = lease is None or (note is not None and note.token == mark.get("lease"))
    return is_of_last_run and mark.get("size") is not None and out_size(out) == mark["size"]


def _full(store: JobStore) -> dict[str, Any]:
    """What done/ and the journal tell, of all runs of this job."""
    bounds = (json_object(store.read("plan.json")) or {}).get("bounds", {}).get("chunks", [])
    done = {unit_of(name) for name in store.names("done")}
    chunks = {f"render-{index:05d}" for index in range(len(bounds) - 1)}
    events = list(_events(store.read_log(JOURNAL)))
    return {
        "chunks": len(chunks),
        "chunks_done": len(done & chunks),
        "scans_done": sum(1 for name in done if name.startswith("scan-")),
        "compared_done": sum(1 for name in done if name.startswith("compare-")),
        "failures": dict(Counter(event.get("cause", "unknown") for event in events if event["what"] == "failed")),
        "last_event": events[-1] if events else None,
        "parked": _parked_by_journal(events),
    }


def _events(journal: bytes) -> Iterator[dict[str, Any]]:
    """The journal's events; a line that a kill tore is passed over."""
    for line in journal.splitlines():
        event = json_object(line) or {}
        if {"what", "item", "attempt"} <= event.keys():
            yield event


def _parked_by_journal(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    last = {event["item"]: event for event in events}
    return [
        _parked_unit(name, event["attempt"], event.get("node", ""), event.get("cause", ""), event.get("message", ""))
        for name, event in last.items()
        if event["what"] == "failed" and event.get("parked")
    ]


def _parked(table: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return [_parked_unit(name, *row[1:5]) for name, row in table.items() if row[0] == "parked"]


def _parked_unit(name: str, attempts: int, node: str, cause: str, message: str) -> dict[str, Any]:
    log = f"logs/{name}-{attempts}.log"
    return {"unit": name, "attempts": attempts, "node": node, "cause": cause, "message": message, "log": log}


def _at_rest(status: dict[str, Any]) -> dict[str, Any]:
    """What ran when a supervisor was killed runs no more."""
    units = status["units"]
    if units is not None:
        units = {**units, "waiting": units["waiting"] + units["running"], "running": 0}
    return {
        **status,
        "units": units,
        "frames_per_second": None,
        "eta_seconds": None,
        "running": [],
        "workers": None,
        "nodes": [],
    }
