"""A job directory in a bucket: s3://BUCKET/FOLDER or gs://BUCKET/FOLDER.

An object appears whole or not at all, and a conditional write creates a name only once. Files are read through copies on this
machine; unfinished ones lie there too.
"""

from __future__ import annotations

import errno
import secrets
import shutil
import time
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path

from tasks import nodefolder
from tasks.blobcache import BlobCache
from tasks.errors import StorageError
from tasks.location import absolute
from tasks.objectclients import ABSENT, ObjectClient, open_client
from tasks.objectfaults import faults_told, storage_error
from tasks.objectlog import ObjectLog
from tasks.store import check_creates_once, telling
from vsalign.errors import InputError

#: A file that did not get through is sent again, on top of what the client itself tries.
_UPLOAD_TRIES = 3


#: What the client raises is told as StorageError.
_told = telling(faults_told)


class ObjectStore:
    """A JobStore of objects; see the protocol for what each call promises. Files from ``fetch`` live as long as it does."""

    def __init__(self, location: str, client: ObjectClient | None = None) -> None:
        self.location = absolute(location)
        opened, folder = open_client(self.location)
        self._client, self._prefix = client or opened, f"{folder}/" if folder else ""
        # Without a reference to this store, which would keep it, and the files that it fetched, alive.
        self._log = ObjectLog(partial(_write, self._client, self.location, self._prefix))

    @_told
    def create(self, name: str, data: bytes) -> bool:
        return self._client.put(self._prefix + name, data, ABSENT)

    @_told
    def replace(self, name: str, data: bytes) -> None:
        self._client.put(self._prefix + name, data)

    @_told
    def publish(self, local: Path, name: str) -> None:
        send(self._client, local, self._prefix + name, {})
        local.unlink()

    @_told
    def read(self, name: str) -> bytes | None:
        found = self._client.get(self._prefix + name)
        return None if found is None else found[0]

    @_told
    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        return self._client.get(self._prefix + name)

    @_told
    def swap(self, name: str, data: bytes, tag: str) -> bool:
        return self._client.put(self._prefix + name, data, tag)

    @_told
    def fetch(self, name: str, fresh: bool = False) -> Path:
        key = self._prefix + name
        found = self._client.stat(key)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", f"{self.location}/{name}")
        address = f"{self.location}/{name}"

        def download(local: Path) -> None:
            self._client.download(key, local)

        return self._copies.take(address, found.tag, found.size, download, self._held, fresh)

    @_told
    def size(self, name: str) -> int | None:
        found = self._client.stat(self._prefix + name)
        return None if found is None else found.size

    @_told
    def sizes(self, folder: str) -> dict[str, int]:
        inside = f"{self._prefix}{folder}/" if folder else self._prefix
        found, _ = self._client.listing(inside, "/")
        shown = {key: size for key, size in found.items() if key != inside and not key[len(inside) :].startswith(".")}
        return {key[len(self._prefix) :]: shown[key] for key in sorted(shown)}

    def names(self, folder: str) -> list[str]:
        return list(self.sizes(folder))

    @_told
    def entries(self) -> set[str]:
        files, folders = self._client.listing(self._prefix, "/")
        return {key[len(self._prefix) :].rstrip("/") for key in {*files, *folders}} - {""}

    @_told
    def retire(self, name: str) -> None:
        key = self._prefix + name
        if self._client.stat(key) is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", f"{self.location}/{name}")
        self._client.copy(key, f"{self._prefix}retired/{secrets.token_hex(4)}-{Path(name).name}")
        self._client.delete([key])

    @_told
    def remove(self, names: Iterable[str]) -> None:
        self._client.delete([self._prefix + name for name in names])

    @_told
    def drop(self) -> None:
        if not self._prefix:
            raise InputError(f"{self.location}: a whole bucket is never deleted; accepted: s3://BUCKET/FOLDER")
        found, _ = self._client.listing(self._prefix, "")
        self._client.delete(found)

    def append(self, name: str, line: str) -> None:
        self._log.append(name, line)

    def flush(self) -> None:
        self._log.flush()

    @_told
    def read_log(self, name: str) -> bytes:
        found, _ = self._client.listing(f"{self._prefix}{name}.", "/")
        parts = (self._client.get(key) for key in sorted(found))
        return b"".join(part[0] for part in parts if part is not None)

    def scratch(self) -> Path:
        return nodefolder.process_folder("scratch")

    def clear_scratch(self) -> None:
        nodefolder.drop_dead("scratch")
        nodefolder.drop_dead("held")
        with suppress(StorageError):  # tidiness: who may not see them goes on without
            self._abort_uploads()

    def self_test(self) -> None:
        check_creates_once(self)

    @cached_property
    def _held(self) -> Path:
        folder = nodefolder.process_folder("held")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    @cached_property
    def _copies(self) -> BlobCache:
        return BlobCache(nodefolder.node_folder("copies"), nodefolder.cache_share_bytes())

    @_told
    def _abort_uploads(self) -> None:
        if self._prefix:
            self._client.abort_uploads(self._prefix)


def _write(client: ObjectClient, location: str, prefix: str, name: str, data: bytes) -> None:
    with faults_told(location):
        client.put(prefix + name, data)


def send(client: ObjectClient, local: Path, key: str, notes: Mapping[str, str]) -> None:
    """Upload a file, again if need be, and see that it is there whole. Raises StorageError and what the client raises."""
    for tries in range(_UPLOAD_TRIES):
        try:
            client.upload(local, key, notes)
            break
        except Exception as error:
            if storage_error(key, error).what != "unreachable" or tries == _UPLOAD_TRIES - 1:
                raise
            time.sleep(2.0**tries)
    found = client.stat(key)
    if found is None or found.size != local.stat().st_size:
        raise StorageError(key, "unreachable", "it did not arrive whole")
