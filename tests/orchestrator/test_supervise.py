"""The supervisor against a pool that does what a script says: faults that a real pool shows only by luck."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import InterruptedRun
from orchestrator.state import AttemptFailed, AttemptSucceeded, Budgets, Cause, Event
from orchestrator.stopping import StopRequest
from orchestrator.supervise import run_stage
from tasks.commit import commit
from tasks.store import LocalStore
from tasks.work import Record, Work
from tests.factories import record, work

Script = Callable[[Work, int], Event | None]


class FakePool:
    """Answers each submission with what ``script`` says; None means: nothing is ever heard."""

    def __init__(self, script: Script, slots: int = 2) -> None:
        self.script, self.slots = script, slots
        self.submitted: list[tuple[str, int]] = []
        self.answers: deque[Event] = deque()
        self.busy, self.killed = 0, False

    def free(self) -> int:
        return self.slots - self.busy

    def submit(self, work: Work, attempt: int) -> None:
        self.busy += 1
        self.submitted.append((work.name, attempt))
        answer = self.script(work, attempt)
        if answer is not None:
            self.answers.append(answer)

    def wait(self, timeout_s: float) -> list[Event]:
        if not self.answers:
            return []
        self.busy -= 1
        return [self.answers.popleft()]

    def frames_done(self) -> int:
        return 0

    def close(self, kill: bool = False) -> None:
        self.killed = kill


class Listener:
    def __init__(self) -> None:
        self.done: list[str] = []
        self.parked: list[str] = []

    def unit_done(self, work: Work, record: Record) -> None:
        self.done.append(work.name)

    def unit_failed(self, work: Work, failure: AttemptFailed, parked: bool) -> None:
        if parked:
            self.parked.append(work.name)

    def running(self, frames: int) -> None:
        pass


def succeed(unit: Work, attempt: int) -> Event:
    return AttemptSucceeded(unit.name, attempt, record(of=unit))


def units(*names: str) -> list[Work]:
    return [work(name) for name in names]


def test_all_units_are_done_and_journaled(tmp_path: Path):
    pool, listener = FakePool(succeed), Listener()
    outcome = run_stage("scan", units("a", "b", "c"), pool, LocalStore(tmp_path), listener, StopRequest())
    assert sorted(outcome.records) == ["a", "b", "c"] == sorted(listener.done)
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert [line["item"] for line in lines if line["what"] == "done"] == listener.done


def test_a_poison_unit_is_parked_and_all_others_finish(tmp_path: Path):
    def script(unit: Work, attempt: int) -> Event:
        if unit.name == "b":
            return AttemptFailed("b", attempt, Cause.CODE, "ValueError: poison")
        return succeed(unit, attempt)

    pool = FakePool(script)
    outcome = run_stage("scan", units("a", "b", "c"), pool, LocalStore(tmp_path), Listener(), StopRequest(), Budgets(code=2))
    assert sorted(outcome.records) == ["a", "c"]
    assert outcome.parked["b"].message == "ValueError: poison"
    assert outcome.num_retries == 1
    assert [attempt for name, attempt in pool.submitted if name == "b"] == [1, 2]


def test_a_failure_whose_record_exists_is_a_lost_answer_and_not_tried_again(tmp_path: Path):
    store = LocalStore(tmp_path)

    def script(unit: Work, attempt: int) -> Event:
        made = tmp_path / "made.npy"
        made.write_bytes(b"thumbs")
        commit(store, unit, made, folder="scan", attempt=attempt, seconds=1.0)
        return AttemptFailed(unit.name, attempt, Cause.INFRA, "ActorUnavailableError")

    pool = FakePool(script)
    outcome = run_stage("scan", units("a"), pool, store, Listener(), StopRequest())
    assert list(outcome.records) == ["a"] and pool.submitted == [("a", 1)]


def test_infrastructure_failures_do_not_spend_the_budget_for_code(tmp_path: Path):
    def script(unit: Work, attempt: int) -> Event:
        return succeed(unit, attempt) if attempt > 5 else AttemptFailed(unit.name, attempt, Cause.INFRA, "node gone")

    outcome = run_stage("scan", units("a"), FakePool(script), LocalStore(tmp_path), Listener(), StopRequest(), Budgets(code=1))
    assert list(outcome.records) == ["a"] and outcome.num_retries == 5


def test_the_first_stop_lets_running_units_finish_and_submits_no_more(tmp_path: Path):
    stop = StopRequest()

    def script(unit: Work, attempt: int) -> Event:
        stop.count = 1
        return succeed(unit, attempt)

    pool = FakePool(script, slots=1)
    with pytest.raises(InterruptedRun) as caught:
        run_stage("render", units("a", "b", "c"), pool, LocalStore(tmp_path), Listener(), stop)
    assert (caught.value.done, caught.value.total) == (1, 3)
    assert pool.submitted == [("a", 1)] and not pool.killed


def test_the_second_stop_kills_what_runs(tmp_path: Path):
    stop = StopRequest()

    def script(unit: Work, attempt: int) -> None:
        stop.count = 2

    pool = FakePool(script, slots=1)
    with pytest.raises(InterruptedRun):
        run_stage("render", units("a", "b"), pool, LocalStore(tmp_path), Listener(), stop)
    assert pool.killed


def test_no_units_are_a_finished_stage(tmp_path: Path):
    outcome = run_stage("render", [], FakePool(succeed), LocalStore(tmp_path), Listener(), StopRequest())
    assert outcome.records == {} and outcome.parked == {}
