"""What a bucket adds to a job directory: uploads in parts, copies on this machine, refusals told in one line, no secrets."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tasks.errors import StorageError
from tasks.nodefolder import process_folder
from tasks.objectclients import MOST_PARTS, PART_BYTES, part_bytes
from tasks.objectfaults import scrubbed
from tasks.objectlog import ObjectLog
from tasks.objectstore import ObjectStore
from tasks.store import open_store
from tests.s3 import KEY_ID, SECRET, Environ, S3Bucket
from vsalign.errors import InputError

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def store(s3: S3Bucket) -> ObjectStore:
    return ObjectStore(f"{s3.address}/job")


def file_of(folder: Path, size: int) -> Path:
    path = folder / "made.mkv"
    path.write_bytes(os.urandom(size))
    return path


def test_a_large_file_goes_up_in_parts_and_comes_back(store: ObjectStore, s3: S3Bucket, tmp_path: Path):
    local = file_of(tmp_path, 40 << 20)
    data = local.read_bytes()
    store.publish(local, "seg/a.mkv")
    parts = [method for method, path in s3.server.requests if path.endswith("seg/a.mkv") and method == "PUT"]
    assert len(parts) == -(-(40 << 20) // PART_BYTES)
    assert store.fetch("seg/a.mkv").read_bytes() == data


def test_parts_are_as_few_and_as_even_as_stores_ask():
    for size in (0, 1, PART_BYTES * MOST_PARTS, PART_BYTES * MOST_PARTS + 1, 5 << 40):
        assert part_bytes(size) % (256 << 10) == 0
        assert -(-size // part_bytes(size)) <= MOST_PARTS


def test_a_part_that_is_refused_is_sent_again(
    store: ObjectStore, s3: S3Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tasks.objectstore.time.sleep", lambda seconds: None)
    refused: list[str] = []

    def break_twice(environ: Environ) -> int | None:
        if "partNumber=2" in environ["QUERY_STRING"] and len(refused) < 2:
            refused.append(environ["QUERY_STRING"])
            return 500
        return None

    s3.server.spoil = break_twice
    local = file_of(tmp_path, 40 << 20)
    data = local.read_bytes()
    store.publish(local, "seg/a.mkv")
    assert len(refused) == 2 and store.fetch("seg/a.mkv").read_bytes() == data


def test_an_upload_that_fails_for_good_leaves_nothing_and_keeps_the_file(store: ObjectStore, s3: S3Bucket, tmp_path: Path):
    s3.server.spoil = lambda environ: 403 if "partNumber=2" in environ["QUERY_STRING"] else None
    local = file_of(tmp_path, 40 << 20)
    with pytest.raises(StorageError, match="access refused"):
        store.publish(local, "seg/a.mkv")
    s3.server.spoil = None
    assert local.exists() and store.names("seg") == [] and store.size("seg/a.mkv") is None
    assert "DELETE" in {method for method, path in s3.server.requests if path.endswith("seg/a.mkv")}


def test_a_process_killed_in_the_middle_of_an_upload_leaves_nothing(store: ObjectStore, s3: S3Bucket, tmp_path: Path):
    begun, go_on = threading.Event(), threading.Event()

    def hold_second_part(environ: Environ) -> int | None:
        if "partNumber=2" in environ["QUERY_STRING"]:
            begun.set()
            go_on.wait(30)
        return None

    s3.server.spoil = hold_second_part
    code = (
        "import sys; from pathlib import Path; from tasks.store import open_store;"
        "open_store(sys.argv[1]).publish(Path(sys.argv[2]), 'seg/a.mkv')"
    )
    arguments = [sys.executable, "-c", code, store.location, str(file_of(tmp_path, 40 << 20))]
    with subprocess.Popen(arguments, cwd=ROOT) as process:
        assert begun.wait(60)
        process.send_signal(signal.SIGKILL)
    go_on.set()
    s3.server.spoil = None
    assert store.names("seg") == [] and store.read("seg/a.mkv") is None


@pytest.mark.parametrize("write", ["create", "swap"])
def test_a_write_whose_answer_was_lost_knows_itself(store: ObjectStore, s3: S3Bucket, write: str):
    """The client sends it again, and the second is refused because of the first."""
    if write == "swap":
        store.create("a.json", b"before")
    tag = (store.read_tagged("a.json") or (b"", ""))[1]
    first: list[bytes] = []

    def answer_lost(environ: Environ) -> int | None:
        if environ["REQUEST_METHOD"] == "PUT" and not first:
            first.append(b"sent")
            environ["vsalign.lose"] = True
        return None

    s3.server.spoil = answer_lost
    assert store.create("a.json", b"mine") if write == "create" else store.swap("a.json", b"mine", tag)
    assert first and store.read("a.json") == b"mine"
    assert len([method for method, path in s3.server.requests if method == "PUT" and path.endswith("a.json")]) >= 2


def test_a_conflict_is_tried_again(store: ObjectStore, s3: S3Bucket):
    conflicts: list[int] = []

    def conflict_twice(environ: Environ) -> int | None:
        if environ["REQUEST_METHOD"] == "PUT" and len(conflicts) < 2:
            conflicts.append(409)
            return 409
        return None

    s3.server.spoil = conflict_twice
    assert store.create("a.json", b"mine") and len(conflicts) == 2


def test_the_self_test_tells_a_store_that_ignores_the_condition(store: ObjectStore, s3: S3Bucket):
    s3.server.spoil = lambda environ: environ.pop("HTTP_IF_NONE_MATCH", None) and None
    with pytest.raises(InputError, match=r"^s3://\S+/job: .*create a name only once .*If-None-Match$"):
        store.self_test()


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text and SECRET not in text and KEY_ID not in text
    return text


def test_refusals_are_one_line_that_says_which_and_why(s3: S3Bucket, store: ObjectStore, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError) as missing:
        open_store("s3://no-such-bucket-here/job").self_test()
    assert "s3://no-such-bucket-here/job" in one_line(missing.value) and "no such bucket" in str(missing.value)
    with pytest.raises(StorageError, match="no such bucket"):
        open_store("s3://no-such-bucket-here/job").read("job.json")
    s3.server.spoil = lambda environ: 403
    with pytest.raises(InputError) as denied:
        store.self_test()
    assert f"{store.location}: access refused (AccessDenied: refused by the test)" in one_line(denied.value)
    s3.server.spoil = lambda environ: 507
    with pytest.raises(StorageError) as full:
        store.replace("a", b"")
    assert full.value.what == "full" and one_line(full.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{SECRET}@127.0.0.1:9")
    with pytest.raises(InputError, match="out of reach") as unreachable:
        open_store("s3://films/job").self_test()
    assert one_line(unreachable.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"^s3://films/job: out of reach .*127\.0\.0\.1:9"):
        open_store("s3://films/job").self_test()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.server.url)
    with pytest.raises(InputError, match=r"access refused .*credentials"):
        open_store("s3://films/job").self_test()


def test_a_refusal_travels_between_processes_without_the_clients_own_words(s3: S3Bucket, store: ObjectStore):
    s3.server.spoil = lambda environ: 403
    with pytest.raises(StorageError) as error:
        store.read("job.json")
    assert error.value.__cause__ is None and error.value.__suppress_context__
    again = pickle.loads(pickle.dumps(error.value))
    assert (again.location, again.what, str(again)) == (store.location, "denied", str(error.value))


def test_secrets_are_taken_out_of_any_text(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_API_TOKEN", SECRET)
    for text in (
        f"bad token {SECRET} given",
        "no answer from https://user:pa55word@store.example/a",
        "GET https://store.example/a?X-Amz-Signature=pa55word&part=2",
    ):
        assert "***" in scrubbed(text) and SECRET not in scrubbed(text) and "pa55word" not in scrubbed(text)
    assert scrubbed("two\nlines") == "two lines"


def test_an_address_with_credentials_or_without_a_bucket_is_refused():
    with pytest.raises(InputError, match="credentials") as error:
        open_store(f"s3://key:{SECRET}@bucket/job")
    assert SECRET not in str(error.value)
    with pytest.raises(InputError, match="names no bucket"):
        open_store("s3:///job")


@pytest.mark.parametrize(("address", "package"), [("s3://films/job", "s3fs"), ("gs://films/job", "gcsfs")])
def test_a_missing_package_is_named_with_what_installs_it(address: str, package: str, monkeypatch: pytest.MonkeyPatch):
    from tasks.objectclients import _file_system

    _file_system.cache_clear()
    for name in (package, f"{package}.core"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{package}; pip install 'vsalign\["):
        open_store(address)


def test_a_whole_bucket_is_never_dropped(s3: S3Bucket):
    store = open_store(s3.address)
    store.replace("film.mkv", b"precious")
    with pytest.raises(InputError, match="never deleted"):
        store.drop()
    assert store.read("film.mkv") == b"precious"


def dead_folder() -> Path:
    code = "import sys; from tasks.nodefolder import process_folder; print(process_folder('scratch'))"
    return Path(
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    )


def test_scratch_of_dead_processes_goes_and_that_of_living_ones_stays(store: ObjectStore):
    dead = dead_folder()
    assert dead.is_dir()
    alive = store.scratch()
    assert not dead.exists(), "on workers, where nobody clears"
    dead = dead_folder()
    store.scratch()
    assert dead.exists(), "looked for once"
    store.clear_scratch()
    assert alive.is_dir() and not dead.exists()


def test_a_folder_of_another_machine_is_left_alone(store: ObjectStore, monkeypatch: pytest.MonkeyPatch):
    """Their spaces of process ids bear the same number; only the boot of the machine tells them apart."""
    real = Path.read_text
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(Path, "read_text", lambda path, **how: "be57-00" if path.name == "boot_id" else real(path, **how))
        theirs = process_folder("scratch")
    alive = theirs.with_name("-".join([*theirs.name.split("-")[:1], "999999999", "7", "00"]))
    theirs.rename(alive)
    store.clear_scratch()
    assert alive.exists()
    os.utime(alive, (0, 0))
    store.clear_scratch()
    assert not alive.exists(), "after days it is nobody's"


def test_lines_reach_the_store_by_themselves(store: ObjectStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tasks.objectlog.FLUSH_SECONDS", 0.1)
    store.append("journal.jsonl", "a line")
    deadline = time.monotonic() + 10
    while not store.read_log("journal.jsonl") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert store.read_log("journal.jsonl") == b"a line\n"


def test_a_log_is_few_objects_however_long_and_loses_no_line_when_writing_fails(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tasks.objectlog.FLUSH_SECONDS", 1000)
    monkeypatch.setattr("tasks.objectlog.PART_BYTES", 1000)
    written: dict[str, bytes] = {}
    failing = [False]

    def write(name: str, data: bytes) -> None:
        if failing[0]:
            raise StorageError("s3://b", "unreachable", "gone")
        written[name] = data

    log = ObjectLog(write)
    for number in range(100):
        failing[0] = number % 7 == 1  # the last one too
        log.append("j", f"line {number:04d}")
        try:
            log.flush()
        except StorageError:
            assert failing[0]
    failing[0] = False
    log.flush()
    assert b"".join(written[name] for name in sorted(written)).decode().split("\n")[:-1] == [
        f"line {n:04d}" for n in range(100)
    ]
    assert len(written) <= 3


def test_a_listing_of_several_pages_is_whole(store: ObjectStore, s3: S3Bucket):
    def pages_of_five(environ: Environ) -> None:
        if "list-type=2" in environ["QUERY_STRING"]:
            environ["QUERY_STRING"] += "&max-keys=5"

    names = [f"done/{number:02d}" for number in range(17)]
    for name in names:
        store.replace(name, b"1")
    s3.server.spoil = pages_of_five
    assert store.names("done") == names
    assert len([path for method, path in s3.server.requests if method == "GET"]) == 4
