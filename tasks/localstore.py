"""A job directory in a folder of a local disk or an NFS mount.

Create-if-absent is link(2), which fails when the name exists; a rename would overwrite. On NFS an answer may be lost and the
call sent again, so that a link of our own making reports that it exists: the number of links tells. A name that NFS has just
called absent is looked for again after its folder was opened, which makes the client ask the server.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tasks.errors import StorageError, fault_of
from tasks.location import absolute
from tasks.store import check_creates_once, publish_file, sync_folder, telling

#: Where attempts keep unfinished files; a name that no user's folder has.
SCRATCH = ".vsalign-scratch"

#: Somebody writes into the folder while it is deleted: so often it is begun again.
_DROP_TRIES = 8
_BUSY = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)


def storage_error(location: str, error: OSError) -> StorageError | None:
    """``error`` as a fault of the storage at ``location``; None for what is no fault of storage (an absent file, say)."""
    what = fault_of(error.errno)
    return StorageError(location, what, error.strerror or type(error).__name__) if what else None


@contextmanager
def _disk_faults(location: str) -> Iterator[None]:
    """Within this block faults of the disk are told as StorageError."""
    try:
        yield
    except OSError as error:
        told = storage_error(location, error)
        if told is None:
            raise
        raise told from error


_told = telling(_disk_faults)


class LocalStore:
    """A JobStore in a folder; see the protocol for what each call promises."""

    def __init__(self, location: str | Path) -> None:
        self.location = absolute(str(location))
        self.root = Path(self.location)
        self._appended: set[str] = set()

    @_told
    def create(self, name: str, data: bytes) -> bool:
        target = self._ready(name)
        aside = _write_aside(target, data)
        try:
            os.link(aside, target)
        except FileExistsError:
            if not _is_linked(aside):
                return False
        except OSError as error:
            if error.errno != errno.EPERM and storage_error("", error):
                raise
            if not _is_linked(aside) and not _create_without_links(target, data):
                return False
        finally:
            aside.unlink(missing_ok=True)
        sync_folder(target.parent)
        return True

    @_told
    def replace(self, name: str, data: bytes) -> None:
        target = self._ready(name)
        _replace(target, data)

    @_told
    def publish(self, local: Path, name: str) -> None:
        publish_file(local, self._ready(name))

    @_told
    def read(self, name: str) -> bytes | None:
        file = self._open(name)
        if file is None:
            return None
        with file:
            return file.read()

    @_told
    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        data = self.read(name)
        return None if data is None else (data, hashlib.sha256(data).hexdigest())

    @_told
    def swap(self, name: str, data: bytes, tag: str) -> bool:
        try:
            with self._swapping():
                found = self.read_tagged(name)
                if found is None or found[1] != tag:
                    return False
                _replace(self.root / name, data)
        except FileNotFoundError:
            return False  # the folder itself is gone
        return True

    @_told
    def fetch(self, name: str, fresh: bool = False) -> Path:
        file = self._open(name)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", f"{self.location}/{name}")
        file.close()
        return self.root / name

    @_told
    def size(self, name: str) -> int | None:
        file = self._open(name)
        if file is None:
            return None
        with file:
            return os.fstat(file.fileno()).st_size

    @_told
    def sizes(self, folder: str) -> dict[str, int]:
        prefix = f"{folder}/" if folder else ""
        found = {}
        try:
            for entry in os.scandir(self.root / folder):
                if entry.is_file() and not entry.name.startswith("."):
                    with suppress(FileNotFoundError):
                        found[prefix + entry.name] = entry.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return dict(sorted(found.items()))

    def names(self, folder: str) -> list[str]:
        return list(self.sizes(folder))

    @_told
    def entries(self) -> set[str]:
        try:
            return set(os.listdir(self.root))
        except FileNotFoundError:
            return set()
        except NotADirectoryError:
            return {self.root.name}

    @_told
    def retire(self, name: str) -> None:
        target = self._ready(f"retired/{secrets.token_hex(4)}-{Path(name).name}")
        os.replace(self.root / name, target)

    @_told
    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self.root / name).unlink(missing_ok=True)

    @_told
    def drop(self) -> None:
        for tries in range(_DROP_TRIES):
            try:
                shutil.rmtree(self.root)
            except OSError as error:
                if os.path.lexists(self.root) and (error.errno not in _BUSY or tries == _DROP_TRIES - 1):
                    raise
            if not os.path.lexists(self.root):
                break
            time.sleep(0.02 * 2**tries)

    @_told
    def append(self, name: str, line: str) -> None:
        with self._ready(name).open("ab+") as log:
            if name not in self._appended and log.tell():
                log.seek(-1, os.SEEK_END)
                # A kill may have torn the last line; ours begins anew.
                line = line if log.read(1) == b"\n" else "\n" + line
            self._appended.add(name)
            log.write(line.encode() + b"\n")

    def flush(self) -> None:
        """Lines are in the file already."""

    def read_log(self, name: str) -> bytes:
        return self.read(name) or b""

    @_told
    def scratch(self) -> Path:
        folder = self.root / SCRATCH / secrets.token_hex(6)
        folder.mkdir(parents=True)
        return folder

    def clear_scratch(self) -> None:
        shutil.rmtree(self.root / SCRATCH, ignore_errors=True)

    def self_test(self) -> None:
        check_creates_once(self)

    def _ready(self, name: str) -> Path:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _open(self, name: str) -> BinaryIO | None:
        path = self.root / name
        for last in (False, True):
            try:
                return path.open("rb")
            except (FileNotFoundError, NotADirectoryError):
                if last or not _asked_the_server(path.parent):
                    return None
        return None

    @contextmanager
    def _swapping(self) -> Iterator[None]:
        with (self.root / ".swap-lock").open("a") as file:
            with suppress(OSError):  # a mount without locks: two may swap at once, which records survive
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _write_aside(target: Path, data: bytes) -> Path:
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    return aside


def _replace(target: Path, data: bytes) -> None:
    os.replace(_write_aside(target, data), target)
    sync_folder(target.parent)


def _is_linked(aside: Path) -> bool:
    """A second name exists: the link was made, whatever the call reported."""
    with aside.open("rb") as file:
        return os.fstat(file.fileno()).st_nlink == 2


def _asked_the_server(folder: Path) -> bool:
    """Opening a folder makes an NFS client see whether it has changed. False when there is no such folder."""
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        return False
    return True


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
