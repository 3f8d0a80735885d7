"""The cache of blocks that the processes of a node share: whole blocks or none, within its limit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.blockcache import BlockCache, film_key, node_cache
from vsalign.errors import InputError

ROOT = Path(__file__).parents[2]


def block(number: int, size: int = 1000) -> bytes:
    return random.Random(number).randbytes(size)


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_blocks_come_back_as_they_were_kept(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 10**6)
    assert cache.get("film", 3) is None and not cache.has("film", 3)
    cache.put("film", 3, block(3))
    assert cache.get("film", 3) == block(3) and cache.has("film", 3)
    assert cache.get("film", 4) is None and cache.get("other", 3) is None
    assert BlockCache(tmp_path, 10**6).get("film", 3) == block(3), "another process finds it"


def test_another_version_or_size_is_another_film() -> None:
    keys = {film_key("s3://films/a.mkv", "1", 10), film_key("s3://films/a.mkv", "2", 10)}
    keys |= {film_key("s3://films/a.mkv", "1", 11), film_key("s3://films/b.mkv", "1", 10)}
    assert len(keys) == 4


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda raw: raw[:-1],
    "empty": lambda raw: b"",
    "bit": lambda raw: b"x" + raw[1:],
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_damaged_block_counts_as_absent(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    cache = BlockCache(tmp_path, 10**6)
    cache.put("film", 0, block(0))
    path = tmp_path / "film" / "00000000"
    path.write_bytes(spoil(path.read_bytes()))
    assert cache.get("film", 0) is None
    assert not cache.has("film", 0), "so that it is fetched again"


def test_the_limit_is_kept_and_what_was_used_last_stays(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 100_000)
    for number in range(400):
        cache.put("film", number, block(number))
        assert number % 7 or used(tmp_path) <= 100_000
        assert cache.get("film", 0) == block(0), "used all the time"
    kept = sum(cache.has("film", number) for number in range(400))
    assert kept > 70, "it is used, too"
    assert all(cache.has("film", number) for number in range(380, 400))


def test_eight_processes_together_keep_the_limit(tmp_path: Path) -> None:
    caches = [BlockCache(tmp_path, 400_000) for _ in range(8)]
    for number in range(800):
        caches[number % 8].put(f"film{number % 3}", number, block(number))
    assert used(tmp_path) <= 400_000


def test_half_of_the_disk_is_left_free_by_both_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 20_000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    cache = BlockCache(tmp_path, 1_000_000)
    for number in range(100):
        cache.put("film", number, block(number))
        cache._unswept = 10**6
    assert 5_000 < used(tmp_path) <= 10_000


def test_a_disk_that_takes_nothing_costs_only_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    cache = BlockCache(tmp_path, 10**6)
    cache.put("film", 0, block(0))
    assert cache.get("film", 0) is None
    assert not list((tmp_path / "film").iterdir())


def test_a_block_that_is_written_again_is_whole_all_the_while(tmp_path: Path) -> None:
    writer, reader, done = BlockCache(tmp_path, 10**9), BlockCache(tmp_path, 10**9), threading.Event()
    writer.put("film", 0, block(0, 500_000))

    def write() -> None:
        while not done.is_set():
            writer.put("film", 0, block(0, 500_000))

    thread = threading.Thread(target=write)
    thread.start()
    found = [reader.get("film", 0) == block(0, 500_000) for _ in range(100)]
    done.set()
    thread.join()
    assert all(found)


WRITER = """
import random, sys
from pathlib import Path
from tasks.blockcache import BlockCache
cache, number = BlockCache(Path(sys.argv[1]), 3_000_000), 0
print("ready", flush=True)
while True:
    cache.put("film", number % 50, random.Random(number % 50).randbytes(200_000))
    number += 1
"""


def test_a_killed_writer_leaves_whole_blocks_or_none(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 3_000_000)
    for delay in (0.01, 0.03, 0.05, 0.02, 0.04):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
        assert writer.stdout and writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        found = [cache.get("film", number) for number in range(50)]
        assert any(found)
        assert all(data is None or data == block(number, 200_000) for number, data in enumerate(found))


def test_what_a_killed_writer_left_behind_goes_in_time(tmp_path: Path) -> None:
    (tmp_path / "film").mkdir()
    old, new = tmp_path / "film" / ".00000001.aa", tmp_path / "film" / ".00000002.bb"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 3600,) * 2)
    BlockCache(tmp_path, 10**6).put("film", 0, block(0))
    assert not old.exists() and new.exists(), "the new one may still be being written"


def test_the_node_says_where_and_how_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSALIGN_CACHE", str(tmp_path / "here"))
    monkeypatch.setenv("VSALIGN_CACHE_GB", "0.5")
    cache = node_cache()
    assert cache and cache.limit_bytes == 250_000_000 and cache.folder.is_relative_to(tmp_path / "here")
    assert node_cache() is cache, "one per process, so that what it has added is counted"
    monkeypatch.setenv("VSALIGN_CACHE_GB", "0")
    assert node_cache() is None
    monkeypatch.setenv("VSALIGN_CACHE_GB", "lots")
    with pytest.raises(InputError, match="VSALIGN_CACHE_GB is 'lots'; accepted"):
        node_cache()
