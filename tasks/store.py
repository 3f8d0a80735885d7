"""The job directory: immutable blobs, records created if absent, and nothing else that counts.

A record is small and is written last; whoever creates it first has done the work. Everything the driver holds in memory can be
rebuilt from here. ``LocalStore`` is a folder on a local disk or NFS: create-if-absent is link(2), which fails when the name
exists; a rename would overwrite.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

#: Where attempts keep unfinished files; a name that no user's folder has.
SCRATCH = ".vsalign-scratch"


class JobStore(Protocol):
    """Names are relative, with forward slashes ("done/render-00012-1a2b3c4d5e6f.json")."""

    def create(self, name: str, data: bytes) -> bool:
        """Write ``name`` whole if nothing has it; False, and nothing written, when something has."""

    def replace(self, name: str, data: bytes) -> None:
        """Write ``name`` whole, over what was there. For caches and reports, never for records."""

    def publish(self, local: Path, name: str) -> None:
        """Move a finished local file to ``name``, durable and whole; the name must be unique to this attempt."""

    def read(self, name: str) -> bytes | None:
        """The content, or None when absent."""

    def size(self, name: str) -> int | None:
        """Size in bytes, or None when absent."""

    def names(self, folder: str) -> list[str]:
        """All names directly inside ``folder``, sorted; empty when the folder is absent."""

    def retire(self, name: str) -> None:
        """Put ``name`` out of the way (kept under retired/), so that it can be created again."""

    def remove(self, names: Iterable[str]) -> None:
        """Delete; absent names are no error."""

    def append(self, name: str, line: str) -> None:
        """Add one line to a log that only one process writes."""

    def local_path(self, name: str) -> Path:
        """A path that readers on this machine can open."""

    def scratch(self) -> Path:
        """A fresh empty folder for one attempt's unfinished files."""

    def clear_scratch(self) -> None:
        """Drop what killed attempts left behind; only for the one process that supervises the job."""


class LocalStore:
    """A JobStore in a folder; see the protocol for what each call promises."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def create(self, name: str, data: bytes) -> bool:
        target = self._ready(name)
        aside = self._write_aside(target, data)
        try:
            os.link(aside, target)
        except FileExistsError:
            return False
        except OSError:
            if not _create_without_links(target, data):
                return False
        finally:
            aside.unlink()
        _sync_folder(target.parent)
        return True

    def replace(self, name: str, data: bytes) -> None:
        target = self._ready(name)
        os.replace(self._write_aside(target, data), target)
        _sync_folder(target.parent)

    def publish(self, local: Path, name: str) -> None:
        target = self._ready(name)
        publish_file(local, target)

    def read(self, name: str) -> bytes | None:
        try:
            return self.local_path(name).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int | None:
        try:
            return self.local_path(name).stat().st_size
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        try:
            found = [
                entry.name for entry in os.scandir(self.root / folder) if entry.is_file() and not entry.name.startswith(".")
            ]
        except FileNotFoundError:
            return []
        return sorted(f"{folder}/{name}" for name in found)

    def retire(self, name: str) -> None:
        target = self._ready(f"retired/{secrets.token_hex(4)}-{Path(name).name}")
        os.replace(self.local_path(name), target)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self.local_path(name).unlink(missing_ok=True)

    def append(self, name: str, line: str) -> None:
        with self._ready(name).open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def local_path(self, name: str) -> Path:
        return self.root / name

    def scratch(self) -> Path:
        folder = self.root / SCRATCH / secrets.token_hex(6)
        folder.mkdir(parents=True)
        return folder

    def clear_scratch(self) -> None:
        shutil.rmtree(self.root / SCRATCH, ignore_errors=True)

    def _ready(self, name: str) -> Path:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    @staticmethod
    def _write_aside(target: Path, data: bytes) -> Path:
        aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return aside


def _create_without_links(target: Path, data: bytes) -> bool:
    """exFAT, SMB and the like know no hard links. A kill may leave a torn file here, which readers take for absent."""
    try:
        with target.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    return True


def open_store(location: str) -> JobStore:
    """The store behind a job directory's location."""
    return LocalStore(location)


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish_file(local: Path, target: Path) -> None:
    """Rename ``local`` to ``target`` with its bytes on disk first, so that a power cut leaves the old state or the new one."""
    with local.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(local, target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
