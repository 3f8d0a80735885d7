"""final.json: what a job published last, by which a later run knows OUT for its own."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from tasks.contents import Contents
from tasks.store import JobStore

_NAME = "final.json"


@dataclass(frozen=True, slots=True)
class Final:
    """What was published: the hash of all it was made of, the file's own hash, and what was found beside its picture when it
    was read back before that (the text of a :class:`tasks.contents.Contents`; "" in the note of an earlier version, which did
    not say)."""

    fingerprint: str
    sha256: str
    contents: str = ""
    previous_sha256: tuple[str, ...] = ()
    """Of this job's earlier films, one of which is at OUT until this one is known to be there."""
    left_out: str = ""
    """In words, what of the chosen streams it has no place for."""

    @property
    def expected(self) -> Contents | None:
        return Contents.from_json(self.contents) if self.contents else None


def read_final(store: JobStore) -> Final | None:
    """What this job published last; None when it has not, or its note is torn."""
    try:
        note = json.loads(store.read(_NAME) or b"")
        note.pop("has_audio", None)  # of an earlier version
        final = Final(**note)
        return replace(final, previous_sha256=tuple(final.previous_sha256))
    except (ValueError, TypeError, AttributeError):
        return None


def write_final(store: JobStore, final: Final) -> None:
    """To be called before OUT is published: a kill between the two leaves an OUT, the earlier film or this one, that a later
    run knows as its own."""
    earlier = read_final(store)
    films = (earlier.sha256, *earlier.previous_sha256) if earlier else ()
    _write(store, replace(final, previous_sha256=tuple(dict.fromkeys(film for film in films if film != final.sha256))))


def settle_final(store: JobStore, final: Final) -> None:
    """To be called when ``final`` is at OUT: no earlier film there is ours any more, nor one that came late."""
    if read_final(store) != final:
        _write(store, final)


def _write(store: JobStore, final: Final) -> None:
    store.replace(_NAME, (json.dumps(asdict(final), indent=1) + "\n").encode())
