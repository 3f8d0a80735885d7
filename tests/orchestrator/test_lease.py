"""One supervisor per job: who may take a lease, who is told that it was taken, and how soon."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import lease as leases
from orchestrator.lease import LEASE, held, read_lease
from orchestrator.leasenote import LeaseNote, Me, judge, process_start
from tasks.store import JobStore, open_store
from tests.orchestrator.memstore import MemoryStore, unreachable
from vsalign.errors import InputError

TTL_S = 0.6
ELSEWHERE = LeaseNote(3, "theirs", "otherhost", "another boot", 77, 1, TTL_S)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(params=["memory", "local"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> JobStore:
    return MemoryStore() if request.param == "memory" else open_store(str(tmp_path))


def put(store: JobStore, note: LeaseNote) -> None:
    store.replace(LEASE, note.to_json())


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)


def test_a_lease_is_renewed_while_held_and_given_back(any_store: JobStore, said: list[str]):
    with held(any_store, False, said.append, TTL_S) as lease:
        until(lambda: read_lease(any_store).beat >= 2)
        assert not lease.lost and read_lease(any_store).pid == os.getpid()
    after = read_lease(any_store)
    time.sleep(TTL_S)
    assert after.released and read_lease(any_store) == after and said == []
    with held(any_store, False, said.append, TTL_S):
        assert read_lease(any_store).epoch == 2 and not read_lease(any_store).released


def test_the_thread_stops_promptly(store: JobStore, said: list[str]):
    with held(store, False, said.append, 300.0):
        began = time.monotonic()
    assert time.monotonic() - began < 5.0
    assert not [thread for thread in threading.enumerate() if thread.name == "vsalign-lease"]


def test_two_in_one_process_are_two_supervisors(any_store: JobStore, said: list[str]):
    with held(any_store, False, said.append, TTL_S):
        began = time.monotonic()
        with (
            pytest.raises(InputError, match=rf"pid {os.getpid()}\) is at work on this job; --steal"),
            held(any_store, False, said.append),
        ):
            pass
        assert time.monotonic() - began < 5.0


def test_a_lease_that_this_process_could_not_give_back_is_nobodys(store: JobStore, said: list[str]):
    put(store, Me.here().note(1, 300.0))
    with held(store, False, said.append, TTL_S):
        assert read_lease(store).epoch == 2


def test_a_killed_process_of_this_machine_is_succeeded_at_once(tmp_path: Path, said: list[str]):
    code = (
        "import sys, time; from orchestrator.lease import held; from tasks.store import open_store\n"
        "with held(open_store(sys.argv[1]), False, print, 300.0): print('up', flush=True); time.sleep(60)"
    )
    store = open_store(str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    try:
        assert child.stdout is not None and child.stdout.readline() == b"up\n"
        with pytest.raises(InputError, match=f"pid {child.pid}"), held(store, False, said.append):
            pass
        child.kill()
        until(lambda: process_start(child.pid) is None)  # a zombie until it is waited for, and gone all the same
        began = time.monotonic()
        with held(store, False, said.append, TTL_S):
            assert read_lease(store).epoch == 2 and time.monotonic() - began < 5.0
        assert said == [f"took the job over from {Me.here().host}, pid {child.pid}, which has ended"]
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_what_can_be_told_of_an_owner_at_one_look():
    here, parent = Me.here(), os.getppid()
    neighbour = replace(here.note(1, 30.0), pid=parent, pid_start=process_start(parent))
    assert judge(neighbour, here) == "works"
    assert judge(replace(neighbour, pid_start=neighbour.pid_start + 1), here) == "gone", "the number was given out again"
    assert judge(replace(neighbour, machine="an earlier boot"), here) == "unknown"
    assert judge(replace(neighbour, host="a container"), here) == "unknown"
    assert judge(replace(neighbour, machine=""), replace(here, machine="")) == "unknown"
    assert judge(replace(neighbour, released=True), here) == "free"
    assert judge(replace(neighbour, written=time.time() + 1e9), here) == "works"
    assert judge(None, here) == "unknown"


@pytest.mark.parametrize("written", [0.0, 4e9])
def test_a_still_lease_of_another_machine_is_watched_then_taken_whatever_its_clock_says(store, said, written: float):
    put(store, replace(ELSEWHERE, written=written))
    began = time.monotonic()
    with held(store, False, said.append, 30.0):
        assert time.monotonic() - began >= TTL_S * 4 / 3
        assert read_lease(store).epoch == 4
    assert "otherhost, pid 77" in said[0] and "waiting 1 s" in said[0] and "took the job over" in said[1]


@pytest.mark.parametrize("written", [0.0, 4e9])
def test_a_lease_whose_beat_moves_is_respected_whatever_its_clock_says(store, said, written: float):
    put(store, replace(ELSEWHERE, ttl_s=5.0, written=written))
    timer = threading.Timer(TTL_S / 2, put, (store, replace(ELSEWHERE, ttl_s=5.0, beat=1, written=written)))
    timer.start()
    with (
        pytest.raises(InputError, match=r"another vsalign \(otherhost, pid 77\) is at work on this job; --steal takes it over"),
        held(store, False, said.append, TTL_S),
    ):
        pass
    assert read_lease(store).token == "theirs"


@pytest.mark.parametrize("end", ["given back", "removed"])
def test_a_watched_lease_that_ends_is_taken_at_once(store: MemoryStore, said: list[str], end: str):
    put(store, replace(ELSEWHERE, ttl_s=60.0))
    after = replace(ELSEWHERE, released=True)
    threading.Timer(0.2, *((put, (store, after)) if end == "given back" else (store.files.pop, (LEASE,)))).start()
    began = time.monotonic()
    with held(store, False, said.append, TTL_S):
        assert time.monotonic() - began < 5.0


@pytest.mark.parametrize("torn", [b"", b'{"epoch": 3, "tok', b"[]", b'{"epoch": 1}'])
def test_a_torn_lease_is_waited_for_and_replaced(store: JobStore, said: list[str], torn: bytes):
    store.replace(LEASE, torn)
    began = time.monotonic()
    with held(store, False, said.append, TTL_S):
        assert time.monotonic() - began >= TTL_S and read_lease(store).pid == os.getpid()


def test_a_lease_torn_under_its_owner_is_written_anew(any_store: JobStore, said: list[str]):
    with held(any_store, False, said.append, TTL_S) as lease:
        any_store.replace(LEASE, b"{")
        until(lambda: read_lease(any_store) is not None)
        assert not lease.lost


def test_no_lease_makes_anybody_wait_for_ever():
    assert leases.lease_patience(replace(ELSEWHERE, ttl_s=1e12)) < 1000
    assert leases.lease_patience(replace(ELSEWHERE, ttl_s=-5.0)) == 0


def test_stealing_does_not_wait_and_the_robbed_one_knows_within_a_renewal(any_store: JobStore, said: list[str]):
    with held(any_store, False, said.append, TTL_S) as first, held(any_store, True, said.append, TTL_S) as second:
        until(lambda: first.lost, TTL_S / 3 + 3.0)
        time.sleep(TTL_S)
        assert not second.lost and read_lease(any_store).epoch == 2
        first.release()
        assert not read_lease(any_store).released, "only our own lease is given back"
    assert "took the job over from" in said[0]


def test_of_many_takers_at_once_exactly_one_wins(any_store: JobStore):
    put(any_store, replace(ELSEWHERE, released=True))
    start, won, refused = threading.Barrier(6), [], []

    def take() -> None:
        start.wait()
        try:
            with held(any_store, False, lambda line: None, TTL_S) as lease:
                won.append(lease)
                until(lambda: len(refused) == 5)
                assert not lease.lost
        except InputError:
            refused.append(1)

    takers = [threading.Thread(target=take) for _ in range(6)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert (len(won), len(refused)) == (1, 5)


def test_two_watchers_of_a_dead_lease_do_not_both_take_it(store: JobStore):
    put(store, ELSEWHERE)
    ended = []

    def take() -> None:
        try:
            with held(store, False, lambda line: None, TTL_S):
                ended.append("won")
                time.sleep(3 * TTL_S)
        except InputError:
            ended.append("refused")

    takers = [threading.Thread(target=take) for _ in range(2)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert sorted(ended) == ["refused", "won"]


def test_a_store_out_of_reach_takes_nothing_away_but_whoever_came_meanwhile_does(said: list[str]):
    store = MemoryStore()
    with held(store, False, said.append, TTL_S) as lease:
        store.fault = unreachable
        time.sleep(2 * TTL_S)
        assert not lease.lost
        store.fault = lambda call: None
        with held(store, True, said.append, TTL_S):
            until(lambda: lease.lost)


def test_a_store_that_comes_back_in_time_is_no_loss(said: list[str]):
    store = MemoryStore()
    with held(store, False, said.append, TTL_S) as lease:
        store.fault = unreachable
        time.sleep(TTL_S / 2)
        store.fault = lambda call: None
        until(lambda: read_lease(store).beat >= 2)
        time.sleep(TTL_S)
        assert not lease.lost


def test_a_lease_removed_by_hand_is_not_made_again_by_its_owner(tmp_path: Path, said: list[str]):
    store = open_store(str(tmp_path / "job"))
    store.replace("job.json", b"{}")
    with held(store, False, said.append, TTL_S) as lease:
        store.drop()
        time.sleep(TTL_S)
        assert not lease.lost
    assert not (tmp_path / "job").exists()
