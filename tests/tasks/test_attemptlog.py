"""The log of an attempt: what is in it, where it goes, and that it never fails a unit."""

from __future__ import annotations

from pathlib import Path

import pytest

import tasks.attemptlog
from tasks.attemptlog import AttemptLog
from tasks.errors import StorageError
from tasks.localstore import LocalStore
from tasks.refusal import storage_error_of
from tasks.work import Attempt
from tests.factories import work


def logged(store: LocalStore, fails: bool) -> None:
    with AttemptLog(store, work("render-1"), Attempt(2)) as log:
        count = log.counting(lambda: None)
        for _ in range(3):
            count()
        log.line("device cpu")
        if fails:
            raise ValueError("no")


def test_a_log_tells_where_and_how_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tasks.attemptlog, "SECONDS_BETWEEN_LINES", 0.0)
    store = LocalStore(tmp_path)
    with pytest.raises(ValueError, match="no"):
        logged(store, fails=True)
    lines = (tmp_path / "logs/render-1-2.log").read_text().splitlines()
    assert "render-1-" in lines[0] and " attempt 2 on " in lines[0] and "process " in lines[0]
    assert any("2 frames of 10" in line for line in lines) and any("device cpu" in line for line in lines)
    assert "failed after 3 frames" in lines[-1]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = LocalStore(tmp_path)

    def full(*args: str) -> None:
        raise StorageError(str(tmp_path), "full", "no space")

    for call in ("append", "flush"):
        with monkeypatch.context() as refusing:
            refusing.setattr(store, call, full)
            logged(store, fails=False)


@pytest.mark.parametrize(
    ("number", "where", "what"),
    [(28, "job/x", "full"), (122, "job/x", "full"), (27, "job/x", "full"), (13, "job/x", "denied"), (30, "job/x", "denied")],
)
def test_what_a_disk_refuses(tmp_path: Path, number: int, where: str, what: str):
    folder = str(tmp_path / "job")
    error = OSError(number, "words", f"{tmp_path}/{where}")
    for met in (error, caused_by(error)):
        told = storage_error_of(met, [folder])
        assert told is not None and (told.what, told.location) == (what, folder) and "words" in str(told)


def caused_by(error: Exception) -> Exception:
    try:
        try:
            raise error
        except OSError as cause:
            raise ValueError("an encoder's own words") from cause
    except ValueError as outer:
        return outer


def test_other_files_and_other_errors_are_no_refusal_of_the_jobs_disk(tmp_path: Path):
    folder = str(tmp_path / "job")
    assert storage_error_of(PermissionError(13, "denied", str(tmp_path / "clip.mkv")), [folder]) is None
    assert storage_error_of(PermissionError(13, "denied", folder + "by.mkv"), [folder]) is None
    assert storage_error_of(FileNotFoundError(2, "gone", folder + "/x"), [folder]) is None
    assert storage_error_of(OSError("3 requested and 0 written"), [str(tmp_path)]) is None
    known = StorageError("s3://b", "denied", "403")
    assert storage_error_of(known, [folder]) is known
