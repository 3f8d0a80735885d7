"""Copies of a store's objects on this machine, shared by its processes: whoever fetches one fetches it for all.

A copy is written aside, checked against the object's size and renamed; its name holds its checksum, so that one that the disk
has spoiled is seen before it is used again, and fetched anew. Who uses one holds a second link to it, so that it stays when the
copy is dropped; copies that nobody holds go, the least recently used first, when all together pass the limit.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import StorageError, fault_of
from tasks.nodefolder import faults_of, within_disk

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class BlobCache:
    """Copies in ``folder``, about ``limit_bytes`` of them, none for 0. Safe for all processes of a machine at once."""

    folder: Path
    limit_bytes: int

    def take(
        self, address: str, tag: str, size: int, download: Callable[[Path], None], into: Path, fresh: bool = False
    ) -> Path:
        """A file in ``into`` with the object at ``address``, whose content has ``tag`` and ``size``; downloaded when ``fresh``.

        Raises StorageError when it comes in another size or vanishes on the way, and what ``download`` raises.
        """
        name, ending = hashlib.sha256(f"{address}\n{tag}\n{size}".encode()).hexdigest()[:32], os.path.splitext(address)[1]
        held = into / (name + ending)
        with faults_of(self.folder), faults_of(into):
            if fresh:
                for kept in self.folder.glob(f"{name}-*"):
                    kept.unlink(missing_ok=True)
            if fresh or not (held.exists() or self._hold(name, held)):
                self._fetch(address, name, size, download, held)
        return held

    def _fetch(self, address: str, name: str, size: int, download: Callable[[Path], None], held: Path) -> None:
        held.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # whoever tidies temp folders may have been here
        aside = _aside(held)
        try:
            self._fill(aside, download)
            if aside.stat().st_size != size:
                raise StorageError(address, "unreachable", f"it came with {aside.stat().st_size} bytes instead of {size}")
            os.replace(aside, held)
        except FileNotFoundError as error:
            # Not what the caller takes for the store's word that there is no such object.
            raise StorageError(address, "unreachable", f"it vanished while it was fetched ({error})") from None
        finally:
            aside.unlink(missing_ok=True)
        self._keep(name, held)

    def _fill(self, aside: Path, download: Callable[[Path], None]) -> None:
        try:
            download(aside)
        except OSError as error:
            if fault_of(error.errno) != "full":
                raise
            aside.unlink(missing_ok=True)
            self._sweep(0)
            try:
                download(aside)
            except OSError as again:
                if fault_of(again.errno) != "full":
                    raise
                raise StorageError(
                    str(self.folder), "full", "no room for a copy; $VSALIGN_CACHE names another folder"
                ) from None

    def _hold(self, name: str, held: Path) -> bool:
        """Link a kept copy into the holder's folder; False when there is none, or none that is still what was fetched."""
        for kept in self.folder.glob(f"{name}-*"):
            aside = _aside(held)
            try:
                os.link(kept, aside)
                if kept.name == _kept_name(name, aside, held.suffix):
                    os.utime(aside)  # used just now
                    os.replace(aside, held)
                    return True
                kept.unlink(missing_ok=True)
            except OSError:
                continue
            finally:
                aside.unlink(missing_ok=True)
        return False

    def _keep(self, name: str, held: Path) -> None:
        if not self.limit_bytes:
            return
        with suppress(OSError):  # comfort: without a copy the next one fetches again
            os.link(held, self.folder / _kept_name(name, held, held.suffix))
            self._sweep(self.limit_bytes)

    def _sweep(self, limit: int) -> None:
        """Drop copies that nobody holds, the least recently used first, until all others are within ``limit``."""
        found = []
        for path in self.folder.glob("*"):
            with suppress(FileNotFoundError):
                found.append((path.stat(), path))
        total = sum(status.st_size for status, _ in found)
        limit = within_disk(limit, total, self.folder)
        for status, path in sorted(found, key=lambda entry: entry[0].st_mtime_ns):
            if total <= limit:
                break
            if status.st_nlink == 1:
                path.unlink(missing_ok=True)
                total -= status.st_size


def _aside(held: Path) -> Path:
    return held.with_name(f".{held.name}.{secrets.token_hex(4)}")


def _kept_name(name: str, copy: Path, suffix: str) -> str:
    """The name under which a copy with the bytes of ``copy`` is kept."""
    checksum = 0
    with copy.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            checksum = zlib.crc32(piece, checksum)
    return f"{name}-{checksum:08x}{suffix}"
