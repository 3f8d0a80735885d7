"""Join as a unit: what it publishes, when it does not, and files that it can't read. Joining itself is faked."""

from __future__ import annotations

import errno
import hashlib
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

import tasks.commit
import tasks.join
import tasks.room
from tasks.errors import DamagedResults, StitchError, StorageError, TaskError
from tasks.final import Final, read_final, settle_final, write_final
from tasks.join import join_film, parts_to_json
from tasks.localstore import LocalStore
from tasks.outfile import publish_out
from tasks.room import check_join_room, check_room
from tasks.seamplan import PicturePlan, Seams
from tasks.seams import drop_seams, read_seams, write_seams
from tasks.streamplan import NO_EXTRAS
from tasks.work import Attempt, Part, StitchWork
from tests.factories import inputs_of, record, work
from vsalign.frames import FrameRange

UNITS = ("render-00000", "render-00001")
PARTS = "parts/0a1b.json"
FILM = hashlib.sha256(b"film").hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Two finished chunks and the list of them."""
    made, parts = LocalStore(tmp_path / "job"), []
    for unit in UNITS:
        blob, data = f"seg/{unit}.mkv", unit.encode()
        made.create(blob, data)
        chunk = work(unit)
        done = record(of=chunk, blob=blob, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        made.create(chunk.record_name, done.to_json())
        parts.append(Part(unit, chunk.record_name, blob, done.sha256, done.size_bytes, FrameRange(0, 10)))
    made.create(PARTS, parts_to_json(parts))
    return made


@pytest.fixture(autouse=True)
def stitching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.join, "_check_seams", lambda *_: {})
    monkeypatch.setattr(
        tasks.join, "_write_verified", lambda store, segments, audio, options, part, told: part.write_bytes(b"film") and {}
    )


@pytest.fixture
def stitch(store: LocalStore, tmp_path: Path) -> StitchWork:
    out = tmp_path / "out.mkv"
    out.write_bytes(b"old")
    return StitchWork(
        name="stitch",
        job_dir=store.location,
        inputs={"abi": "1"},
        num_frames=20,
        parts=PARTS,
        out=str(out),
        extras=NO_EXTRAS,
        sound=None,
        joined="all of it",
    )


def join(stitch: StitchWork, store: LocalStore):
    return join_film(stitch, Attempt(), store, lambda: None)


def test_the_film_is_published_with_the_hash_that_is_known(store: LocalStore, stitch: StitchWork, monkeypatch):
    told = []
    monkeypatch.setattr(tasks.join, "publish_out", lambda *given: told.append(given[2:]) or publish_out(*given))
    assert join(stitch, store).sha256 == FILM and told == [(FILM,)]
    assert Path(stitch.out).read_bytes() == b"film"


def test_a_film_that_looks_otherwise_than_planned_is_not_published(store: LocalStore, stitch: StitchWork):
    picture = PicturePlan(inputs_of().video, "yuv420p", "libx264")
    with pytest.raises(StitchError, match=r"the joined film's picture is not as planned: it cannot be read"):
        join(replace(stitch, picture=picture), store)
    assert Path(stitch.out).read_bytes() == b"old" and read_final(store) is None


def test_what_is_known_of_a_film_is_kept_until_another_one_is_settled(store: LocalStore):
    """As verify needs it after a kill between the notes of a new film."""
    old, new = Seams("old", ()), Seams("new", ())
    write_seams(store, "0" * 64, old)
    write_seams(store, "1" * 64, new)
    assert (read_seams(store, "0" * 64), read_seams(store, "1" * 64)) == (old, new)
    drop_seams(store, "1" * 64)
    assert (read_seams(store, "0" * 64), read_seams(store, "1" * 64)) == (None, new)


def test_until_the_new_film_is_known_to_be_there_the_earlier_ones_are_ours(store: LocalStore):
    old, new, newest = (Final(name, name) for name in ("old", "new", "newest"))
    write_final(store, old)
    assert read_final(store) == old
    write_final(store, new)
    write_final(store, new)
    assert read_final(store) == replace(new, previous_sha256=("old",))
    # Killed before it was published, and begun again with another setting: what is at OUT is still the first.
    write_final(store, newest)
    assert read_final(store).previous_sha256 == ("new", "old")
    settle_final(store, newest)
    assert read_final(store) == newest


def test_a_note_of_an_earlier_version_is_read(store: LocalStore):
    store.replace("final.json", b'{"fingerprint": "f", "sha256": "s", "has_audio": true}')
    assert read_final(store) == Final("f", "s")
    store.replace("final.json", b'{"fingerprint": "f"')
    assert read_final(store) is None


@pytest.mark.parametrize("before", ["_write_verified", "write_final", "publish_out"])
def test_a_join_that_comes_late_publishes_nothing(store: LocalStore, stitch: StitchWork, monkeypatch, before: str):
    """Another run has published and cleared the list away, in the midst of whatever this one did."""
    publish = tasks.join.publish_out
    if before == "publish_out":
        store.remove([PARTS])
    else:
        real = getattr(tasks.join, before)
        monkeypatch.setattr(tasks.join, before, lambda *given: (real(*given), store.remove([PARTS]))[0])
    with pytest.raises(TaskError, match="another run has published"):
        join(stitch, store)
    assert tasks.join.publish_out is publish and Path(stitch.out).read_bytes() == b"old"
    assert (read_final(store) is None) == (before != "write_final")
    assert store.read(stitch.record_name) is None and not list(Path(stitch.out).parent.glob(".*part*"))


@pytest.mark.parametrize("number", [errno.EIO, errno.ETIMEDOUT, errno.EMFILE])
def test_files_that_cannot_be_read_are_not_damaged(store: LocalStore, stitch: StitchWork, monkeypatch, number: int):
    def broken(path: Path) -> str:
        raise OSError(number, "no answer")

    with monkeypatch.context() as patch:
        patch.setattr(tasks.commit, "file_sha256", broken)
        with pytest.raises(StorageError, match=r"out of reach .seg/render-0000\d.mkv: no answer.") as caught:
            join(stitch, store)
    assert caught.value.what == "unreachable" and store.names("retired") == [] and len(store.names("done")) == 2
    assert join(stitch, store).sha256 == FILM


class BadCopy(LocalStore):
    """Whose first copy of a file has other bytes; with ``forever`` every one."""

    forever = False

    def fetch(self, name: str, fresh: bool = False) -> Path:
        if fresh and not self.forever:
            return super().fetch(name)
        bad = self.scratch() / "bad"
        bad.write_bytes(b"bad")
        return bad


def test_a_bad_copy_is_fetched_again_before_its_unit_counts_as_damaged(store: LocalStore, stitch: StitchWork):
    copies = BadCopy(store.location)
    assert join(stitch, copies).sha256 == FILM and store.names("retired") == []
    store.remove([stitch.record_name])
    copies.forever = True
    with pytest.raises(DamagedResults, match="render-00000, render-00001"):
        join(stitch, copies)
    # The records went, the files did not: they may be whole.
    assert len(store.names("retired")) == 2 and len(store.names("seg")) == 2


def test_a_record_that_a_listing_does_not_show_yet_is_asked_for(store: LocalStore, stitch: StitchWork, monkeypatch):
    monkeypatch.setattr(LocalStore, "names", lambda self, folder: [])
    assert join(stitch, store).sha256 == FILM
    store.remove([work(UNITS[1]).record_name, stitch.record_name])
    with pytest.raises(DamagedResults, match="damaged: render-00001:"):
        join(stitch, store)


Usage = namedtuple("Usage", "total used free")


def test_a_disk_without_room_is_told_before_anything_is_written(store: LocalStore, stitch: StitchWork, monkeypatch):
    monkeypatch.setattr(tasks.room.shutil, "disk_usage", lambda folder: Usage(10**9, 0, 23))
    monkeypatch.setattr(tasks.join, "_write_verified", lambda *_: pytest.fail("written"))
    with pytest.raises(StorageError, match=r"no space left .0 MB free, joining the film needs 0 MB") as caught:
        join(stitch, store)
    assert caught.value.what == "full" and caught.value.location == str(Path(stitch.out).parent)


def test_room_for_the_film_and_for_copies_on_the_same_disk(tmp_path: Path, node_cache_folder: Path, monkeypatch):
    """Copies that are there already need no room."""
    part, film, told = tmp_path / "part.mkv", 60_000_000, r"100 MB free, joining the film needs 120 MB"
    monkeypatch.setattr(tasks.room.shutil, "disk_usage", lambda folder: Usage(10**9, 0, 100_000_000))
    check_join_room(str(tmp_path), part, film)
    with pytest.raises(StorageError, match=told):
        check_join_room("s3://films/job", part, film)
    (node_cache_folder / "copies" / "one").write_bytes(bytes(20_000_000))
    check_join_room("s3://films/job", part, film)


def test_each_disk_is_looked_at_alone(tmp_path: Path, monkeypatch):
    free = {str(tmp_path): 5_000_000, "/proc": 1_000_000}
    monkeypatch.setattr(tasks.room.shutil, "disk_usage", lambda folder: Usage(0, 0, free[str(folder)]))
    check_room([(tmp_path, 4_000_000), (Path("/proc"), 1_000_000)])
    with pytest.raises(StorageError, match=r"/proc: no space left .1 MB free, joining the film needs 2 MB"):
        check_room([(tmp_path, 4_000_000), (Path("/proc"), 2_000_000)])
