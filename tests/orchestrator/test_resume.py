"""What a later run reuses, what it does again, and the words it finds for why."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

import orchestrator.resume
import tasks.commit
from orchestrator.resume import Found, find_results, load_records, sort_units
from tasks.commit import retire_result
from tasks.errors import StorageError
from tasks.localstore import LocalStore
from tasks.work import ScanWork
from tests.factories import record, work


def found(*records, unreadable=0):
    return Found(tuple(records), {made.blob: made.size_bytes for made in records}, unreadable)


def test_a_unit_with_a_record_of_its_fingerprint_is_reused():
    unit = work(crf="16")
    reuse = sort_units([unit], found(record(of=unit)))
    assert list(reuse.done) == [unit.name] and reuse.todo == []


def test_a_changed_setting_makes_a_unit_stale_and_is_named():
    before, now = work(**{"encode.crf": "18"}), work(**{"encode.crf": "20"})
    reuse = sort_units([now], found(record(of=before)))
    assert reuse.todo == [now]
    assert reuse.describe("chunks") == "reused 0 chunks, stale 1 (encode.crf 18 -> 20), missing 0"


def test_the_most_similar_earlier_result_explains_why_a_unit_is_stale():
    unit = work(crf="20", tr="5")
    earlier = (record(of=work(crf="1", tr="1"), blob="x"), record(of=work(crf="18", tr="5"), blob="y"))
    assert list(sort_units([unit], found(*earlier)).why_stale) == ["crf 18 -> 20"]


def test_going_back_to_an_earlier_setting_finds_the_earlier_result():
    old, new = work(crf="16"), work(crf="18")
    reuse = sort_units([old], found(record(of=old, blob="x"), record(of=new, blob="y")))
    assert reuse.done[old.name].blob == "x"


def test_a_record_whose_blob_is_gone_or_short_is_lost_and_not_reused():
    unit = work()
    made = record(of=unit)
    for size in (None, made.size_bytes - 1):
        reuse = sort_units([unit], Found((made,), {made.blob: size}))
        assert reuse.todo == [unit] and reuse.num_lost == 1 and reuse.num_missing == 0


def test_torn_records_are_put_aside_and_counted(tmp_path: Path):
    store, unit = LocalStore(tmp_path), work()
    store.create(unit.record_name, record(of=unit).to_json())
    store.create("done/torn.json", b"")
    loaded = load_records(store)
    assert [made.work for made in loaded.records] == [unit.name] and loaded.num_unreadable == 1
    assert load_records(store).num_unreadable == 0


def test_digests_are_named_without_their_values_and_what_follows_from_a_setting_is_left_to_it():
    before = work(**{"frame map": "aa", "frame map halo": "bb", "align.smooth_time": "4"})
    rows = work(**{"frame map": "cc", "frame map halo": "dd", "align.smooth_time": "4"})
    streams = work(**{"frame map": "aa", "frame map halo": "bb", "align.smooth_time": "4", "streams": "([('ref', '0')], [])"})
    assert list(sort_units([streams], found(record(of=before))).why_stale) == ["streams"]
    radius = work(**{"frame map": "aa", "frame map halo": "ee", "align.smooth_time": "2"})
    assert list(sort_units([rows], found(record(of=before))).why_stale) == ["frame map, frame map halo"]
    assert list(sort_units([radius], found(record(of=before))).why_stale) == ["align.smooth_time 4 -> 2"]


def stored(store: LocalStore, name: str, data: bytes = b"bytes", **inputs: str) -> ScanWork:
    """A unit that has been done: its blob and its record."""
    unit = work(name, store.location, of=name, **inputs)
    store.replace(f"scan/{name}.npy", data)
    made = record(of=unit, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    assert store.create(unit.record_name, made.to_json())
    return unit


def test_files_with_other_bytes_than_recorded_are_put_aside_and_told(tmp_path: Path):
    store = LocalStore(tmp_path)
    units = [stored(store, name) for name in ("a-1", "a-2", "a-3")]
    store.replace("scan/a-2.npy", b"Bytes")
    reuse = find_results(store, units, lambda line: None)
    assert list(reuse.done) == ["a-1", "a-3"] and reuse.todo == [units[1]]
    assert reuse.describe("scans") == "reused 2 scans, damaged 1 (bytes differ from the record), missing 0"
    assert store.read(units[1].record_name) is None and store.read("scan/a-2.npy") == b"Bytes", "nothing is thrown away"
    assert [name.rpartition("-")[0][-3:] for name in store.names("retired")] == ["a-2"]
    assert store.read("scan/a-1.npy") == b"bytes" and reuse.has_news
    again = find_results(store, units, lambda line: None)
    assert again.num_damaged == 0 and again.num_missing == 1


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
def test_a_file_that_cannot_be_read_now_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    store = LocalStore(tmp_path)
    unit = stored(store, "a-1")

    def fail(path: Path) -> str:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(tasks.commit, "file_sha256", fail)
    with pytest.raises(StorageError):
        find_results(store, [unit], lambda line: None)
    assert store.read(unit.record_name) is not None and store.read("scan/a-1.npy") == b"bytes"


def test_a_file_that_reads_badly_once_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, real, answers = LocalStore(tmp_path), tasks.commit.file_sha256, ["0" * 64]
    unit = stored(store, "a-1")
    monkeypatch.setattr(tasks.commit, "file_sha256", lambda path: answers.pop() if answers else real(path))
    assert list(find_results(store, [unit], lambda line: None).done) == ["a-1"] and not answers


def test_files_in_an_object_store_are_not_read_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = LocalStore(tmp_path)
    unit = stored(store, "a-1")
    monkeypatch.setattr(orchestrator.resume, "is_remote", lambda location: True)
    monkeypatch.setattr(store, "fetch", lambda name: pytest.fail("read"))
    assert list(find_results(store, [unit], lambda line: None).done) == ["a-1"]


def test_only_records_of_the_units_in_question_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, read = LocalStore(tmp_path), []
    unit, stale = stored(store, "a-1"), stored(store, "a-1", b"old", crf="9")
    stored(store, "a-10")
    real = store.read
    monkeypatch.setattr(store, "read", lambda name: read.append(name) or real(name))
    assert len(load_records(store, [unit]).records) == 2
    assert sorted(read) == sorted([unit.record_name, stale.record_name])


def test_a_record_made_meanwhile_of_another_file_is_not_put_aside(tmp_path: Path):
    store = LocalStore(tmp_path)
    unit = stored(store, "a-1")
    retire_result(store, unit.record_name, "scan/of-another-attempt.npy")
    assert store.read(unit.record_name) is not None and store.read("scan/a-1.npy") == b"bytes"


def test_a_large_check_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, said = LocalStore(tmp_path), []
    units = [stored(store, f"a-{n}") for n in range(3)]
    monkeypatch.setattr(orchestrator.resume, "_LONG_CHECK_BYTES", 10)
    monkeypatch.setattr(orchestrator.resume, "_SECONDS_BETWEEN_LINES", 0.0)
    assert not find_results(store, units, said.append).num_damaged
    assert said[0] == "checking 3 finished files, 0 GB" and len(said) == 4


def test_a_scan_of_the_ref_is_not_taken_for_one_of_the_clip_that_is_the_same_film():
    """What it showed in place of damaged frames is told of another film."""
    clip, ref = work("scan-clip-00000"), work("scan-ref-00000")
    assert clip.fingerprint == ref.fingerprint
    assert list(sort_units([clip, ref], found(record(of=clip))).done) == [clip.name]


def test_a_chunk_with_another_number_is_reused_and_of_two_the_one_that_may_be():
    unit = work("render-00001")
    made = record(of=work("render-00007"), blob="x")
    damaged = record(of=work("render-00009"), blob="y", facts={"replaced_clip": 1})
    reuse = sort_units([unit], found(made, damaged))
    assert reuse.done == {unit.name: made} and not reuse.num_refused
    assert sort_units([unit], found(damaged)).num_refused == 1
