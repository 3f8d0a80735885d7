"""What goes wrong with storage is told apart in one way everywhere: full, denied, out of reach; and without secrets."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import tasks.objectclients
from tasks.errors import StorageError, fault_of
from tasks.location import check_address, without_credentials
from tasks.objectclients import open_client
from tasks.objectfaults import storage_error
from tasks.objectread import open_object
from tasks.objectstore import ObjectStore
from tasks.refusal import storage_error_of
from tests.s3 import SECRET, Environ, S3Bucket
from vsalign.errors import InputError

FAULTS = {"full": ("ENOSPC", "EDQUOT", "EFBIG"), "denied": ("EACCES", "EROFS", "EPERM")}
FAULTS["unreachable"] = ("EIO", "ESTALE", "ETIMEDOUT", "EHOSTDOWN", "ENOTCONN", "ENODEV", "ECONNRESET")


@pytest.mark.parametrize(("what", "name"), [(what, name) for what, names in FAULTS.items() for name in names])
def test_every_teller_takes_a_number_for_the_same_fault(tmp_path: Path, what: str, name: str):
    number = getattr(errno, name)
    assert fault_of(number) == what
    told = storage_error_of(OSError(number, "words", str(tmp_path / "seg")), [str(tmp_path)])
    assert told is not None and (told.what, told.location) == (what, str(tmp_path))
    assert storage_error("s3://b", OSError(number, "words")).what == what


@pytest.mark.parametrize("number", [None, 0, errno.ENOENT, errno.EINVAL, errno.EEXIST])
def test_what_is_no_fault_of_storage_is_none(number: int | None):
    assert fault_of(number) is None


def test_an_outage_counts_only_where_the_job_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = str(tmp_path / "job")
    assert storage_error_of(OSError(errno.EIO, "words", str(tmp_path / "clip.mkv")), [folder]) is None
    assert storage_error_of(OSError(errno.EIO, "words"), [str(tmp_path)]) is None, "it may be the film's disk"

    stat = os.stat

    def stale(path: str, **how: object) -> os.stat_result:
        if path != folder:
            return stat(path, **how)
        raise OSError(errno.ESTALE, "Stale file handle", path)

    monkeypatch.setattr("tasks.refusal.os.stat", stale)
    told = storage_error_of(OSError(errno.EIO, "words"), [folder])
    assert told is not None and (told.what, told.location) == ("unreachable", folder)


BAD = {
    f"s3://AKIDX:{SECRET}@films/a.mkv": "credentials",
    f"s3://AKIDX:{SECRET}/with/slashes@films/a.mkv": "credentials",
    f"gs://{SECRET}@films/a.mkv": "credentials",
    "s3:///a.mkv": "names no bucket",
    "gs://": "names no bucket",
    "s3://films//a.mkv": r"empty part \(//\)",
    "s3://films/a//b.mkv": r"empty part \(//\)",
}


@pytest.mark.parametrize(("address", "says"), BAD.items(), ids=range(len(BAD)))
@pytest.mark.parametrize("use", [check_address, open_client, open_object], ids=lambda use: use.__name__)
def test_a_bad_address_is_refused_in_a_line_wherever_it_is_used_and_not_repeated(use, address: str, says: str):
    with pytest.raises(InputError, match=says) as error:
        use(address)
    assert SECRET not in str(error.value) and "accepted: " in str(error.value) and "\n" not in str(error.value)


def test_an_at_sign_or_colon_in_a_key_is_no_secret():
    for address in ("s3://films/a:b@c/x@y.mkv", "gs://films/job/", "s3://films"):
        check_address(address)
        assert without_credentials(address) == address


def test_a_storage_error_repeats_no_credentials():
    error = StorageError(f"s3://key:{SECRET}@films/a", "denied", "403")
    assert SECRET not in str(error) + repr(error) + error.location and "films/a" in str(error)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """It takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_store_that_falls_silent_is_not_waited_for_without_end(
    s3: S3Bucket, silent_server: str, scheme: str, monkeypatch: pytest.MonkeyPatch
):
    if scheme == "gs":
        retry = pytest.importorskip("gcsfs.retry")
        monkeypatch.setattr(retry.random, "random", lambda: -99.0)  # no pauses between its tries
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", silent_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", silent_server)
    monkeypatch.setattr(tasks.objectclients, "SILENCE_SECONDS", 0.1)
    tasks.objectclients._file_system.cache_clear()
    with pytest.raises(StorageError) as error:
        ObjectStore(f"{scheme}://films/job").read("job.json")
    assert error.value.what == "unreachable"
    tasks.objectclients._file_system.cache_clear()


def test_only_a_refusal_to_delete_is_a_refusal(s3: S3Bucket, monkeypatch: pytest.MonkeyPatch):
    store = ObjectStore(f"{s3.address}/job")
    real = store._client._call
    for code, what in (("AccessDenied", "denied"), ("InternalError", "unreachable"), ("SlowDown", "unreachable")):
        answer = {"Errors": [{"Key": "job/a", "Code": code}]}
        monkeypatch.setattr(
            store._client,
            "_call",
            lambda method, answer=answer, **o: answer if method == "delete_objects" else real(method, **o),
        )
        with pytest.raises(StorageError) as error:
            store.remove(["a"])
        assert error.value.what == what


def test_uploads_that_killed_workers_left_are_aborted_and_those_of_others_are_not(s3: S3Bucket):
    store, begin = ObjectStore(f"{s3.address}/job"), {"Bucket": s3.name}
    files = store._client._files
    for key in ("job/seg/a.mkv", "job/seg/b.mkv", "job-too/seg/a.mkv"):
        files.call_s3("create_multipart_upload", Key=key, **begin)
    store.clear_scratch()
    left = files.call_s3("list_multipart_uploads", **begin).get("Uploads", [])
    assert [upload["Key"] for upload in left] == ["job-too/seg/a.mkv"]

    def refuse(environ: Environ) -> int:
        return 403

    s3.server.spoil = refuse
    store.clear_scratch()
