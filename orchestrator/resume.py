"""Records found in the job directory + units wanted -> what is reused, what is done again, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.store import JobStore
from tasks.work import Record, Work

#: Inputs whose values tell people nothing, and inputs that change with others, which say it better.
_DIGESTS = {"frame map", "frame map halo", "film geometry", "expected frames", "solve", "costs"}
_FOLLOWS_FROM = {"frame map halo": {"align.smooth_time", "align.warp"}, "film geometry": {"align.warp"}}


@dataclass(frozen=True, slots=True)
class Found:
    """All records of a job directory that can be trusted, and how many could not be read."""

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

    def describe(self, noun: str) -> str:
        """One line: "reused 212 chunks, stale 14 (encode.crf 18 -> 20), missing 30"."""
        parts = [f"reused {len(self.done)} {noun}"]
        if self.num_stale:
            parts.append(f"stale {self.num_stale} ({'; '.join(self.why_stale)})")
        if self.num_lost:
            parts.append(f"lost {self.num_lost} (recorded, but the file is gone or has another size)")
        parts.append(f"missing {self.num_missing}")
        return ", ".join(parts)


def load_records(store: JobStore) -> Found:
    """Read every record in done/; one that is torn counts as absent and is put aside, so that it can be made again."""
    records, unreadable = [], 0
    for name in store.names("done"):
        try:
            records.append(Record.from_json(store.read(name) or b""))
        except ValueError:
            store.retire(name)
            unreadable += 1
    return Found(tuple(records), {record.blob: store.size(record.blob) for record in records}, unreadable)


def sort_units(works: Sequence[Work], found: Found) -> Reuse:
    """PURE: a unit is done when a record has its fingerprint and the blob is there in full size."""
    by_fingerprint = {record.fingerprint: record for record in found.records}
    by_name: dict[str, list[Record]] = {}
    for record in found.records:
        by_name.setdefault(record.work, []).append(record)
    done: dict[str, Record] = {}
    todo: list[Work] = []
    lost, stale = 0, 0
    why: Counter[str] = Counter()
    for work in works:
        match = by_fingerprint.get(work.fingerprint)
        if match is not None and found.blob_sizes.get(match.blob) == match.size_bytes:
            done[work.name] = match
            continue
        todo.append(work)
        lost += match is not None
        if match is None and work.name in by_name:
            stale += 1
            why[_difference(work, by_name[work.name])] += 1
    return Reuse(done, todo, stale, len(todo) - stale - lost, lost, dict(why.most_common()))


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
