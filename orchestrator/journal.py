"""What happened, for people: lines of journal.jsonl, a record in fail/ per failed attempt. Nothing is decided by it."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from orchestrator.nodes import Census, Slot
from orchestrator.state import AttemptFailed
from tasks.attemptlog import log_name
from tasks.store import JobStore
from tasks.work import Attempt, Record, Work

JOURNAL = "journal.jsonl"
#: How much of an attempt's log goes into its fail record.
TAIL_LINES = 40
TAIL_BYTES = 8000


class JournalListener:
    """Writes both for one stage. Every call may raise StorageError; ``orchestrator.listeners`` keeps that from the run."""

    def __init__(self, store: JobStore, stage: str) -> None:
        self._store, self._stage = store, stage
        #: (attempt, node) of what runs.
        self._running: dict[str, tuple[Attempt, str]] = {}

    def unit_started(self, work: Work, attempt: Attempt, slot: Slot) -> None:
        self._running[work.name] = (attempt, slot.node)
        facts = {"thrift": attempt.thrift} if attempt.thrift else {}
        self._note("submitted", work.name, attempt.number, node=slot.node, **facts)

    def unit_done(self, work: Work, record: Record) -> None:
        attempt, node = self._running.pop(work.name, (Attempt(record.attempt), ""))
        self._note("done", work.name, attempt.number, node=node, blob=record.blob)

    def unit_failed(self, work: Work, failure: AttemptFailed, parked: bool) -> None:
        attempt, node = self._running.pop(work.name, (Attempt(failure.attempt), ""))
        node = failure.node or node
        told: dict[str, Any] = {"cause": failure.cause, "message": failure.message, "parked": parked, "node": node}
        self._note("failed", work.name, failure.attempt, **told)
        log = log_name(work.name, failure.attempt)
        fail = {
            "time": round(time.time(), 3),
            "stage": self._stage,
            "unit": work.name,
            "fingerprint": work.fingerprint,
            "attempt": failure.attempt,
            **told,
            "frames_done": failure.frames_done,
            "thrift": attempt.thrift,
            "log": log,
            "log_tail": log_tail(self._store.read_log(log)),
        }
        data = (json.dumps(fail, indent=1) + "\n").encode()
        name = f"fail/{work.name}-{work.fingerprint[:12]}-{failure.attempt}"
        if not self._store.create(f"{name}.json", data):
            # An earlier run counted its attempts from 1 as well; what it left is not overwritten.
            self._store.create(f"{name}-{secrets.token_hex(3)}.json", data)

    def tick(self, frames_running: int, census: Census) -> None:
        """Nothing is written of what goes well."""

    def _note(self, what: str, item: str, attempt: int, **facts: object) -> None:
        line = {"time": round(time.time(), 3), "stage": self._stage, "what": what, "item": item, "attempt": attempt, **facts}
        self._store.append(JOURNAL, json.dumps(line))


def log_tail(log: bytes) -> list[str]:
    """The last lines of an attempt's log: no more than 40, nor than 8000 bytes."""
    return log[-TAIL_BYTES:].decode(errors="replace").splitlines()[-TAIL_LINES:]
