"""What the job directory promises: records are created once, blobs appear whole."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.commit import commit, find_record
from tasks.store import LocalStore, file_sha256
from tasks.work import Record
from tests.factories import record, work


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "job")


def made_file(store: LocalStore, content: bytes = b"made") -> Path:
    path = store.scratch() / "made.npy"
    path.write_bytes(content)
    return path


def test_a_name_is_created_once_and_never_overwritten(store: LocalStore):
    assert store.create("done/a.json", b"first")
    assert not store.create("done/a.json", b"second")
    assert store.read("done/a.json") == b"first"
    assert store.names("done") == ["done/a.json"]


def test_of_many_that_create_one_name_at_once_one_wins(store: LocalStore):
    with ThreadPoolExecutor(8) as threads:
        wins = list(threads.map(lambda i: store.create("done/a.json", str(i).encode() * 1000), range(64)))
    assert sum(wins) == 1
    assert store.read("done/a.json") == str(wins.index(True)).encode() * 1000


def test_without_hard_links_a_name_is_still_created_once(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    assert store.create("done/a.json", b"first") and not store.create("done/a.json", b"second")
    assert store.read("done/a.json") == b"first"


def test_an_absent_name_reads_as_none_and_lists_as_nothing(store: LocalStore):
    assert store.read("done/a.json") is None and store.size("done/a.json") is None and store.names("done") == []


def test_a_committed_unit_is_found_with_its_blob(store: LocalStore):
    unit = work()
    made = commit(store, unit, made_file(store), folder="scan", attempt=1, seconds=2.0)
    assert find_record(store, unit) == made
    assert store.read(made.blob) == b"made"
    assert made.sha256 == file_sha256(store.local_path(made.blob))


def test_the_second_of_two_attempts_gets_the_record_of_the_first_and_leaves_no_blob(store: LocalStore):
    unit = work()
    first = commit(store, unit, made_file(store), folder="scan", attempt=1, seconds=2.0)
    second = commit(store, unit, made_file(store, b"other"), folder="scan", attempt=2, seconds=2.0)
    assert second == first
    assert store.names("scan") == [first.blob]


def test_another_fingerprint_is_another_record(store: LocalStore):
    commit(store, work(crf="16"), made_file(store), folder="scan", attempt=1, seconds=2.0)
    assert find_record(store, work(crf="18")) is None


@pytest.mark.parametrize("damage", ["torn record", "lost blob", "short blob"])
def test_a_damaged_result_counts_as_absent_and_can_be_made_again(store: LocalStore, damage: str):
    unit = work()
    first = commit(store, unit, made_file(store), folder="scan", attempt=1, seconds=2.0)
    if damage == "torn record":
        store.local_path(unit.record_name).write_bytes(b'{"schema": 1, "wo')
    elif damage == "lost blob":
        store.local_path(first.blob).unlink()
    else:
        store.local_path(first.blob).write_bytes(b"ma")
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
