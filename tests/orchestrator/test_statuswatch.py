"""Whether somebody is at work on a job, told from its lease, and watching a job to its end."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.lease import LEASE
from orchestrator.leasenote import Me
from orchestrator.status import JobLook, LeaseWatch
from orchestrator.statusview import changed
from orchestrator.statuswatch import watch_status
from tasks.errors import StorageError
from tasks.store import JobStore, open_store
from tests.orchestrator.jobs import ELSEWHERE, make_job, publish, run_half


@pytest.fixture
def job(tmp_path: Path) -> JobStore:
    """A job directory of six chunks, nothing done."""
    return make_job(open_store(str(tmp_path / "out.mkv.vsalign")), str(tmp_path / "out.mkv"))


# --- whether somebody is at work


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("skew", [-1e6, 0, 1e6])
def test_who_watches_believes_the_beat_and_no_clock(skew: float):
    clock = Clock()
    watch = LeaseWatch(True, clock)
    note = replace(ELSEWHERE, written=time.time() + skew)
    for beat in range(8):
        clock.now += 10
        found = watch.heard(replace(note, beat=beat).to_json())
        assert found is not None and found["at_work"] and found["beat"] == beat
    assert found["seconds_since_beat"] == 0
    clock.now += 35
    still = watch.heard(replace(note, beat=7).to_json())
    assert still is not None and still["at_work"] and still["seconds_since_beat"] == 35
    clock.now += 10
    gone = watch.heard(replace(note, beat=7).to_json())
    assert gone is not None and not gone["at_work"]
    back = watch.heard(replace(note, beat=8).to_json())
    assert back is not None and back["at_work"]


def test_a_single_look_at_another_machines_lease_goes_by_the_clocks():
    now = LeaseWatch(False).heard(replace(ELSEWHERE, written=time.time() - 8).to_json())
    old = LeaseWatch(False).heard(replace(ELSEWHERE, written=time.time() - 300).to_json())
    assert now is not None and now["at_work"] and now["standing"] == "unknown" and now["host"] == "otherhost"
    assert old is not None and not old["at_work"]


def test_a_lease_given_back_torn_or_of_a_dead_process_is_nobody_at_work():
    watch = LeaseWatch(False)
    for lease in (replace(ELSEWHERE, released=True).to_json(), b"{", Me.here().note(1, 30.0).to_json()):
        found = watch.heard(lease)
        assert found is not None and not found["at_work"]
    assert watch.heard(None) is None


# --- watching


def watch(job: JobStore, as_json: bool, terminal: bool, steps: list[Callable[[], None]]) -> tuple[int, str]:
    """The exit status and what was shown, one step of the job's life happening at each sleep."""
    screen = io.StringIO()
    left = iter(steps)
    console = Console(file=screen, force_terminal=terminal, width=120, highlight=False, soft_wrap=True)
    return watch_status(JobLook(job.location, patient=True), as_json, console, lambda s: next(left)()), screen.getvalue()


@pytest.fixture
def working(job: JobStore) -> JobStore:
    """The job, at work elsewhere."""
    job.replace(LEASE, ELSEWHERE.to_json())
    return job


def give_back(job: JobStore) -> None:
    job.replace(LEASE, replace(ELSEWHERE, released=True).to_json())


@pytest.mark.parametrize("terminal", [False, True])
def test_a_watch_ends_with_0_when_the_job_is_published(working: JobStore, terminal: bool):
    def end() -> None:
        publish(working)
        give_back(working)

    status, shown = watch(working, False, terminal, [lambda: run_half(working), lambda: None, end])
    assert "chunks with a result: 4 of 6" in shown, "the end tells all, however lately all was read"
    assert status == 0 and "out.mkv: published" in shown and "goes on" not in shown.splitlines()[-1]
    assert ("\x1b" in shown) is terminal
    if not terminal:
        assert shown.count("render: 4/6 units, 1 parked, 40/60 frames (66 %)") == 1, "a line per change, not per look"


def test_a_published_job_that_is_being_worked_on_again_is_not_over(working: JobStore):
    publish(working)
    looks: list[int] = []
    status, _ = watch(working, False, False, [lambda: looks.append(1), lambda: looks.append(2), lambda: give_back(working)])
    assert status == 0 and looks == [1, 2]


def test_a_watch_ends_with_1_and_says_what_to_do_when_the_supervisor_has_gone(working: JobStore):
    status, shown = watch(working, False, False, [lambda: run_half(working), lambda: give_back(working)])
    assert status == 1 and f"vsalign resume {working.location} goes on" in shown


def test_a_watch_of_a_supervisor_killed_on_another_machine_ends(working: JobStore):
    clock = Clock()

    def later(seconds: float) -> None:
        clock.now += seconds

    look = JobLook(working.location, patient=True, clock=clock)
    assert watch_status(look, True, Console(file=io.StringIO()), later) == 1
    assert 40 <= clock.now < 50


def test_watching_in_json_gives_a_line_per_change(working: JobStore):
    quiet = [lambda: None] * 5
    status, shown = watch(working, True, False, [*quiet, lambda: run_half(working), *quiet, lambda: give_back(working)])
    lines = [json.loads(line) for line in shown.splitlines()]
    assert status == 1 and [line["state"] for line in lines] == ["working", "working", "stopped"]
    assert lines[0]["units"] is None and lines[1]["units"]["done"] == 4


def test_a_beat_is_no_change_and_a_chunk_is(job: JobStore):
    run_half(job)
    status = JobLook(job.location).look()
    assert not changed(status, {**status, "supervisor": {"beat": 7}, "written": 1.0, "eta_seconds": 1.0})
    assert changed(status, {**status, "chunks_done": 5}) and changed(None, status)


def test_a_store_that_is_away_for_a_moment_does_not_end_the_watch(working: JobStore, monkeypatch: pytest.MonkeyPatch):
    calls = iter([StorageError("s3://b", "unreachable", "no answer"), None, None, None])
    look = JobLook.look

    def flaky(self: JobLook, full: bool = False) -> dict:
        error = next(calls)
        if error:
            raise error
        return look(self, full)

    monkeypatch.setattr(JobLook, "look", flaky)
    assert watch(working, False, False, [lambda: None, lambda: give_back(working)])[0] == 1


def test_a_store_that_refuses_ends_the_watch(working: JobStore, monkeypatch: pytest.MonkeyPatch):
    def refuse(self: JobLook, full: bool = False) -> dict:
        raise StorageError("s3://b", "denied", "403")

    monkeypatch.setattr(JobLook, "look", refuse)
    with pytest.raises(StorageError):
        watch(working, False, False, [])
