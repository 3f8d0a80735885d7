"""What is told of a job from its directory alone: while it runs, after a kill, of an old directory."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from orchestrator.cli import run
from orchestrator.lease import held
from orchestrator.ledger import Ledger
from orchestrator.listeners import stage_listeners
from orchestrator.nodes import Slot
from orchestrator.snapshot import PROGRESS
from orchestrator.status import JobLook
from orchestrator.statusview import status_line, status_text
from tasks.store import JobStore, open_store
from tasks.work import Attempt
from tests.orchestrator.jobs import CENSUS, NODE, WORKS, make_job, publish, run_all, run_half
from vsalign.errors import InputError


@pytest.fixture
def job(tmp_path: Path) -> JobStore:
    """A job directory of six chunks, nothing done."""
    return make_job(open_store(str(tmp_path / "out.mkv.vsalign")), str(tmp_path / "out.mkv"))


def test_a_job_that_ended_with_a_parked_chunk(job: JobStore):
    run_half(job)
    status = JobLook(job.location).look()
    assert status["state"] == "stopped" and status["supervisor"] is None and not status["out_exists"]
    assert status["units"] == {
        **{"total": 6, "done": 4, "waiting": 1, "stale": 0, "running": 0},
        "failed": 0,
        "parked": 1,
        "reused": 0,
    }
    assert (status["chunks"], status["chunks_done"], status["frames"]) == (6, 4, {"done": 40, "total": 60})
    assert status["retries"] == {"preempted": 1, "code": 1} == status["failures"]
    assert status["spot_lost_seconds"] == 10 and status["thrift"] == {"1": 4}
    assert status["parked"] == [
        {
            **{"unit": "render-00004", "attempts": 2, "node": NODE[:12], "cause": "code"},
            **{"message": "ValueError: poison", "log": "logs/render-00004-2.log"},
        }
    ]
    text = status_text(status)
    for line in ("not published yet", f"vsalign resume {job.location} goes on", "stage render: 6 units", "1 preempted, 1 code"):
        assert line in text
    assert re.search(r"^ +4 +done$", text, re.MULTILINE) and re.search(r"^ +1 +parked$", text, re.MULTILINE)
    assert "render-00004 after 2 attempts: code: ValueError: poison (logs/render-00004-2.log)" in text
    assert "10 s of work" in text and "4 at level 1" in text


def test_a_job_at_work_shows_who_where_and_how_fast(job: JobStore):
    with held(job, False, print), stage_listeners(job, Ledger(), "render", WORKS, [WORKS[0].name], Ledger(), print) as listener:
        listener.unit_started(WORKS[1], Attempt(1), Slot(0, NODE, "T4"))
        listener.tick(5, CENSUS)
        status = JobLook(job.location).look()
        assert status["state"] == "working" and status["supervisor"]["pid"] == os.getpid()
        assert status["running"] == [["render-00001", 1, NODE[:12]]] and status["frames"]["done"] == 15
        text = status_text(status)
        assert f"pid {os.getpid()}" in text and "gpuhost" in text and "T4): 1 busy, going in 100 s" in text
        assert "1 of them reused" in text and "15/60 frames (25 %)" in text and "1 starting" in text
    after = JobLook(job.location).look()
    assert after["state"] == "stopped" and after["nodes"] == [] and after["running"] == []
    assert after["units"]["running"] == 0 and after["units"]["waiting"] == 5, "what ran when it ended waits again"


def test_the_keys_are_the_same_in_every_state(job: JobStore):
    bare = JobLook(job.location).look()
    run_half(job)
    run_half(job)
    half = JobLook(job.location).look()
    with held(job, False, print):
        working = JobLook(job.location).look()
    publish(job)
    published = JobLook(job.location).look()
    Path(published["out"]).unlink()
    assert JobLook(job.location).look()["state"] == "stopped", "what was published is gone"
    assert list(bare) == list(half) == list(working) == list(published)
    assert [s["state"] for s in (bare, half, working, published)] == ["stopped", "stopped", "working", "published"]
    for status in (bare, half, working, published):
        assert json.loads(json.dumps(status)) == status and status_text(status) and status_line(status)


def test_a_film_counts_until_another_run_takes_the_lease(job: JobStore):
    with held(job, False, print):
        run_all(job)
        publish(job)
    told = JobLook(job.location).look()
    assert told["state"] == "published" and told["stage"] == "stitch"
    with held(job, False, print):
        pass  # a run that was killed before its first stage
    assert JobLook(job.location).look()["state"] == "stopped"
    (Path(job.location) / "lease.json").write_bytes(b"{")
    assert JobLook(job.location).look()["state"] == "stopped", "whose lease it was, nobody knows"
    (Path(job.location) / "lease.json").unlink()
    assert JobLook(job.location).look()["state"] == "published", "no run is known of after the one that published"
    run_half(job)
    assert JobLook(job.location).look()["state"] == "stopped"


def test_what_a_killed_run_left_unfinished_is_not_told_of_a_published_film(job: JobStore):
    run_half(job)
    publish(job)
    status = JobLook(job.location).look()
    assert (status["state"], status["stage"], status["units"], status["parked"]) == ("published", None, None, [])


def test_an_old_directory_without_progress_tells_from_records_and_journal(job: JobStore):
    run_half(job)
    job.remove([PROGRESS])
    event = {"time": 1.0, "stage": "render", "item": "render-00005", "attempt": 1, "cause": "code", "message": "x"}
    job.append("journal.jsonl", json.dumps({**event, "what": "failed", "parked": False}))
    status = JobLook(job.location).look()
    assert (status["chunks_done"], status["units"], status["failures"]) == (4, None, {"preempted": 1, "code": 2})
    assert [unit["unit"] for unit in status["parked"]] == ["render-00004"]
    text = status_text(status)
    assert "chunks with a result: 4 of 6; scans: 0" in text and "render-00004 after 2 attempts" in text


@pytest.mark.parametrize("torn", [b"", b"{", b"[1]", b'{"schema": 99}'])
def test_a_torn_or_newer_progress_counts_as_none(job: JobStore, torn: bytes):
    job.replace(PROGRESS, torn)
    job.replace("plan.json", torn)
    assert JobLook(job.location).look()["units"] is None


def test_torn_lines_of_the_journal_are_passed_over(job: JobStore):
    run_half(job)
    with (Path(job.location) / "journal.jsonl").open("a") as journal:
        journal.write('{"time": 1, "sta\n{"time": 2, "what": "x", "item": "y", "attempt": 1}\n[]\n7\n')
    assert JobLook(job.location).look()["last_event"]["item"] == "y"


def test_what_is_no_job_directory_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no"):
        JobLook(str(tmp_path / "nothing"))


def test_the_command_prints_text_json_and_lines(job: JobStore, capsys: pytest.CaptureFixture[str]):
    run_half(job)
    assert run(["status", job.location]) == 0 and "stage render" in capsys.readouterr().out
    assert run(["status", job.location, "--json"]) == 0 and json.loads(capsys.readouterr().out)["units"]["done"] == 4
    assert run(["status", job.location, "--watch"]) == 1 and "vsalign resume" in capsys.readouterr().out
    assert run(["status", job.location, "--watch", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["state"] == "stopped"
    assert run(["status", job.location + "x"]) == 2 and len(capsys.readouterr().err.splitlines()) == 1
