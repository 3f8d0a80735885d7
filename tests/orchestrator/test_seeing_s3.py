"""Lease, progress and status over a real S3 interface: the same as in a folder, from any machine, in few requests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("moto")

from orchestrator.lease import held, read_lease
from orchestrator.ledger import Ledger
from orchestrator.listeners import stage_listeners
from orchestrator.nodes import Slot
from orchestrator.snapshot import PROGRESS
from orchestrator.state import AttemptFailed, Cause
from orchestrator.status import JobLook
from tasks.store import JobStore, open_store
from tasks.work import Attempt
from tests.factories import record
from tests.orchestrator.jobs import CENSUS, NODE, WORKS, make_job, run_half
from tests.s3 import S3Server, new_bucket, s3_server, set_environment
from vsalign.errors import InputError

TTL_S = 1.5


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as made:
        yield made


@pytest.fixture
def job(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStore]:
    set_environment(monkeypatch, server.url)
    server.spoil = None
    yield make_job(open_store(f"s3://{new_bucket()}/films/out.mkv.vsalign"), "/nowhere/out.mkv")
    server.spoil = None


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)


def test_one_of_many_gets_the_lease_and_renews_it(job: JobStore):
    start, won, refused = threading.Barrier(4), [], []

    def take() -> None:
        store = open_store(job.location)
        start.wait()
        try:
            with held(store, False, lambda line: None, TTL_S) as lease:
                until(lambda: len(refused) == 3 and read_lease(store).beat >= 1)
                won.append((lease.lost, read_lease(store).beat))
        except InputError:
            refused.append(1)

    takers = [threading.Thread(target=take) for _ in range(4)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert len(won) == 1 and len(refused) == 3
    assert not won[0][0] and won[0][1] >= 1 and read_lease(job).released


def test_who_is_robbed_knows_it_and_a_store_that_refuses_for_a_while_robs_nobody(job: JobStore, server: S3Server):
    with held(job, False, print, TTL_S) as first, held(open_store(job.location), True, print, TTL_S) as second:
        until(lambda: first.lost)
        assert not second.lost
        server.spoil = lambda environ: 403 if "lease.json" in environ["PATH_INFO"] else None
        time.sleep(2 * TTL_S)
        server.spoil = None
        assert not second.lost


def test_status_from_another_machine_reads_a_few_small_objects(job: JobStore, server: S3Server):
    run_half(job)
    look = JobLook(job.location)
    status = look.look()
    assert (status["units"]["done"], status["chunks_done"], status["failures"]) == (4, 4, {"preempted": 1, "code": 1})
    assert status["parked"][0]["unit"] == "render-00004"
    assert len([name for name in job.names("fail") if name.startswith("fail/render-00004-")]) == 2
    server.requests.clear()
    assert look.look()["state"] == "stopped"
    assert len(server.requests) <= 4, server.requests


def test_a_stage_goes_on_while_the_store_takes_no_progress(job: JobStore, server: S3Server):
    said: list[str] = []
    with stage_listeners(job, Ledger(), "render", WORKS, [], Ledger(), said.append) as listener:
        server.spoil = lambda environ: 403
        listener.unit_started(WORKS[0], Attempt(), Slot(0, NODE, "T4"))
        listener.tick(1, CENSUS)
        listener.unit_failed(WORKS[0], AttemptFailed(WORKS[0].name, 1, Cause.CODE, "x"), parked=False)
        server.spoil = None
        listener.unit_done(WORKS[0], record(of=WORKS[0]))
    assert 1 <= len(said) <= 3
    assert json.loads(job.read(PROGRESS) or b"")["units"]["done"] == 1
