"""A failed attempt's record holds the end of the log that the attempt itself wrote, wherever the job directory is."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from orchestrator.journal import JournalListener
from orchestrator.state import AttemptFailed, Cause
from tasks.attemptlog import AttemptLog, log_name
from tasks.store import JobStore, open_store
from tasks.work import Attempt
from tests.factories import work

UNIT = work("render-00001")


@pytest.fixture(params=["folder", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "job")
    return f"{request.getfixturevalue('s3').address}/jobs/a"


def fail_of(store: JobStore, cause: Cause) -> dict:
    """What the supervisor writes of the failure of the unit's first attempt."""
    before = set(store.names("fail"))
    JournalListener(store, "render").unit_failed(UNIT, AttemptFailed(UNIT.name, 1, cause, "no"), parked=True)
    (name,) = set(store.names("fail")) - before
    return json.loads(store.read(name) or b"")


def test_the_end_of_the_attempts_log_is_in_the_record_of_its_failure(location: str):
    with pytest.raises(ValueError, match="no"), AttemptLog(open_store(location), UNIT, Attempt()) as log:
        log.line("device cpu")
        raise ValueError("no")
    fail = fail_of(open_store(location), Cause.CODE)
    assert "render-00001" in fail["log_tail"][0] and "device cpu" in fail["log_tail"][1]
    assert "failed after 0 frames" in fail["log_tail"][-1] and len(fail["log_tail"]) == 3


def test_an_attempt_that_was_killed_leaves_its_log_too(location: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tasks.objectlog.FLUSH_SECONDS", 0.05)
    AttemptLog(open_store(location), UNIT, Attempt()).line("device cpu")
    store, deadline = open_store(location), time.monotonic() + 10
    while b"device cpu" not in store.read_log(log_name(UNIT.name, 1)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "device cpu" in fail_of(store, Cause.CRASH)["log_tail"][-1]


def test_a_later_runs_log_follows_the_earlier_one_of_the_same_number(location: str):
    for run in ("first", "second"):
        with AttemptLog(open_store(location), UNIT, Attempt()) as log:
            log.line(f"{run} run")
    lines = open_store(location).read_log(log_name(UNIT.name, 1)).decode().splitlines()
    assert [line.split(" ", 1)[1] for line in lines if line.endswith("run")] == ["first run", "second run"]
    assert len(lines) == 6 and UNIT.fingerprint[:12] in lines[0] and UNIT.fingerprint[:12] in lines[3]
