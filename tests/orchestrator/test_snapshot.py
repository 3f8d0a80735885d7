"""journal.jsonl, fail/, progress.json and the ledger: what they say of a stage, and that they can never stop it."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from orchestrator.journal import JournalListener
from orchestrator.ledger import Ledger
from orchestrator.listeners import Listeners, stage_listeners
from orchestrator.nodes import Census, NodeView, Slot
from orchestrator.snapshot import PROGRESS, SnapshotListener, StageNow, UnitNow, snapshot, stale_units
from orchestrator.state import AttemptFailed, Cause
from tasks.errors import StorageError
from tasks.work import Attempt
from tests.factories import record, work
from tests.orchestrator.memstore import MemoryStore, unreachable

HERE, THERE = Slot(0, "a" * 56, "cpu"), Slot(1, "b" * 56, "T4", 90.0)
CENSUS = Census(
    (NodeView("a" * 56, "hosta", 4, 0, 1, 0), NodeView("b" * 56, "hostb", 4, 1, 0, 0, "T4", 90.0)), busy=2, wanted=3
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def failed(name: str, attempt: int, cause: Cause, message: str = "boom", frames: int = 3) -> AttemptFailed:
    return AttemptFailed(name, attempt, cause, message, "b" * 56, frames)


def progress(store: MemoryStore) -> dict:
    return json.loads(store.files[PROGRESS])


def test_the_journal_tells_each_event_with_its_node(store: MemoryStore):
    journal, unit = JournalListener(store, "render"), work("render-00001")
    journal.unit_started(unit, Attempt(1), HERE)
    journal.unit_failed(unit, failed(unit.name, 1, Cause.MEMORY), parked=False)
    journal.unit_started(unit, Attempt(2, thrift=1), THERE)
    journal.unit_done(unit, record(of=unit, attempt=2))
    lines = [json.loads(line) for line in store.files["journal.jsonl"].splitlines()]
    assert [(line["what"], line["attempt"], line["node"][:1]) for line in lines] == [
        ("submitted", 1, "a"),
        ("failed", 1, "b"),
        ("submitted", 2, "b"),
        ("done", 2, "b"),
    ]
    assert all(line["stage"] == "render" and line["item"] == unit.name and line["time"] > 0 for line in lines)
    assert lines[1]["cause"] == "memory" and lines[1]["message"] == "boom" and lines[1]["parked"] is False
    assert lines[2]["thrift"] == 1 and lines[3]["blob"] == f"scan/{unit.name}.npy"


def test_a_failure_leaves_a_record_with_the_end_of_its_log(store: MemoryStore):
    journal, unit = JournalListener(store, "render"), work("render-00001")
    store.files["logs/render-00001-2.log"] = "\n".join([f"line {n}" for n in range(5000)] + ["ValueError: x"]).encode()
    journal.unit_started(unit, Attempt(2, thrift=1), HERE)
    journal.unit_failed(unit, failed(unit.name, 2, Cause.CODE, "ValueError: x"), parked=True)
    name = f"fail/render-00001-{unit.fingerprint[:12]}-2.json"
    fail = json.loads(store.files[name])
    assert (fail["cause"], fail["message"], fail["frames_done"], fail["thrift"]) == ("code", "ValueError: x", 3, 1)
    assert fail["log_tail"][-1] == "ValueError: x" and len(fail["log_tail"]) == 40 and fail["log"] == "logs/render-00001-2.log"
    store.files["logs/render-00001-2.log"] = b"x" * 10_000_000
    journal.unit_failed(unit, failed(unit.name, 2, Cause.CRASH), parked=True)
    again = [other for other in store.files if other.startswith("fail/") and other != name]
    assert len(again) == 1 and json.loads(store.files[again[0]])["cause"] == "crash", "an earlier run's record is kept"
    assert json.loads(store.files[name]) == fail and len(store.files[again[0]]) < 10_000


def test_the_ledger_counts_causes_and_the_seconds_thrown_away(clock: Clock):
    ledger, unit = Ledger(clock), work("a")
    for cause, seconds in ((Cause.PREEMPTED, 30), (Cause.INFRA, 12), (Cause.CODE, 7), (Cause.BUSY, 5), (Cause.PREEMPTED, 1)):
        ledger.unit_started(unit, Attempt(1), HERE)
        clock.now += seconds
        ledger.unit_failed(unit, failed("a", 1, cause), parked=False)
        clock.now += 100  # what passes between attempts is nobody's work
    assert ledger.failures == {"preempted": 2, "infra": 1, "code": 1, "busy": 1}
    assert ledger.spot_lost_seconds == 43 and ledger.lost_seconds["busy"] == 5 and ledger.lost_seconds["code"] == 7
    ledger.unit_done(unit, record(of=unit, host="h", facts={"thrift": 2}))
    ledger.unit_done(unit, record(of=unit, host="h"))
    assert ledger.units_by_host == {"h": 2} and ledger.units_by_thrift == {2: 1}


def test_a_snapshot_has_every_unit_in_one_state(store: MemoryStore, clock: Clock):
    works = [work(f"render-{n:05d}") for n in range(10)]
    store.files["done/render-00007-0000000000000000.json"] = b"other settings"
    store.files[works[8].record_name] = b"its own, of a blob that is lost"
    listener = SnapshotListener(store, "render", works, [works[0].name, works[1].name], Ledger(clock), clock)
    listener.unit_started(works[2], Attempt(1), HERE)
    listener.unit_done(works[2], record(of=works[2]))
    for n, slot in ((3, HERE), (4, THERE), (5, THERE), (6, THERE)):
        listener.unit_started(works[n], Attempt(2), slot)
    listener.unit_failed(works[5], failed(works[5].name, 2, Cause.CRASH), parked=False)
    listener.unit_failed(works[6], failed(works[6].name, 2, Cause.CODE, "m" * 1000), parked=True)
    listener.tick(13, CENSUS)
    told = progress(store)
    expected = {"total": 10, "done": 3, "waiting": 2, "stale": 1, "running": 2, "failed": 1, "parked": 1, "reused": 2}
    assert told["units"] == expected
    assert sum(count for state, count in expected.items() if state not in {"total", "reused"}) == 10
    assert told["frames"] == {"done": 43, "total": 100} and told["stage"] == "render" and not told["ended"]
    assert told["table"]["render-00003"] == ["running", 2, "a" * 12]
    assert told["table"]["render-00006"] == ["parked", 2, "b" * 12, "code", "m" * 160]
    assert told["nodes"][1] == {
        **{"id": "b" * 12, "host": "hostb", "accelerator": "T4", "state": "going", "busy": 1, "seconds_left": 90.0}
    }
    assert told["workers"]["busy"] == 2 and abs(told["time"] - time.time()) < 60
    listener.unit_started(works[7], Attempt(1), HERE)
    listener.unit_started(works[5], Attempt(3), HERE)
    listener.unit_done(works[5], record(of=works[5]))
    counts = listener.stage.counts()
    assert (counts["stale"], counts["failed"], counts["done"]) == (0, 0, 4)


def test_rate_and_eta_are_those_of_the_last_minutes(store: MemoryStore, clock: Clock):
    works = [work(f"w{n}") for n in range(400)]
    listener = SnapshotListener(store, "scan", works, [], Ledger(clock), clock)
    listener.tick(0, CENSUS)
    assert progress(store)["frames_per_second"] is None and progress(store)["eta_seconds"] is None
    for n in range(600):
        clock.now += 1
        if n >= 300 and n % 2:
            listener.unit_done(works[n // 2], record(of=works[n // 2]))
        listener.tick(0, CENSUS)
    told = progress(store)
    assert told["frames_per_second"] == pytest.approx(5.0, abs=0.2), "the slow beginning is forgotten"
    assert told["eta_seconds"] == pytest.approx((4000 - told["frames"]["done"]) / 5, rel=0.05)
    listener.close()
    assert progress(store)["eta_seconds"] is None and progress(store)["ended"]


def test_frames_lost_with_a_worker_never_make_a_negative_rate(store: MemoryStore, clock: Clock):
    listener = SnapshotListener(store, "scan", [work()], [], Ledger(clock), clock)
    for running in (*[9] * 40, 0, 0):
        clock.now += 6
        listener.tick(running, CENSUS)
    assert progress(store)["frames_per_second"] == 0 and progress(store)["eta_seconds"] is None


def test_it_is_written_now_and_then_however_often_it_is_told(store: MemoryStore, clock: Clock):
    listener = SnapshotListener(store, "scan", [work()], [], Ledger(clock), clock)
    writes: list[str] = []
    store.fault = writes.append
    for _ in range(200):
        clock.now += 0.25
        listener.tick(1, CENSUS)
    assert writes == ["replace"] * 10


def test_after_a_write_that_failed_it_waits_longer(store: MemoryStore, clock: Clock):
    listener = SnapshotListener(store, "scan", [work()], [], Ledger(clock), clock)
    store.fault = unreachable
    with pytest.raises(StorageError):
        listener.tick(1, CENSUS)
    store.fault = lambda call: None
    clock.now += 30
    listener.tick(1, CENSUS)
    assert PROGRESS not in store.files
    clock.now += 31
    listener.tick(1, CENSUS)
    assert PROGRESS in store.files


def test_ten_thousand_chunks_and_a_thousand_nodes_stay_below_100_kb_and_cost_little():
    rng, stage, ledger = random.Random(1), StageNow("render", 10_000, 10**7), Ledger()
    ids = [rng.randbytes(28).hex() for _ in range(1000)]
    for n in range(2000):
        state = ("running", "parked", "failed", "running")[n % 4]
        why = ("", "") if state == "running" else ("preempted", "RayTaskError: " + "e" * 400)
        stage.units[f"render-{n:05d}"] = UnitNow(state, 3, ids[n % 1000][:12], *why)
    nodes = tuple(NodeView(i, "ip-10-0-100-200.eu-central-1.compute.internal", 64, 8, 0, 0, "NVIDIA_H100", 100.0) for i in ids)
    began = time.process_time()
    data = json.dumps(snapshot(stage, ledger, Census(nodes), 1234.5678, time.time()), separators=(",", ":"))
    assert time.process_time() - began < 0.2
    told = json.loads(data)
    assert len(data) < 100_000
    assert told["nodes_left_out"] == 900 and len(told["table"]) + told["table_left_out"] == 2000


def test_stale_are_those_with_a_record_of_other_settings_only():
    a, b, c, d = (work(name, x="1") for name in ("a", "b", "c", "d"))
    names = ["done/a-ffff.json", "done/b-ffff.json", c.record_name, "done/scan-ffff.json"]
    assert stale_units([a, b, c, d], ["a"], names) == {"b"}


class Broken:
    """A listener on a disk that is full, or with a fault of its own."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.calls = error, 0

    def tick(self, frames_running: int, census: Census) -> None:
        self.calls += 1
        raise self.error

    def unit_started(self, *args: object) -> None:
        self.tick(0, CENSUS)

    unit_done = unit_failed = unit_started


