"""Copies of a store's objects on this machine, shared by its processes: whoever fetches one fetches it for all.

A copy is written aside, checked against the object's size and renamed. Who uses one holds a second link to it, so that it stays
when the copy is dropped; copies that nobody holds go, the least recently used first, when all together pass the limit.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class BlobCache:
    """Copies in ``folder``, about ``limit_bytes`` of them, none for 0. Safe for all processes of a machine at once."""

    folder: Path
    limit_bytes: int

    def take(self, address: str, tag: str, size: int, download: Callable[[Path], None], into: Path) -> Path:
        """A file in ``into`` with the object at ``address``, whose content has ``tag`` and ``size``.

        Raises StorageError when it comes in another size, and what ``download`` raises.
        """
        name = hashlib.sha256(f"{address}\n{tag}\n{size}".encode()).hexdigest()[:32] + os.path.splitext(address)[1]
        held, kept = into / name, self.folder / name
        if not held.exists() and not _hold(kept, held):
            aside = into / f".{name}.{secrets.token_hex(4)}"
            try:
                self._fill(aside, download)
                if aside.stat().st_size != size:
                    raise StorageError(address, "unreachable", f"it came with {aside.stat().st_size} bytes instead of {size}")
                os.replace(aside, held)
            finally:
                aside.unlink(missing_ok=True)
            self._keep(held, kept)
        return held

    def _fill(self, aside: Path, download: Callable[[Path], None]) -> None:
        try:
            download(aside)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            aside.unlink(missing_ok=True)
            self._sweep(0)
            try:
                download(aside)
            except OSError as again:
                if again.errno not in _FULL:
                    raise
                raise StorageError(
                    str(self.folder), "full", "no room for a copy; $VSALIGN_CACHE names another folder"
                ) from None

    def _keep(self, held: Path, kept: Path) -> None:
        if not self.limit_bytes:
            return
        with suppress(OSError):  # comfort: without a copy the next one fetches again
            os.link(held, kept)
        self._sweep(self.limit_bytes)

    def _sweep(self, limit: int) -> None:
        """Drop copies that nobody holds, the least recently used first, until all others are within ``limit``."""
        found = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):
                found.append((path.stat(), path))
        total = sum(status.st_size for status, _ in found)
        for status, path in sorted(found, key=lambda entry: entry[0].st_mtime_ns):
            if total <= limit:
                break
            if status.st_nlink == 1:
                path.unlink(missing_ok=True)
                total -= status.st_size


def _hold(kept: Path, held: Path) -> bool:
    """Link a kept copy into the holder's folder; False when there is none."""
    try:
        os.link(kept, held)
    except FileExistsError:
        return True
    except OSError:
        return False
    with suppress(OSError):
        os.utime(held)  # used just now
    return True
