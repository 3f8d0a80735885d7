"""The worker that made the bytes commits them: blob first, record last, whoever is first wins."""

from __future__ import annotations

import secrets
import socket
from functools import cache
from importlib.metadata import distributions, version
from pathlib import Path

from tasks.store import JobStore, file_sha256
from tasks.work import RECORD_SCHEMA, Record, Work

_OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")


def find_record(store: JobStore, work: Work) -> Record | None:
    """The valid record of ``work``, its blob present and of the right size; None otherwise."""
    data = store.read(work.record_name)
    if data is None:
        return None
    try:
        record = Record.from_json(data)
    except ValueError:
        return None
    if record.fingerprint != work.fingerprint or store.size(record.blob) != record.size_bytes:
        return None
    return record


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
    record = Record(
        schema=RECORD_SCHEMA,
        work=work.name,
        fingerprint=work.fingerprint,
        inputs=work.inputs,
        blob=blob,
        sha256=file_sha256(made),
        size_bytes=made.stat().st_size,
        num_frames=work.num_frames,
        attempt=attempt,
        seconds=round(seconds, 3),
        host=socket.gethostname(),
        device=device,
        versions=library_versions(),
        facts=facts or {},
    )
    store.publish(made, blob)
    if store.create(work.record_name, record.to_json()):
        return record
    earlier = find_record(store, work)
    if earlier is not None:
        store.remove([blob])
        return earlier
    store.retire(work.record_name)
    store.create(work.record_name, record.to_json())
    return find_record(store, work) or record


@cache
def library_versions() -> dict[str, str]:
    """Versions of what can change a result's bytes, looked up once. OpenCV comes in several packages of one name."""
    opencv = next((version(name) for name in _OPENCV if any(distributions(name=name))), "")
    return {**{name: version(name) for name in ("av", "numpy", "torch", "numba")}, "opencv": opencv}
