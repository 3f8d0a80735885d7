"""The worker that made the bytes commits them: blob first, record last, whoever is first wins."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from functools import cache
from importlib.metadata import distributions, version
from pathlib import Path

from tasks.damage import may_be_used, read_of
from tasks.errors import unreadable
from tasks.outfile import out_size
from tasks.store import JobStore, file_sha256
from tasks.work import RECORD_SCHEMA, STITCH, Record, Work

_OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")


def find_record(store: JobStore, work: Work) -> Record | None:
    """The valid record of ``work``, its blob present and of the right size, made as ``work`` reads damaged frames; None
    otherwise."""
    data = store.read(work.record_name)
    if data is None:
        return None
    try:
        record = Record.from_json(data)
    except ValueError:
        return None
    if record.fingerprint != work.fingerprint or not may_be_used(record.facts, read_of(work)):
        return None
    if result_size(store, record) != record.size_bytes:
        return None
    return record


def result_size(store: JobStore, record: Record) -> int | None:
    """Size in bytes of what a record names, None when it is gone: a file of the job or, of the stitch, the published film."""
    return out_size(record.blob) if record.work == STITCH else store.size(record.blob)


def whole_blob(store: JobStore, blob: str, sha256: str) -> Path | None:
    """The file behind ``blob`` with the bytes of ``sha256``, fetched a second time where it came with others; None when those
    are what there is, or nothing. Raises StorageError where it can't be read, which says nothing of its bytes."""
    try:
        for fresh in (False, True):
            file = store.fetch(blob, fresh=fresh)
            if file_sha256(file) == sha256:
                return file
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(store.location, error, blob) from error
    return None


def retire_result(store: JobStore, record_name: str, blob: str) -> None:
    """Put a record aside (kept under retired/) whose ``blob`` is not what it says, so that its unit can be done again. A record
    that names another blob by now stays, and so does the blob: it may have been read wrong."""
    with suppress(ValueError, FileNotFoundError):
        if Record.from_json(store.read(record_name) or b"").blob == blob:
            store.retire(record_name)


def commit(
    store: JobStore,
    work: Work,
    made: Path,
    *,
    folder: str,
    attempt: int,
    seconds: float,
    device: str = "cpu",
    facts: dict[str, float | int | str] | None = None,
) -> Record:
    """Publish ``made`` as the result of ``work`` and create its record; when another attempt was first, its record is returned.

    A record that exists but can't be trusted (torn, or its blob lost) is put aside and replaced.
    """
    blob = f"{folder}/{work.name}-{work.fingerprint[:12]}-{attempt}-{secrets.token_hex(3)}{made.suffix}"
    sha256, size = file_sha256(made), made.stat().st_size
    record = record_of(work, blob, sha256, size, attempt=attempt, seconds=seconds, device=device, facts=facts or {})
    store.publish(made, blob)
    if store.create(work.record_name, record.to_json()):
        return record
    earlier = find_record(store, work)
    if earlier is not None:
        store.remove([blob])
        return earlier
    return put_in_place(store, work, record)


def put_in_place(store: JobStore, work: Work, record: Record) -> Record:
    """Create ``record`` where one that can't be trusted may be; when another attempt does so too, what is there counts."""
    with suppress(FileNotFoundError):
        store.retire(work.record_name)
    store.create(work.record_name, record.to_json())
    return find_record(store, work) or record


def record_of(
    work: Work,
    blob: str,
    sha256: str,
    size_bytes: int,
    *,
    attempt: int,
    seconds: float,
    device: str,
    facts: dict[str, float | int | str],
) -> Record:
    """The record that ``work`` is done here: ``blob`` holds ``size_bytes`` bytes of ``sha256``."""
    return Record(
        schema=RECORD_SCHEMA,
        work=work.name,
        fingerprint=work.fingerprint,
        inputs=work.inputs,
        blob=blob,
        sha256=sha256,
        size_bytes=size_bytes,
        num_frames=work.num_frames,
        attempt=attempt,
        seconds=round(seconds, 3),
        host=socket.gethostname(),
        device=device,
        versions=library_versions(),
        facts=facts,
    )


@cache
def library_versions() -> dict[str, str]:
    """Versions of what can change a result's bytes, looked up once: packages, the FFmpeg behind PyAV, and the encoders' own
    libraries, which PyAV's version does not pin. OpenCV comes in several packages of one name."""
    from tasks.builds import ffmpeg_version, signed_encoders

    opencv = next((version(name) for name in _OPENCV if any(distributions(name=name))), "")
    packages = {name: version(name) for name in ("av", "numpy", "torch", "numba")}
    return {**packages, "opencv": opencv, "ffmpeg": ffmpeg_version(), **signed_encoders()}
