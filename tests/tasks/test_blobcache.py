"""Copies of a store's objects on this machine: fetched once, never used when bad, within their limit, told by their folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tasks.blobcache import BlobCache
from tasks.blockcache import node_cache
from tasks.errors import StorageError
from tasks.objectstore import ObjectStore
from tests.s3 import S3Bucket


@pytest.fixture
def store(s3: S3Bucket) -> ObjectStore:
    return ObjectStore(f"{s3.address}/job")


def test_a_fetched_object_comes_over_the_network_once_for_all_stores_of_the_machine(store: ObjectStore, s3: S3Bucket):
    store.replace("seg/a.mkv", b"content")
    first = store.fetch("seg/a.mkv")
    other = ObjectStore(store.location)
    s3.server.requests.clear()
    second = other.fetch("seg/a.mkv")
    assert "GET" not in {method for method, path in s3.server.requests if path.endswith("seg/a.mkv")}
    del other
    assert first.read_bytes() == b"content" and not second.exists()


def test_copies_stay_within_the_limit_and_those_in_use_stay(tmp_path: Path):
    folder, ours, others = (tmp_path / name for name in ("copies", "ours", "others"))
    for made in (folder, ours, others):
        made.mkdir()
    cache = BlobCache(folder, 3000)
    taken = []
    for number in range(6):
        into = ours if number == 0 else others
        path = cache.take(f"s3://b/{number}", "tag", 1000, lambda aside: aside.write_bytes(bytes(1000)) and None, into)
        os.utime(path, (number, number))
        taken.append(path)
        if into == others:
            path.unlink()
    kept = sorted(path.stat().st_mtime for path in folder.iterdir())
    assert kept == [0, 4, 5] and taken[0].read_bytes() == bytes(1000)


def test_a_copy_that_came_short_is_not_kept(tmp_path: Path):
    (tmp_path / "copies").mkdir()
    cache = BlobCache(tmp_path / "copies", 3000)
    with pytest.raises(StorageError, match="999 bytes instead of 1000"):
        cache.take("s3://b/a", "tag", 1000, lambda aside: aside.write_bytes(bytes(999)) and None, tmp_path)
    assert not list((tmp_path / "copies").iterdir()) and len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_lets_copies_go_and_then_says_so(tmp_path: Path):
    (tmp_path / "copies").mkdir()
    cache = BlobCache(tmp_path / "copies", 3000)
    (tmp_path / "copies" / "old").write_bytes(b"old")

    def no_room(aside: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="VSALIGN_CACHE") as error:
        cache.take("s3://b/a", "tag", 1000, no_room, tmp_path)
    assert error.value.what == "full" and not list((tmp_path / "copies").iterdir())


def spoil(path: Path) -> None:
    """A bit that the disk has turned; size and time stay."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_copy_that_went_bad_is_not_used_again(store: ObjectStore, node_cache_folder: Path):
    store.replace("seg/a.mkv", b"content")
    held = store.fetch("seg/a.mkv")
    (kept,) = (node_cache_folder / "copies").iterdir()
    spoil(kept)
    assert held.read_bytes() != b"content", "they are one file"
    other = ObjectStore(store.location)
    assert other.fetch("seg/a.mkv").read_bytes() == b"content"
    (kept,) = (node_cache_folder / "copies").iterdir()
    assert kept.read_bytes() == b"content"
    assert store.fetch("seg/a.mkv", fresh=True).read_bytes() == b"content"
    assert store.fetch("seg/a.mkv").read_bytes() == b"content"


def test_a_fresh_copy_takes_the_place_of_one_that_arrived_bad(tmp_path: Path):
    folder, ours, others = (tmp_path / name for name in ("copies", "ours", "others"))
    folder.mkdir()
    cache, contents = BlobCache(folder, 3000), [b"bad!", b"good"]

    def take(into: Path, fresh: bool = False) -> bytes:
        into.mkdir(exist_ok=True)
        return cache.take("s3://b/a", "tag", 4, lambda to: to.write_bytes(contents.pop(0)) and None, into, fresh).read_bytes()

    assert take(ours) == b"bad!" and take(others) == b"bad!"
    assert (
        take(ours, fresh=True) == b"good"
        and len(list(folder.iterdir())) == 1
        and take(tmp_path / "third") == b"good"
        and not contents
    )


def test_only_the_stores_word_counts_for_an_absence(
    store: ObjectStore, node_cache_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    store.replace("seg/a.mkv", b"content")
    for folder in ("held", "copies"):
        shutil.rmtree(store.fetch("seg/a.mkv").parent if folder == "held" else node_cache_folder / folder)
        assert store.fetch("seg/a.mkv").read_bytes() == b"content"
    other, download = ObjectStore(store.location), store._client.download

    def removed_meanwhile(key: str, local: Path) -> None:
        store.remove(["seg/a.mkv"])
        download(key, local)

    monkeypatch.setattr(other._client, "download", removed_meanwhile)
    with pytest.raises(StorageError, match="vanished"):
        other.fetch("seg/a.mkv", fresh=True)
    with pytest.raises(FileNotFoundError):
        store.fetch("seg/a.mkv")


def test_a_fault_of_the_cache_folders_disk_names_that_folder(
    store: ObjectStore, node_cache_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    store.replace("seg/a.mkv", b"content")

    def read_only(source: Path, target: Path) -> None:
        raise OSError(30, "Read-only file system", str(source))

    monkeypatch.setattr("tasks.blobcache.os.replace", read_only)
    with pytest.raises(StorageError, match="VSALIGN_CACHE") as error:
        store.fetch("seg/a.mkv")
    assert error.value.what == "denied" and error.value.location.startswith(str(node_cache_folder))


def test_both_caches_together_keep_the_limit(node_cache_folder: Path, monkeypatch: pytest.MonkeyPatch, store: ObjectStore):
    monkeypatch.setenv("VSALIGN_CACHE_GB", "0.5")
    blocks = node_cache()
    assert blocks is not None and blocks.limit_bytes + store._copies.limit_bytes == 500_000_000


def test_copies_leave_half_of_the_disk_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Usage:
        free = 6000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    (tmp_path / "copies").mkdir()
    cache = BlobCache(tmp_path / "copies", 10**6)
    for number in range(20):
        cache.take(f"s3://b/{number}", "tag", 1000, lambda aside: aside.write_bytes(bytes(1000)) and None, tmp_path).unlink()
    assert 1000 <= sum(path.stat().st_size for path in (tmp_path / "copies").iterdir()) <= 3000
