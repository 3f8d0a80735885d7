"""A node's cache of blocks of remote films, shared by all processes of the node: whoever fetches a block fetches it for all.

A block is a file of its own, written aside and renamed, with a checksum at its end: a kill or a power cut leaves a whole block
or one that counts as absent. Blocks are kept by what they are part of (address, version, size of the film), so a film that
changes shares none with what it was. The least recently used ones go. The cache is comfort: whatever goes wrong with its disk
costs a fetch and nothing else.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import threading
import time
import zlib
from functools import lru_cache
from pathlib import Path

from tasks.nodefolder import cache_share_bytes, node_folder, within_disk

#: Bytes of a block; the last one of a film is shorter. Small enough that a jump into a film costs little.
BLOCK_BYTES = 128 * 1024
_CHECKSUM_BYTES = 4
#: Each process adds a 64th of the limit before it looks again. Beyond seven eighths blocks go until a quarter is free, so that
#: eight processes that add at the same time stay within the limit.
_BETWEEN_SWEEPS, _ROOM, _FREED = 64, 8, 4
#: What a killed process left half-written is dropped after so long.
_STALE_SECONDS = 600.0


class BlockCache:
    """Blocks of all films in ``folder``: at most about ``limit_bytes``, and less on a disk with little room.

    Safe for any number of threads and processes of one machine.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self._lock = threading.Lock()
        # The first block that a process adds makes it look what is there already.
        self._unswept = limit_bytes

    def get(self, film: str, number: int) -> bytes | None:
        """Block ``number`` of ``film`` (:func:`film_key`), or None when it is not here whole."""
        path = self._path(film, number)
        try:
            raw = path.read_bytes()
            data, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
            if _checksum(data) != checksum:
                path.unlink(missing_ok=True)
                return None
            os.utime(path)  # used just now
        except OSError:
            return None
        return data

    def has(self, film: str, number: int) -> bool:
        """Whether :meth:`get` would, by all appearances, find it."""
        return self._path(film, number).exists()

    def put(self, film: str, number: int, data: bytes) -> None:
        """Keep a block; silently not, where the disk does not take it."""
        path = self._path(film, number)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            aside.write_bytes(data + _checksum(data))
            os.replace(aside, path)
        except OSError:
            aside.unlink(missing_ok=True)
            return
        with self._lock:
            self._unswept += len(data) + _CHECKSUM_BYTES
            due = self._unswept > self.limit_bytes // _BETWEEN_SWEEPS
        if due and self._sweep():
            with self._lock:
                self._unswept = 0

    def _path(self, film: str, number: int) -> Path:
        return self.folder / film / f"{number:08d}"

    def _sweep(self) -> bool:
        """Drop the least recently used blocks beyond the limit; False when another process is just doing it."""
        try:
            with (self.folder / "lock").open("a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                self._drop_oldest()
        except OSError:
            pass
        return True

    def _drop_oldest(self) -> None:
        files = sorted(_files_in(self.folder))
        total = sum(size for _, size, _ in files)
        limit = within_disk(self.limit_bytes, total, self.folder)
        aim = total if total <= limit - limit // _ROOM else limit - limit // _FREED
        stale = time.time_ns() - int(_STALE_SECONDS * 1e9)
        for used_ns, size, path in files:
            left_behind = path.name.startswith(".") and used_ns < stale
            if total > aim or left_behind:
                path.unlink(missing_ok=True)
                total -= size


def film_key(address: str, version: str, size: int) -> str:
    """The name under which a film's blocks are kept: another version or size is another film."""
    return hashlib.sha256(f"{address}\n{version}\n{size}\n{BLOCK_BYTES}".encode()).hexdigest()[:32]


def node_cache() -> BlockCache | None:
    """This node's cache, in folder "blocks" of :mod:`tasks.nodefolder`, as large as its share of $VSALIGN_CACHE_GB; None for 0.

    Raises InputError for a size that is no number, and where the folder cannot be had.
    """
    limit = cache_share_bytes()
    return _cache(node_folder("blocks"), limit) if limit else None


@lru_cache(maxsize=4)
def _cache(folder: Path, limit_bytes: int) -> BlockCache:
    return BlockCache(folder, limit_bytes)


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(_CHECKSUM_BYTES, "little")


def _files_in(folder: Path) -> list[tuple[int, int, Path]]:
    """(when last used in ns, bytes, path) of all blocks; what goes meanwhile is left out."""
    found = []
    for film in os.scandir(folder):
        if not film.is_dir(follow_symlinks=False):
            continue
        for entry in os.scandir(film):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            found.append((status.st_mtime_ns, status.st_size, Path(entry.path)))
    return found
