"""What a later run reuses, what it does again, and the words it finds for why."""

from pathlib import Path

from orchestrator.resume import Found, load_records, sort_units
from tasks.store import LocalStore
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
    radius = work(**{"frame map": "aa", "frame map halo": "ee", "align.smooth_time": "2"})
    assert list(sort_units([rows], found(record(of=before))).why_stale) == ["frame map, frame map halo"]
    assert list(sort_units([radius], found(record(of=before))).why_stale) == ["align.smooth_time 4 -> 2"]