@pytest.mark.parametrize("error", [OSError(28, "No space left"), StorageError("s3://b", "denied", "403"), BrokenPipeError()])
def test_a_listener_that_cannot_write_stops_neither_the_others_nor_the_run_and_is_told_once(error: Exception):
    said: list[str] = []
    broken, ledger = Broken(error), Ledger()
    all_of_them = Listeners({"the disk": broken, "the ledger": ledger}, said.append)
    for _ in range(3):
        all_of_them.unit_started(work(), Attempt(), HERE)
        all_of_them.unit_failed(work(), failed(work().name, 1, Cause.CODE), False)
        all_of_them.unit_done(work(), record())
        all_of_them.tick(1, CENSUS)
    assert broken.calls == 12 and ledger.failures["code"] == 3
    assert len(said) == 1 and said[0].startswith("the disk could not be written (")


@pytest.mark.parametrize("name", ["the ledger", "the display", "metrics", "journal.jsonl", PROGRESS])
def test_a_fault_of_our_own_in_one_that_only_looks_is_told_once_and_stops_nothing(name: str):
    said: list[str] = []
    broken, ledger = Broken(KeyError("x")), Ledger()
    all_of_them = Listeners({name: broken, "the other": ledger}, said.append)
    for _ in range(3):
        all_of_them.unit_failed(work(), failed(work().name, 1, Cause.CODE), False)
    assert said == [f"{name} has a fault (KeyError: 'x'); the run goes on"] and ledger.failures["code"] == 3


