"""Records found in the job directory + units wanted -> what is reused, what is done again, and why."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from tasks.commit import retire_result, whole_blob
from tasks.damage import may_be_used, read_of
from tasks.location import is_remote
from tasks.messages import ReadSettings
from tasks.outfile import out_sha256, out_size
from tasks.store import JobStore
from tasks.work import STITCH, Record, Work, unit_of

#: Inputs whose values tell people nothing, and inputs that change with others, which say it better.
_DIGESTS = {
    "frame map",
    "frame map halo",
    "film geometry",
    "expected frames",
    "scans",
    "solve",
    "costs",
    "segments",
    "streams",
    "sound plan",
}
_FOLLOWS_FROM = {
    "frame map halo": {"align.smooth_time", "align.warp"},
    "film geometry": {"align.warp"},
    "streams": {f"streams.{kind}" for kind in ("audio", "subtitles", "attachments", "chapters", "tags")},
}
#: Files that are read at once; a store far away answers many questions in the time of one.
_AT_ONCE = 16
#: From so many bytes on, checking them takes long enough to be told of, and again every so often.
_LONG_CHECK_BYTES, _SECONDS_BETWEEN_LINES = 2_000_000_000, 10.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Found:
    """Records of a job directory that can be trusted, the sizes of their files, and how many could not be read."""

    records: tuple[Record, ...]
    blob_sizes: Mapping[str, int | None]
    num_unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Reuse:
    """Units of a stage sorted into done and to do; ``why_stale`` counts chunks by what changed since they were made."""

    done: dict[str, Record]
    todo: list[Work]
    num_stale: int
    num_missing: int
    num_lost: int
    why_stale: dict[str, int]
    num_damaged: int = 0
    num_refused: int = 0
    """Of the stale ones: what holds replaced frames where the settings want none, or where the film was written again."""

    @property
    def has_news(self) -> bool:
        """There is more to tell than that everything is still to be done."""
        return bool(self.done or self.num_stale or self.num_lost or self.num_damaged)

    def describe(self, noun: str) -> str:
        """One line: "reused 212 chunks, stale 14 (encode.crf 18 -> 20), missing 30"."""
        parts = [f"reused {len(self.done)} {noun}"]
        if self.num_stale:
            parts.append(f"stale {self.num_stale} ({'; '.join(self.why_stale)})")
        if self.num_lost:
            parts.append(f"lost {self.num_lost} (recorded, but the file is gone or has another size)")
        if self.num_damaged:
            parts.append(f"damaged {self.num_damaged} (bytes differ from the record)")
        parts.append(f"missing {self.num_missing}")
        return ", ".join(parts)


def find_results(store: JobStore, works: Sequence[Work], say: Say) -> Reuse:
    """What earlier runs have done of ``works``; ``say`` gets lines for the user.

    Files that lie on disks here are compared with their records; what differs, like a torn record, is put aside, so that it is
    made again. Files in an object store, which checks its own, are compared where they are joined.
    """
    found = load_records(store, works)
    if found.num_unreadable:
        say(f"{found.num_unreadable} unreadable records were put aside (retired/)")
    reuse = sort_units(works, found)
    damaged = damaged_units(store, reuse.done, say)
    for work in works:
        if work.name in damaged:
            retire_result(store, work.record_name, reuse.done[work.name].blob)
    return without(reuse, works, damaged)


def load_records(store: JobStore, works: Sequence[Work] | None = None) -> Found:
    """Read the records of ``works``, those of earlier settings too, or every record; one that is torn counts as absent and is
    put aside, so that it can be made again."""
    wanted = None if works is None else {work.name for work in works}
    names = [name for name in store.names("done") if wanted is None or unit_of(name) in wanted]
    records, unreadable = [], 0
    with ThreadPoolExecutor(_AT_ONCE) as readers:
        for name, data in zip(names, readers.map(store.read, names), strict=True):
            try:
                if data is not None:
                    records.append(Record.from_json(data))
            except ValueError:
                store.retire(name)
                unreadable += 1
    return Found(tuple(records), _sizes(store, records), unreadable)


def sort_units(works: Sequence[Work], found: Found) -> Reuse:
    """PURE: a unit is done when a record has its fingerprint and the blob is there in full size, and damaged frames were
    replaced for it as :func:`tasks.damage.may_be_used` allows."""
    alike: dict[tuple[str, str], list[Record]] = {}
    by_name: dict[str, list[Record]] = {}
    for record in found.records:
        alike.setdefault((_kind(record.work), record.fingerprint), []).append(record)
        by_name.setdefault(record.work, []).append(record)
    done: dict[str, Record] = {}
    todo: list[Work] = []
    lost, stale, refused = 0, 0, 0
    why: Counter[str] = Counter()
    for work in works:
        matches = alike.get((_kind(work.name), work.fingerprint), [])
        usable = [record for record in matches if may_be_used(record.facts, read_of(work))]
        match = usable[-1] if usable else None
        if matches and not usable:
            todo.append(work)
            stale, refused = stale + 1, refused + 1
            why[_why_refused(read_of(work))] += 1
            continue
        if match is not None and found.blob_sizes.get(match.blob) == match.size_bytes:
            done[work.name] = match
            continue
        todo.append(work)
        lost += match is not None
        if match is None and work.name in by_name:
            stale += 1
            why[_difference(work, by_name[work.name])] += 1
    return Reuse(done, todo, stale, len(todo) - stale - lost, lost, dict(why.most_common()), num_refused=refused)


def _why_refused(read: ReadSettings) -> str:
    if read.on_corrupt == "repeat":
        return "a film in which frames were damaged was written again"
    return f"decode.on_corrupt repeat -> {read.on_corrupt}"


def _kind(name: str) -> str:
    """What a unit is beside its number, which changes with the bounds of chunks: "scan-clip" of "scan-clip-00012"."""
    return name.rstrip("-0123456789")


def without(reuse: Reuse, works: Sequence[Work], damaged: Collection[str]) -> Reuse:
    """PURE: ``reuse`` of ``works`` with the ``damaged`` units among those to be done, in their order."""
    if not damaged:
        return reuse
    done = {name: record for name, record in reuse.done.items() if name not in damaged}
    return replace(reuse, done=done, todo=[work for work in works if work.name not in done], num_damaged=len(damaged))


def damaged_units(store: JobStore, done: Mapping[str, Record], say: Say) -> set[str]:
    """Names of the units whose file has other bytes than its record says, as far as it lies on a disk here."""
    here = [name for name, record in done.items() if record.work == STITCH or not is_remote(store.location)]
    total = sum(done[name].size_bytes for name in here)
    if total >= _LONG_CHECK_BYTES:
        say(f"checking {len(here)} finished files, {total / 1e9:.0f} GB")
    damaged, checked, next_line = set(), 0, time.monotonic() + _SECONDS_BETWEEN_LINES
    with ThreadPoolExecutor(_AT_ONCE) as readers:
        for name, is_whole in zip(here, readers.map(lambda name: _is_whole(store, done[name]), here), strict=True):
            if not is_whole:
                damaged.add(name)
            checked += done[name].size_bytes
            if time.monotonic() >= next_line:
                next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
                say(f"checked {checked / 1e9:.1f} of {total / 1e9:.1f} GB")
    return damaged


def _is_whole(store: JobStore, record: Record) -> bool:
    """A record's file holds the recorded bytes; it is read twice before it counts as damaged. Raises StorageError."""
    if record.work == STITCH:
        return any(out_sha256(record.blob) == record.sha256 for _ in range(2))
    return whole_blob(store, record.blob, record.sha256) is not None


def _sizes(store: JobStore, records: Sequence[Record]) -> dict[str, int | None]:
    """Size of every record's file, by one listing per folder."""
    blobs = {record.blob for record in records if record.work != STITCH}
    sizes: dict[str, int | None] = {}
    for folder in sorted({blob.rpartition("/")[0] for blob in blobs}):
        sizes |= store.sizes(folder)
    return sizes | {record.blob: out_size(record.blob) for record in records if record.work == STITCH}


def _difference(work: Work, earlier: Sequence[Record]) -> str:
    """What differs from the most similar earlier result of the same unit, in the words of the job file."""
    changes = min((_changes(record.inputs, work.inputs) for record in earlier), key=len)
    return ", ".join(changes)


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    return [
        key if key in _DIGESTS else f"{key} {_short(before.get(key))} -> {_short(now.get(key))}"
        for key in keys
        if not _FOLLOWS_FROM.get(key, set()) & set(keys)
    ]


def _short(value: str | None) -> str:
    if not value:
        return "none"
    return value if len(value) <= 24 else value[:8] + "…"
