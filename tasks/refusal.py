"""Errors of an attempt that are a disk's doing, told as such: which disk, and what it refuses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import StorageError, fault_of

#: With less than this free a write that failed without a reason failed for want of space (NumPy names none).
_NEARLY_FULL_BYTES = 1 << 20


@contextmanager
def refusals_told(*folders: str | Path) -> Iterator[None]:
    """Within this block an error by which one of ``folders``, where the attempt writes, refuses becomes a StorageError."""
    try:
        yield
    except Exception as error:
        told = storage_error_of(error, [str(folder) for folder in folders])
        if told is None or told is error:
            raise
        raise told from error


def storage_error_of(error: BaseException, folders: Sequence[str]) -> StorageError | None:
    """``error``, or what led to it, as a disk's refusal of what an attempt writes to ``folders``; None when it is none."""
    for cause in causes_of(error):
        if isinstance(cause, StorageError):
            return cause
        if isinstance(cause, OSError) and (told := _refusal(cause, folders)) is not None:
            return told
    return None


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _refusal(error: OSError, folders: Sequence[str]) -> StorageError | None:
    where = _folder_of(error, folders)
    why = error.strerror or str(error) or type(error).__name__
    told = fault_of(error.errno)
    if told == "full":
        place = where or next((folder for folder in folders if _is_nearly_full(folder)), folders[0])
        return StorageError(place, "full", f"{why}{_space(place)}")
    if told is not None:
        # Elsewhere it is the film that cannot be read. A broken read or write names no file: then the folder itself is asked.
        where = where or ("" if error.filename or told == "denied" else _silent(folders))
        return StorageError(where, told, why) if where else None
    if error.errno is None or error.errno == 0:
        full = next((folder for folder in folders if _is_nearly_full(folder)), "")
        return StorageError(full, "full", f"{why}{_space(full)}") if full else None
    return None


def _folder_of(error: OSError, folders: Sequence[str]) -> str:
    """Which of ``folders`` the error's file lies in; "" for another one or none."""
    names = [os.path.abspath(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return next((folder for folder in folders for name in names if name == folder or name.startswith(f"{folder}/")), "")


def _silent(folders: Sequence[str]) -> str:
    """Which of ``folders`` gives no answer; "" when all do. An address is none."""
    for folder in folders:
        try:
            os.stat(folder)
        except OSError as error:
            if fault_of(error.errno) == "unreachable":
                return folder
    return ""


def _is_nearly_full(folder: str) -> bool:
    try:
        return shutil.disk_usage(folder).free < _NEARLY_FULL_BYTES
    except OSError:
        return False


def _space(folder: str) -> str:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return ""
    return f"; {usage.free / 1e6:.0f} of {usage.total / 1e6:.0f} MB free"
