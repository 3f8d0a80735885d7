"""final.json: what a job published last, by which a later run knows OUT for its own."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from tasks.store import JobStore

_NAME = "final.json"


@dataclass(frozen=True, slots=True)
class Final:
    """What was published: the hash of all it was made of, the file's own hash, and whether it has sound."""

    fingerprint: str
    sha256: str
    has_audio: bool


def read_final(store: JobStore) -> Final | None:
    """What this job published last; None when it has not, or its note is torn."""
    try:
        return Final(**json.loads(store.read(_NAME) or b""))
    except (ValueError, TypeError):
        return None


def write_final(store: JobStore, final: Final) -> None:
    """To be called before OUT is published: a kill between the two leaves an OUT that a later run knows as its own."""
    store.replace(_NAME, (json.dumps(asdict(final), indent=1) + "\n").encode())
