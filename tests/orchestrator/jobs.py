"""Job directories as a run leaves them, without films: for what only looks at them."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.config import JOB_SCHEMA
from orchestrator.leasenote import LeaseNote
from orchestrator.ledger import Ledger
from orchestrator.listeners import stage_listeners
from orchestrator.nodes import Census, NodeView, Slot
from orchestrator.snapshot import mark_published
from orchestrator.state import AttemptFailed, Cause
from orchestrator.status import JobLook
from tasks.store import JobStore
from tasks.work import Attempt
from tests.factories import config_of, record, work

NODE = "c0ffee" + "0" * 50
CENSUS = Census((NodeView(NODE, "gpuhost", 8, 1, 0, 0, "T4", 100.0),), busy=1, idle=0, starting=1, wanted=3)
ELSEWHERE = LeaseNote(3, "theirs", "otherhost", "another boot", 77, 1, 30.0)
WORKS = [work(f"render-{n:05d}") for n in range(6)]


def make_job(store: JobStore, out: str) -> JobStore:
    config = {**config_of().model_dump(mode="json"), "out": out}
    job = {"schema_version": JOB_SCHEMA, "clip": "c", "ref": "r", "config": config}
    store.replace("job.json", json.dumps(job).encode())
    store.replace("plan.json", json.dumps({"asked": {}, "bounds": {"chunks": [0, 10, 20, 30, 40, 50, 60]}}).encode())
    return store


def run_half(store: JobStore) -> None:
    """A render stage that ends with four chunks done, one parked, one never begun; one attempt lost with its machine."""
    ledger = Ledger(iter(range(0, 10_000, 10)).__next__)
    with stage_listeners(store, ledger, "render", WORKS, [], Ledger(), print) as listener:
        for unit in WORKS[:4]:
            listener.unit_started(unit, Attempt(), Slot(0, NODE, "T4"))
            listener.unit_done(unit, record(of=unit, facts={"thrift": 1}))
            store.create(unit.record_name, record(of=unit).to_json())
        listener.unit_started(WORKS[4], Attempt(1), Slot(0, NODE, "T4"))
        listener.unit_failed(WORKS[4], AttemptFailed(WORKS[4].name, 1, Cause.PREEMPTED, "machine gone"), parked=False)
        listener.unit_started(WORKS[4], Attempt(2), Slot(0, NODE, "T4"))
        listener.unit_failed(WORKS[4], AttemptFailed(WORKS[4].name, 2, Cause.CODE, "ValueError: poison"), parked=True)
        listener.tick(0, CENSUS)


def run_all(store: JobStore) -> None:
    """A stitch stage that ends with its one unit done."""
    unit = work("stitch")
    with stage_listeners(store, Ledger(), "stitch", [unit], [], Ledger(), print) as listener:
        listener.unit_started(unit, Attempt(), Slot(0, NODE, "T4"))
        listener.unit_done(unit, record(of=unit))


def publish(store: JobStore) -> None:
    """What a run ends with whose film is whole."""
    out = JobLook(store.location).look()["out"]
    Path(out).write_bytes(b"film")
    store.replace("final.json", b'{"fingerprint": "f", "sha256": "s", "has_audio": false}')
    mark_published(store, out)
