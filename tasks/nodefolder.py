"""This machine's own folder for what is on its way to or from a store: unfinished files, copies of objects.

$VSALIGN_CACHE, or vsalign-cache-UID in the temp folder. What a process keeps there bears its id; what dead processes left goes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tasks.errors import StorageError, fault_of
from vsalign.errors import InputError

#: How much of this machine's disk both caches together take unless VSALIGN_CACHE_GB says otherwise.
DEFAULT_GB = 8.0
#: A folder of a process that we cannot see (another container's or machine's) is dropped after two days.
_UNSEEN_SECONDS = 2 * 86400.0


def node_folder(kind: str) -> Path:
    """Folder ``kind`` ("jobs", ...) of this machine, ours alone. Raises InputError when it can't be had."""
    given = os.environ.get("VSALIGN_CACHE", "")
    root = Path(given) if given else Path(tempfile.gettempdir()) / f"vsalign-cache-{os.getuid()}"
    folder = root / kind
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # In a temp folder that all users share, another's folder of this name could hold anything.
        if not given and root.stat().st_uid != os.getuid():
            raise InputError(f"{root} belongs to another user; accepted: a folder of your own in $VSALIGN_CACHE")
    except OSError as error:
        raise InputError(f"{folder}: can't be made ({error.strerror}); accepted: a writable folder in $VSALIGN_CACHE") from None
    return folder


def cache_share_bytes() -> int:
    """What each of this machine's two caches, blocks of films and copies of objects, may take: half of $VSALIGN_CACHE_GB, in
    bytes; 0 for no cache. Raises InputError for what is no number of gigabytes.
    """
    text = os.environ.get("VSALIGN_CACHE_GB", "")
    try:
        value = float(text) if text else DEFAULT_GB
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise InputError(f"VSALIGN_CACHE_GB is {text!r}; accepted: a number of gigabytes, 0 for no cache")
    return round(value * 1e9) // 2


def within_disk(limit_bytes: int, kept_bytes: int, folder: Path) -> int:
    """``limit_bytes`` of a cache that has ``kept_bytes`` in ``folder``, or less: both caches together leave half of the disk's
    free room free. Raises OSError.
    """
    return min(limit_bytes, (kept_bytes + shutil.disk_usage(folder).free) // 3)


@contextmanager
def faults_of(folder: Path) -> Iterator[None]:
    """Within this block a fault of the disk that ``folder`` is on is a StorageError that names it."""
    try:
        yield
    except OSError as error:
        told = fault_of(error.errno)
        if told is None or not str(error.filename or "").startswith(str(folder)):
            raise
        why = f"{error.strerror}; $VSALIGN_CACHE names another folder"
        raise StorageError(str(folder), told, why) from None


def process_folder(kind: str) -> Path:
    """A fresh folder that counts as left behind once this process is gone; the first drops those of processes that are gone.

    Raises StorageError when the disk refuses.
    """
    parent = node_folder(kind)
    with faults_of(parent):
        _drop_dead_once(parent)
        folder = parent / f"{_namespace()}-{os.getpid()}-{_started(os.getpid())}-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
    return folder


def drop_dead(kind: str) -> None:
    """Drop the folders of processes that are gone."""
    _drop_dead_in(node_folder(kind))


@cache
def _drop_dead_once(parent: Path) -> None:
    _drop_dead_in(parent)


def _drop_dead_in(parent: Path) -> None:
    for folder in parent.iterdir():
        if _is_dead(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_dead(folder: Path) -> bool:
    try:
        namespace, pid, started, _ = folder.name.split("-")
        if namespace == _namespace():
            return _started(int(pid)) != started
        return time.time() - folder.stat().st_mtime > _UNSEEN_SECONDS
    except (ValueError, OSError):
        return False


def _namespace() -> str:
    """Which processes' ids mean the same: those of one container of one boot of one machine. A folder may be shared by
    machines, whose own spaces of ids all bear the same number.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")
    except OSError:
        boot = hashlib.sha256(platform.node().encode()).hexdigest()
    return f"{boot[:16]}.{os.stat('/proc/self/ns/pid').st_ino}"


def _started(pid: int) -> str:
    """When a process began, in clock ticks since boot; "" when there is none (ids are given out again)."""
    try:
        # The name in parentheses may hold anything; what follows it does not. Field 22 counts from 1.
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return ""
