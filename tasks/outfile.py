"""OUT, a path or the address of an object: where an attempt writes it, and how it appears there whole."""

from __future__ import annotations

import glob
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import StorageError, unreadable
from tasks.location import check_address, is_remote, name, parent, suffix
from tasks.objectfaults import faults_told
from tasks.store import file_sha256, open_store, publish_file
from vsalign.errors import InputError

if TYPE_CHECKING:
    from tasks.objectclients import ObjectClient, ObjectFacts

#: The note by which an object of ours tells its hash without being read.
_SHA256 = "vsalign-sha256"


def out_size(location: str) -> int | None:
    """Bytes of the file or object, None when there is none. Raises StorageError."""
    if is_remote(location):
        found = _stat_object(location)
        return found.size if found else None
    return _file_size(location)


def out_sha256(location: str) -> str | None:
    """Hex sha256 of its bytes, None when there is none; an object that we published tells its own. Raises StorageError."""
    if not is_remote(location):
        return _file_sha256(location) if _file_size(location) is not None else None
    found = _stat_object(location)
    if found is None or _SHA256 in found.notes:
        return found.notes[_SHA256] if found else None
    store = open_store(parent(location))
    return file_sha256(store.fetch(name(location)))


def part_for(location: str, scratch: Path, token: str) -> Path:
    """Where an attempt writes what will be ``location``: beside a path, for a rename; in ``scratch`` for an object."""
    if is_remote(location):
        return scratch / f"{_stem(location)}.part-{token}{suffix(location)}"
    # Resolved, so that a link is followed and not replaced.
    out = Path(location).resolve()
    return out.with_name(f".{out.stem}.part-{token}{out.suffix}")


def publish_out(local: Path, location: str, sha256: str = "") -> None:
    """Move a finished file to ``location``, durable, whole and over what was there. Raises StorageError; OSError for a path.

    ``sha256``: of its bytes, where it is known.
    """
    if not is_remote(location):
        publish_file(local, Path(location).resolve())
        return
    from tasks.objectstore import send

    client, key = _client(location)
    with faults_told(location):
        send(client, local, key, {_SHA256: sha256 or file_sha256(local)})
    local.unlink()


def write_out(location: str, data: bytes) -> None:
    """``data`` as the whole content of ``location``; raises as :func:`publish_out`."""
    if is_remote(location):
        client, key = _client(location)
        with faults_told(location):
            client.put(key, data)
        return
    out = Path(location).resolve()
    part = out.with_name(f".{out.name}.part")
    part.write_bytes(data)
    publish_file(part, out)


def drop_parts(location: str) -> None:
    """Delete what killed attempts left beside a path; only while nobody writes it. An object has no such parts."""
    if is_remote(location):
        return
    out = Path(location).resolve()
    stem, ending = glob.escape(f".{out.stem}.part"), glob.escape(out.suffix)
    for left in (*out.parent.glob(f"{stem}{ending}"), *out.parent.glob(f"{stem}-*{ending}")):
        with suppress(OSError):
            left.unlink()


def check_writable(location: str) -> None:
    """See that an object may be written beside ``location``. Raises InputError; a path is seen to without writing elsewhere."""
    if not is_remote(location):
        return
    check_address(location)
    store, trial = open_store(parent(location)), f".write-test-{secrets.token_hex(8)}"
    try:
        store.replace(trial, b"")
        store.remove([trial])
    except StorageError as error:
        raise InputError(str(error)) from None


def _file_size(path: str) -> int | None:
    """Bytes of a file, None when there is none; a disk that gives no answer is not taken for that."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _file_sha256(path: str) -> str | None:
    """Hash of a file that was there, None when it has just gone."""
    try:
        return file_sha256(Path(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error


def _stat_object(location: str) -> ObjectFacts | None:
    client, key = _client(location)
    with faults_told(location):
        return client.stat(key)


def _stem(location: str) -> str:
    return os.path.splitext(name(location))[0]


def _client(location: str) -> tuple[ObjectClient, str]:
    from tasks.objectclients import open_client

    return open_client(location)
