"""The job directory: immutable blobs, records created if absent, and nothing else that counts.

A record is small and is written last; whoever creates it first has done the work. Everything the driver holds in memory can be
rebuilt from here. ``open_store`` gives the store behind a location: a folder on a local disk or NFS (``tasks/localstore.py``),
or objects of S3 or Google Cloud Storage (``tasks/objectstore.py``). Both keep the same promises, proven by the same tests.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import Any, Protocol, cast

from tasks.errors import StorageError
from tasks.location import is_remote
from vsalign.errors import InputError


class JobStore(Protocol):
    """Names are relative, with forward slashes ("done/render-00012-1a2b3c4d5e6f.json"); listings are never remembered.

    Every call raises ``tasks.errors.StorageError`` when the store is full, refuses, or can't be reached; trying again is safe.
    """

    #: Where it is: ``open_store(location)`` gives an equal store on any machine of the cluster.
    location: str

    def create(self, name: str, data: bytes) -> bool:
        """Write ``name`` whole if nothing has it; False, and nothing written, when something has."""

    def replace(self, name: str, data: bytes) -> None:
        """Write ``name`` whole, over what was there. For caches and reports, never for records."""

    def publish(self, local: Path, name: str) -> None:
        """Move a finished local file to ``name``, durable and whole; the name must be unique to this attempt."""

    def read(self, name: str) -> bytes | None:
        """The content, or None when absent."""

    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        """The content and a tag that changes with it (for ``swap``), or None when absent."""

    def swap(self, name: str, data: bytes, tag: str) -> bool:
        """Replace ``name`` only while its content has ``tag``; False, and nothing written, when it has changed or is gone."""

    def fetch(self, name: str, fresh: bool = False) -> Path:
        """A file on this machine with the content: not to be written. ``fresh``: not a copy made earlier, which may be bad.

        Raises FileNotFoundError when the store itself says that it is absent.
        """

    def size(self, name: str) -> int | None:
        """Size in bytes, or None when absent."""

    def sizes(self, folder: str) -> dict[str, int]:
        """Size in bytes of every name directly inside ``folder``, by name, sorted; empty when the folder is absent."""

    def names(self, folder: str) -> list[str]:
        """All names directly inside ``folder``, sorted; empty when the folder is absent."""

    def entries(self) -> set[str]:
        """First parts of all names ("done", "job.json"), hidden ones too; empty when there is nothing."""

    def retire(self, name: str) -> None:
        """Put ``name`` out of the way (kept under retired/), so that it can be created again. FileNotFoundError when absent."""

    def remove(self, names: Iterable[str]) -> None:
        """Delete; absent names are no error."""

    def drop(self) -> None:
        """Delete everything here, the place itself included. For a job that leaves nothing behind."""

    def append(self, name: str, line: str) -> None:
        """Add one line to a log that only this process writes; it may reach the store some seconds later."""

    def flush(self) -> None:
        """Bring every appended line to the store now."""

    def read_log(self, name: str) -> bytes:
        """All lines appended to ``name``, in order, by earlier processes too; b"" when there are none."""

    def scratch(self) -> Path:
        """A fresh empty folder on this machine for one attempt's unfinished files."""

    def clear_scratch(self) -> None:
        """Drop what killed attempts left behind; only for the one process that supervises the job."""

    def self_test(self) -> None:
        """See that the store is there, can be written, and refuses to create a name twice. Raises InputError."""


def open_store(location: str) -> JobStore:
    """The store behind a job directory's location. Raises InputError when the package for its kind is not installed."""
    if is_remote(location):
        from tasks.objectstore import ObjectStore

        return ObjectStore(location)
    from tasks.localstore import LocalStore

    return LocalStore(location)


def telling[**P, R](
    faults: Callable[[str], AbstractContextManager[None]],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """For methods of a store: they run within ``faults(self.location)``, which tells faults of what is behind it."""

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        @wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with faults(cast(JobStore, args[0]).location):
                return method(*args, **kwargs)

        return call

    return decorate


def json_object(data: bytes | None) -> dict[str, Any] | None:
    """A JSON object as it was written; None for what is absent, torn, or no object."""
    try:
        value = json.loads(data or b"")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_creates_once(store: JobStore) -> None:
    """Create a name twice: the second must fail, and leave the first. Raises InputError, of one line, for this or any fault."""
    name = f".self-test-{secrets.token_hex(8)}"
    try:
        first, second = store.create(name, b"first"), store.create(name, b"second")
        found = store.read(name)
        store.remove([name])
    except StorageError as error:
        raise InputError(str(error)) from error
    if (first, second, found) != (True, False, b"first"):
        raise InputError(
            f"{store.location}: this storage does not keep its promise to create a name only once (a second try "
            f"{'went through' if second else 'was not told apart'}); accepted: a local folder, NFS, Amazon S3, Google Cloud "
            f"Storage, or a store that honours If-None-Match"
        )


def publish_file(local: Path, target: Path) -> None:
    """Rename ``local`` to ``target`` with its bytes on disk first, so that a power cut leaves the old state or the new one.

    From another disk it is copied beside the target first.
    """
    with local.open("rb") as file:
        os.fsync(file.fileno())
    try:
        os.replace(local, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_over(local, target)
    sync_folder(target.parent)


def _copy_over(local: Path, target: Path) -> None:
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with local.open("rb") as source, aside.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
    local.unlink()


def sync_folder(folder: Path) -> None:
    """The names in ``folder`` on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