def test_listeners_that_cannot_even_begin_stop_nothing(store: MemoryStore, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise RuntimeError("no")

    said: list[str] = []
    monkeypatch.setattr("orchestrator.listeners.metrics_listener", broken)
    monkeypatch.setattr("orchestrator.listeners.SnapshotListener", broken)
    with stage_listeners(store, Ledger(), "scan", [work()], [], Ledger(), said.append) as listener:
        listener.unit_started(work(), Attempt(), HERE)
    assert "submitted" in store.files["journal.jsonl"].decode() and len(said) == 2


def test_a_request_to_stop_is_no_fault():
    with pytest.raises(KeyboardInterrupt):
        Listeners({"a": Broken(KeyboardInterrupt())}, print).tick(0, CENSUS)


def test_a_user_who_cannot_be_told_does_not_stop_it_either():
    def closed(line: str) -> None:
        raise BrokenPipeError

    Listeners({"a": Broken(OSError())}, closed).tick(0, CENSUS)


def test_a_stage_on_storage_that_answers_nothing_goes_on(store: MemoryStore):
    said: list[str] = []
    store.fault = unreachable
    with stage_listeners(store, Ledger(), "scan", [work()], [], Ledger(), said.append) as listener:
        listener.unit_started(work(), Attempt(), HERE)
        listener.tick(0, CENSUS)
        listener.unit_done(work(), record())
    assert store.files == {} and 1 <= len(said) <= 3


def test_a_stage_is_written_to_its_end_and_the_next_one_tells_of_it(tmp_path: Path, store: MemoryStore):
    ledger, said = Ledger(), []
    for stage in ("scan", "render"):
        with stage_listeners(store, ledger, stage, [work()], [], Ledger(), said.append) as listener:
            listener.unit_started(work(), Attempt(), HERE)
            listener.tick(0, CENSUS)
            assert not progress(store)["ended"]
            listener.unit_done(work(), record())
        assert progress(store)["ended"] and progress(store)["units"]["done"] == 1
    assert [stage["name"] for stage in progress(store)["earlier_stages"]] == ["scan"] and said == []
    assert len(store.files["journal.jsonl"].splitlines()) == 4
