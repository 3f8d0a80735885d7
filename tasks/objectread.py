"""Ranged reads of one version of an object in a store, with what was fetched counted."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tasks.errors import SourceChanged, StorageError
from tasks.location import check_address
from tasks.objectclients import file_system
from tasks.objectfaults import faults_told

#: Seconds before a read that failed is tried again; the store's own client has tried a few times by then.
PAUSES = (1.0, 4.0, 10.0)

_lock = threading.Lock()
_fetched = {"bytes": 0}


def bytes_fetched() -> int:
    """Bytes that this process has fetched from stores for its sources so far."""
    return _fetched["bytes"]


@dataclass(frozen=True, slots=True)
class ObjectReader:
    """One version of an object. ``version``: its ETag (S3) or generation (GCS), "" where the store has neither."""

    address: str
    size: int
    version: str
    _read: Callable[[int, int], bytes | None]

    def read(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of this version. Raises SourceChanged when the object is another by now, StorageError."""
        try:
            data = _told(self.address, lambda: self._read_whole(start, stop), PAUSES)
        except FileNotFoundError:
            raise SourceChanged(self.address, "it is gone") from None
        if data is None:
            raise SourceChanged(self.address, "it was written again")
        with _lock:
            _fetched["bytes"] += len(data)
        return data

    def _read_whole(self, start: int, stop: int) -> bytes | None:
        data = self._read(start, stop)
        if data is not None and len(data) != stop - start:
            raise ConnectionError(f"{len(data)} of {stop - start} bytes came")
        return data


def open_object(address: str, version: str = "") -> ObjectReader:
    """The object as it is now, which must be of ``version`` unless that is "".

    Raises FileNotFoundError, or with a ``version`` SourceChanged; IsADirectoryError; StorageError; InputError where the store's
    client is not installed, and for a bad address.
    """
    check_address(address)
    try:
        # Nobody waits long for an address that is mistyped; a film that was read before is worth waiting for.
        details, read = _told(address, lambda: _opened(address), PAUSES if version else ())
    except FileNotFoundError:
        if version:
            raise SourceChanged(address, "it is gone") from None
        raise
    if details.get("type") == "directory":
        raise IsADirectoryError(errno.EISDIR, "is a folder", address)
    found = str(details.get("generation") or details.get("ETag") or "").strip('"')
    if version and found != version:
        raise SourceChanged(address, "it was written again")
    return ObjectReader(address, int(details["size"]), found, read)


def _opened(address: str) -> tuple[dict[str, Any], Callable[[int, int], bytes | None]]:
    """What the store says of the object, and a function that reads [start, stop) of this very version, None of another."""
    files = file_system(address.partition("://")[0])
    if not address.startswith("s3://"):
        details = files.info(address)
        pinned = {"generation": details["generation"]} if "generation" in details else {}
        return details, lambda start, stop: bytes(files.cat_file(address, start=start, end=stop, **pinned))
    # The file object of S3 asks for the ETag that it found with every read.
    file = files.open(address, "rb", cache_type="none")

    def read(start: int, stop: int) -> bytes | None:
        file.seek(start)
        try:
            return bytes(file.read(stop - start))
        except OSError as error:
            if type(error).__name__ == "FileExpired":
                return None
            raise

    return file.details, read


def _told[T](address: str, attempt: Callable[[], T], pauses: tuple[float, ...]) -> T:
    """``attempt``, again after each pause while the store is out of reach. Raises FileNotFoundError, StorageError."""
    for pause in pauses:
        try:
            return _once(address, attempt)
        except StorageError as error:
            if error.what != "unreachable":
                raise
        time.sleep(pause)
    return _once(address, attempt)


def _once[T](address: str, attempt: Callable[[], T]) -> T:
    with faults_told(address):
        try:
            return attempt()
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "no such object", address) from None
