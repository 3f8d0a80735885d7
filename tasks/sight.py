"""What a machine sees of a job: a worker looks before it is given work, so that nothing is made where nobody finds it."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from tasks.errors import StorageError
from tasks.location import is_remote, parent
from tasks.remote import source_size
from tasks.sequence import is_pattern
from tasks.store import JobStore, open_store
from vsalign.errors import InputError

_JOB_FILE = "job.json"


@dataclass(frozen=True, slots=True)
class Sight:
    """What the run's own machine sees. What lies in an object store (an address) is not looked for here."""

    job_dir: str
    job_sha256: str
    """Of job.json, by which the job directory is known for the same one."""
    out: str
    """"" for a worker that does not publish the film."""
    sources: tuple[tuple[str, int], ...]
    """Paths of the files that are read, and their sizes in bytes."""
    version: str
    """Of vsalign."""


def see(paths: Sight) -> str:
    """One line on what this machine lacks of ``paths``, "" when all is there."""
    looks: tuple[Callable[[Sight], str], ...] = (_other_version, _no_job, _no_out, _no_source)
    try:
        missing = next((line for look in looks if (line := look(paths))), "")
    except StorageError as error:
        missing = str(error)
    return f"{socket.gethostname()}: {missing}" if missing else ""


def own_version() -> str:
    """Version of vsalign in this process, "" where it runs from a folder without having been installed."""
    try:
        return version_of("vsalign")
    except PackageNotFoundError:
        return ""


def job_sha256(store: JobStore) -> str:
    """What tells this job directory from all others; "" when it is none."""
    data = store.read(_JOB_FILE)
    return "" if data is None else hashlib.sha256(data).hexdigest()


def open_job_store(location: str) -> JobStore:
    """The store of a job that was opened before. Raises StorageError where its folder is not: a worker must not make another
    of that name on a machine that does not mount it."""
    if not is_remote(location) and not os.path.isdir(location):
        raise StorageError(location, "unreachable", f"{socket.gethostname()} does not see this folder")
    return open_store(location)


def _other_version(paths: Sight) -> str:
    ours = own_version()
    return "" if ours == paths.version else f"vsalign {ours or '(not installed)'}, this run has {paths.version or 'no version'}"


def _no_job(paths: Sight) -> str:
    if is_remote(paths.job_dir) or job_sha256(open_job_store(paths.job_dir)) == paths.job_sha256:
        return ""
    return f"{paths.job_dir} is not the job directory that this run has there"


def _no_out(paths: Sight) -> str:
    if not paths.out or is_remote(paths.out):
        return ""
    folder = parent(paths.out)
    if not os.path.isdir(folder):
        return f"OUT's folder {folder} is not there"
    return "" if os.access(folder, os.W_OK) else f"OUT's folder {folder} can't be written"


def _no_source(paths: Sight) -> str:
    return next((line for path, size in paths.sources if not is_remote(path) and (line := _no_file(path, size))), "")


def _no_file(path: str, size: int) -> str:
    try:
        found = source_size(path)
    except OSError as error:
        return f"{path} can't be seen ({error.strerror})"
    except InputError as error:  # of an image sequence not every file is there
        return str(error)
    if found != size:
        return f"{path} has {found} bytes, this run's has {size}"
    return "" if is_pattern(path) or os.access(path, os.R_OK) else f"{path} can't be read"
