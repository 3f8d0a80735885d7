"""What every job directory promises, be it a folder or in a bucket: records are created once, blobs appear whole."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.commit import commit, find_record
from tasks.store import JobStore, file_sha256, open_store
from tasks.work import Record
from tests.factories import record, work


@pytest.fixture(params=["folder", "s3", "gs"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStore]:
    with ExitStack() as stack:
        if request.param == "folder":
            yield open_store(str(tmp_path / "job"))
        elif request.param == "s3":
            bucket = request.getfixturevalue("s3")
            yield open_store(f"{bucket.address}/jobs/a film")
        else:
            pytest.importorskip("gcsfs")
            request.getfixturevalue("node_cache_folder")
            from tests.gcs import Bucket, gcs_server

            stack.enter_context(gcs_server(monkeypatch, {"films": Bucket()}))
            yield open_store("gs://films/jobs/a film")


def made_file(store: JobStore, content: bytes = b"made", name: str = "made.npy") -> Path:
    path = store.scratch() / name
    path.write_bytes(content)
    return path


def test_a_name_is_created_once_and_never_overwritten(store: JobStore):
    assert store.create("done/a.json", b"first")
    assert not store.create("done/a.json", b"second")
    assert not store.create("done/a.json", b"first")
    assert store.read("done/a.json") == b"first"
    assert store.names("done") == ["done/a.json"]


def test_of_eight_that_create_one_name_at_once_exactly_one_wins(store: JobStore):
    for turn in range(4):
        name, gate = f"done/{turn}.json", threading.Barrier(8)

        def create(number: int, name: str = name, gate: threading.Barrier = gate) -> bool:
            gate.wait()
            return store.create(name, str(number).encode() * 1000)

        with ThreadPoolExecutor(8) as threads:
            wins = list(threads.map(create, range(8)))
        assert sum(wins) == 1
        assert store.read(name) == str(wins.index(True)).encode() * 1000


def test_an_absent_name_reads_as_none_and_lists_as_nothing(store: JobStore):
    assert store.read("done/a.json") is None and store.size("done/a.json") is None and store.read_tagged("done/a") is None
    assert store.names("done") == [] and store.sizes("done") == {} and store.entries() == set() and store.read_log("log") == b""
    with pytest.raises(FileNotFoundError):
        store.fetch("done/a.json")
    with pytest.raises(FileNotFoundError):
        store.retire("done/a.json")
    store.remove(["done/a.json"])
    assert not store.swap("done/a.json", b"new", "tag") and store.read("done/a.json") is None


def test_a_listing_has_what_lies_directly_there_with_sizes_and_never_anything_old(store: JobStore):
    for name in ("done/b", "done/a", "done/inner/c", "done-too/d", "done/.hidden", "top"):
        store.replace(name, b"x" * len(name))
    assert store.sizes("done") == {"done/a": 6, "done/b": 6} and list(store.sizes("done")) == ["done/a", "done/b"]
    assert store.names("") == ["top"]
    assert store.entries() == {"done", "done-too", "top"}
    other = open_store(store.location)
    other.replace("done/e", b"")
    other.remove(["done/a", "done/b"])
    assert store.sizes("done") == {"done/e": 0}


def test_a_listing_of_many_is_whole(store: JobStore):
    names = [f"done/{number:04d}" for number in range(23)]
    for name in names:
        store.replace(name, b"1")
    assert store.names("done") == names


def test_another_store_of_the_same_location_is_equal(store: JobStore):
    store.create("done/a.json", b"first")
    assert open_store(store.location).read("done/a.json") == b"first"


def test_replace_puts_a_whole_new_content(store: JobStore):
    store.replace("plan.json", b"long content")
    store.replace("plan.json", b"short")
    assert store.read("plan.json") == b"short" and store.size("plan.json") == 5


def test_a_published_file_arrives_whole_and_is_gone_from_where_it_was(store: JobStore):
    local = made_file(store, b"bytes" * 1000)
    store.publish(local, "seg/a.mkv")
    assert store.read("seg/a.mkv") == b"bytes" * 1000 and not local.exists()


def test_a_fetched_name_is_a_file_with_the_present_content(store: JobStore):
    store.publish(made_file(store, b"first"), "seg/a.mkv")
    path = store.fetch("seg/a.mkv")
    assert path.read_bytes() == b"first" and path.suffix == ".mkv"
    store.replace("seg/a.mkv", b"other")
    assert store.fetch("seg/a.mkv").read_bytes() == b"other"


def test_swap_replaces_what_was_read_and_nothing_else(store: JobStore):
    store.create("lease.json", b"one")
    data, tag = store.read_tagged("lease.json") or (b"", "")
    assert data == b"one" and store.swap("lease.json", b"two", tag)
    assert not store.swap("lease.json", b"three", tag)
    assert store.read("lease.json") == b"two"


def test_of_eight_that_swap_the_same_content_at_once_exactly_one_wins(store: JobStore):
    store.create("lease.json", b"start")
    for _ in range(4):
        _, tag = store.read_tagged("lease.json") or (b"", "")
        gate = threading.Barrier(8)

        def swap(number: int, tag: str = tag, gate: threading.Barrier = gate) -> bytes | None:
            data = f"{number} {os.urandom(4).hex()}".encode()
            gate.wait()
            return data if store.swap("lease.json", data, tag) else None

        with ThreadPoolExecutor(8) as threads:
            won = [data for data in threads.map(swap, range(8)) if data]
        assert len(won) == 1 and store.read("lease.json") == won[0]


def test_a_retired_name_can_be_created_again_and_its_content_is_kept(store: JobStore):
    store.create("done/a.json", b"torn")
    store.retire("done/a.json")
    assert store.create("done/a.json", b"new")
    assert [store.read(name) for name in store.names("retired")] == [b"torn"]


def test_a_log_has_all_lines_in_order_over_several_runs_and_flushes(store: JobStore):
    first = open_store(store.location)
    for line in ("1", "2"):
        first.append("journal.jsonl", line)
    first.append("other.jsonl", "x")
    first.flush()
    first.append("journal.jsonl", "3")
    first.flush()
    second = open_store(store.location)
    second.append("journal.jsonl", "4 é")
    second.flush()
    assert store.read_log("journal.jsonl") == "1\n2\n3\n4 é\n".encode()
    assert store.read_log("other.jsonl") == b"x\n"


def test_dropping_leaves_nothing(store: JobStore):
    store.replace("job.json", b"{}")
    store.publish(made_file(store), "seg/a.mkv")
    store.drop()
    assert store.entries() == set() and store.read("job.json") is None
    store.drop()


def test_the_self_test_passes_and_leaves_nothing(store: JobStore):
    store.self_test()
    store.self_test()
    assert store.entries() == set()


def test_scratch_folders_are_fresh_and_on_this_machine(store: JobStore):
    one, two = store.scratch(), store.scratch()
    assert one != two and one.is_dir() and not list(one.iterdir())
    assert store.names("") == []


def test_a_committed_unit_is_found_with_its_blob(store: JobStore):
    unit = work()
    made = commit(store, unit, made_file(store), folder="scan", attempt=1, seconds=2.0)
    assert find_record(store, unit) == made
    assert store.read(made.blob) == b"made"
    assert made.sha256 == file_sha256(store.fetch(made.blob))


def test_the_second_of_two_attempts_gets_the_record_of_the_first_and_leaves_no_blob(store: JobStore):
    unit = work()
    first = commit(store, unit, made_file(store), folder="scan", attempt=1, seconds=2.0)
    second = commit(store, unit, made_file(store, b"other"), folder="scan", attempt=2, seconds=2.0)
    assert second == first
    assert store.names("scan") == [first.blob]


def test_another_fingerprint_is_another_record(store: JobStore):
    commit(store, work(crf="16"), made_file(store), folder="scan", attempt=1, seconds=2.0)
    assert find_record(store, work(crf="18")) is None


@pytest.mark.parametrize("damage", ["torn record", "lost blob", "short blob"])
def test_a_damaged_result_counts_as_absent_and_can_be_made_again(store: JobStore, damage: str):
    unit = work()
    first = commit(store, unit, made_file(store), folder="scan", attempt=1, seconds=2.0)
    if damage == "torn record":
        store.replace(unit.record_name, b'{"schema": 1, "wo')
    elif damage == "lost blob":
        store.remove([first.blob])
    else:
        store.replace(first.blob, b"ma")
    assert find_record(store, unit) is None
    again = commit(store, unit, made_file(store), folder="scan", attempt=2, seconds=2.0)
    assert find_record(store, unit) == again and again.attempt == 2


def test_a_record_reads_back_as_written_and_another_schema_is_refused():
    made = record(facts={"confidence": 0.5, "n": 3, "s": "x"})
    assert Record.from_json(made.to_json()) == made
    with pytest.raises(ValueError, match="schema 7"):
        Record.from_json(replace(made, schema=7).to_json())


def test_a_fingerprint_depends_on_every_input_and_on_nothing_else():
    assert work(crf="16").fingerprint == work(name="other", job_dir="elsewhere", crf="16").fingerprint
    assert len({work(crf="16").fingerprint, work(crf="17").fingerprint, work(cr="f16").fingerprint}) == 3
