"""A machine that lacks something of a job says what, in one line, and makes nothing in its place."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import tasks.sight
from tasks.errors import StorageError
from tasks.localstore import LocalStore
from tasks.run import perform
from tasks.sight import Sight, job_sha256, own_version, see
from tasks.work import Attempt
from tests.factories import work


@pytest.fixture
def paths(tmp_path: Path) -> Sight:
    """Everything there: a job, OUT's folder beside it, two films."""
    store = LocalStore(tmp_path / "job")
    store.replace("job.json", b"{}")
    (tmp_path / "films").mkdir()
    for name in ("clip.mkv", "ref.mkv"):
        (tmp_path / name).write_bytes(b"film")
    sources = tuple((str(tmp_path / name), 4) for name in ("clip.mkv", "ref.mkv"))
    return Sight(store.location, job_sha256(store), str(tmp_path / "films/out.mkv"), sources, own_version())


def test_all_is_seen_and_a_look_leaves_nothing(paths: Sight, tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))
    assert see(paths) == "" == see(pickle.loads(pickle.dumps(paths)))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("spoil", "missing"),
    [
        (lambda at: (at / "job").rename(at / "moved"), "does not see this folder"),
        (lambda at: (at / "job/job.json").unlink(), "is not the job directory that this run has there"),
        (lambda at: (at / "job/job.json").write_bytes(b"{ }"), "is not the job directory that this run has there"),
        (lambda at: (at / "films").rmdir(), "films is not there"),
        (lambda at: (at / "ref.mkv").unlink(), "ref.mkv can't be seen (No such file or directory)"),
        (lambda at: (at / "ref.mkv").write_bytes(b"a film"), "ref.mkv has 6 bytes, this run's has 4"),
    ],
)
def test_what_is_missing_is_named_in_one_line(paths: Sight, tmp_path: Path, spoil: Callable[[Path], object], missing: str):
    spoil(tmp_path)
    line = see(paths)
    assert missing in line and line.startswith(f"{socket.gethostname()}: ") and "\n" not in line


def test_a_folder_that_cannot_be_written(paths: Sight, monkeypatch: pytest.MonkeyPatch):
    folder = str(Path(paths.out).parent)
    monkeypatch.setattr(tasks.sight.os, "access", lambda path, mode: path != folder)
    assert "films can't be written" in see(paths)
    assert see(replace(paths, out="")) == ""


def test_another_version(paths: Sight):
    assert "this run has 0.0.1" in see(replace(paths, version="0.0.1"))


def test_what_lies_in_a_bucket_is_not_looked_for(paths: Sight):
    address = "s3://nowhere/a"
    assert see(replace(paths, job_dir=address, out=f"{address}/out.mkv", sources=((f"{address}/clip.mkv", 1),))) == ""


def test_an_attempt_makes_no_job_directory_where_there_is_none(tmp_path: Path):
    unit = work(job_dir=str(tmp_path / "not mounted"))
    with pytest.raises(StorageError, match="does not see this folder") as caught:
        perform(unit, Attempt(), lambda: None)
    assert caught.value.what == "unreachable" and socket.gethostname() in str(caught.value)
    assert not (tmp_path / "not mounted").exists()
