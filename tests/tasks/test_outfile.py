"""Places in words, and OUT: it appears whole, beside nothing, on a disk and in a bucket alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks import location
from tasks.errors import StorageError
from tasks.outfile import check_writable, drop_parts, out_sha256, out_size, part_for, publish_out, write_out
from tasks.store import file_sha256, open_store
from tests.s3 import S3Bucket
from vsalign.errors import InputError


@pytest.mark.parametrize(
    ("text", "parent", "name", "suffix"),
    [
        ("s3://films/a/b.mkv", "s3://films/a", "b.mkv", ".mkv"),
        ("s3://films/b.mkv", "s3://films", "b.mkv", ".mkv"),
        ("gs://films/a/job/", "gs://films/a", "job", ""),
        ("s3://films", "s3://films", "", ""),
        ("/disk/b.mkv", "/disk", "b.mkv", ".mkv"),
        ("b.mkv", ".", "b.mkv", ".mkv"),
    ],
)
def test_the_parts_of_a_place(text: str, parent: str, name: str, suffix: str):
    assert (location.parent(text), location.name(text), location.suffix(text)) == (parent, name, suffix)


def test_addresses_are_left_alone_where_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert location.absolute("s3://films/../a") == "s3://films/../a" and location.absolute("") == ""
    assert location.absolute("gs://films/job/") == "gs://films/job"
    assert location.absolute("film.mkv") == str(tmp_path / "film.mkv")
    assert location.join("s3://films/job/", "done/a") == "s3://films/job/done/a"
    assert location.join("/disk", "s3://films/a") == "s3://films/a" and location.join("/disk", "a") == "/disk/a"
    assert location.is_remote("gs://a/b") and not location.is_remote("s3:/a/b") and not location.is_remote("/s3://a")


@pytest.fixture(params=["disk", "bucket"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path / "out [1].mkv")
    return f"{request.getfixturevalue('s3').address}/films/out [1].mkv"


def test_out_appears_whole_over_what_was_there_and_tells_its_hash(out: str, tmp_path: Path):
    assert out_size(out) is None and out_sha256(out) is None
    write_out(out, b"an earlier film")
    assert out_size(out) == 15
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    part = part_for(out, scratch, "0a1b")
    assert part.suffix == ".mkv" and (part.parent == scratch) == location.is_remote(out)
    part.write_bytes(b"film")
    sha256 = file_sha256(part)
    publish_out(part, out)
    assert out_size(out) == 4 and out_sha256(out) == sha256 and not part.exists()
    beside = open_store(location.parent(out))
    assert beside.names("") == [location.name(out)] and beside.read(location.name(out)) == b"film"


def test_out_has_one_key_and_an_address_that_could_mean_two_is_refused(s3: S3Bucket, tmp_path: Path):
    out = f"{s3.address}/films//out.mkv"
    (tmp_path / "film").write_bytes(b"film")
    for use in (
        out_size,
        out_sha256,
        check_writable,
        lambda out: publish_out(tmp_path / "film", out),
        lambda out: write_out(out, b""),
    ):
        with pytest.raises(InputError, match="empty part"):
            use(out)
    assert open_store(s3.address).entries() == set() and (tmp_path / "film").exists()


def test_a_disk_that_gives_no_answer_is_not_taken_for_an_absent_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert out_size(str(tmp_path)) is None and out_sha256(str(tmp_path / "none" / "out.mkv")) is None

    out, stat = str(tmp_path / "out.mkv"), os.stat

    def fail(path: str, **how: object) -> os.stat_result:
        if path != out:
            return stat(path, **how)
        raise OSError(116, "Stale file handle", path)

    monkeypatch.setattr("tasks.outfile.os.stat", fail)
    for look in (out_size, out_sha256):
        with pytest.raises(StorageError, match="out of reach"):
            look(out)


def test_the_hash_of_an_object_that_another_wrote_is_that_of_its_bytes(out: str, tmp_path: Path):
    (tmp_path / "film").write_bytes(b"film")
    sha256 = file_sha256(tmp_path / "film")
    publish_out(tmp_path / "film", out, sha256)
    write_out(out, b"film")
    assert out_sha256(out) == sha256
    write_out(out, b"flim")
    assert out_sha256(out) not in {sha256, None}


def test_the_hash_of_a_published_object_is_told_without_reading_it(s3: S3Bucket, tmp_path: Path):
    (tmp_path / "film").write_bytes(b"film")
    publish_out(tmp_path / "film", f"{s3.address}/out.mkv", "the hash")
    s3.server.requests.clear()
    assert out_sha256(f"{s3.address}/out.mkv") == "the hash"
    assert [method for method, _ in s3.server.requests] == ["HEAD"]


def test_old_parts_beside_out_go_and_nothing_else(tmp_path: Path):
    names = [".out [1].part.mkv", ".out [1].part-0a1b.mkv", ".out 1.part-0a1b.mkv", ".out [1].part-0a1b.mp4", "out [1].mkv"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    drop_parts(str(tmp_path / "out [1].mkv"))
    assert {path.name for path in tmp_path.iterdir()} == set(names[2:])
    drop_parts("s3://films/out.mkv")


def test_a_bucket_that_may_not_be_written_is_told_before_work(s3: S3Bucket, tmp_path: Path):
    check_writable(f"{s3.address}/out.mkv")
    check_writable(str(tmp_path / "out.mkv"))
    assert open_store(s3.address).entries() == set()
    s3.server.spoil = lambda environ: 403 if environ["REQUEST_METHOD"] == "PUT" else None
    with pytest.raises(InputError, match="access refused"):
        check_writable(f"{s3.address}/out.mkv")
    (tmp_path / "film").write_bytes(b"film")
    with pytest.raises(StorageError, match="access refused"):
        publish_out(tmp_path / "film", f"{s3.address}/out.mkv")
    assert (tmp_path / "film").exists()
