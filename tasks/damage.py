"""Damaged frames: which were shown otherwise, told as facts of a record and read back from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tasks.messages import AS_IT_IS, FrameIndex, ReadSettings
from vsalign.timecode import timecode

Facts = dict[str, float | int | str]

#: Times that a record names; it names all frames.
MOST_TIMES = 20
_PREFIX, _WRITTEN = "replaced_", "_written"


@dataclass(frozen=True, slots=True)
class Replaced:
    """A damaged frame is shown as frame ``shown``; ``why`` in a clause."""

    shown: int
    why: str


def damage_facts(role: str, replaced: Mapping[int, Replaced], index: FrameIndex, written: str = "") -> Facts:
    """What a record says of the damaged frames of one film, by number: how many, which, when the first of them are shown (from
    the film's first frame), in whose place a later one is shown, and ``ReadSettings.written``; nothing where there are none."""
    numbers = sorted(replaced)
    if not numbers:
        return {}
    facts: Facts = {
        f"{_PREFIX}{role}": len(numbers),
        f"{_PREFIX}{role}_frames": ranges_text(numbers),
        f"{_PREFIX}{role}_times": " ".join(timecode(seconds_of(index, n)) for n in numbers[:MOST_TIMES]),
    }
    if written:
        facts[f"{_PREFIX}{role}{_WRITTEN}"] = written
    if ahead := [n for n in numbers if replaced[n].shown > n]:
        facts[f"{_PREFIX}{role}_as_later"] = ranges_text(ahead)
    return facts


def damaged_frames(facts: Mapping[str, float | int | str], role: str) -> set[int]:
    """The numbers behind :func:`damage_facts`."""
    return _numbers(facts.get(f"{_PREFIX}{role}_frames"))


def shown_as_later(facts: Mapping[str, float | int | str], role: str) -> set[int]:
    """Those of :func:`damaged_frames` that no whole frame comes before: the first one behind them is shown."""
    return _numbers(facts.get(f"{_PREFIX}{role}_as_later"))


def _numbers(ranges: float | int | str | None) -> set[int]:
    text = "" if ranges is None else str(ranges)
    ends = [part.partition("-") for part in text.split()]
    return {n for first, _, last in ends for n in range(int(first), int(last or first) + 1)}


def may_be_used(facts: Mapping[str, float | int | str], read: ReadSettings) -> bool:
    """False for a result that holds replaced frames where ``read`` wants none, or of a film that was written again since:
    other results don't depend on it."""
    if read.on_corrupt != "repeat":
        return not any(name.startswith(_PREFIX) for name in facts)
    before = {facts[name] for name in facts if name.startswith(_PREFIX) and name.endswith(_WRITTEN)}
    return not read.written or before <= {read.written}


def over_damage(read: ReadSettings) -> ReadSettings:
    """For units that all later ones need: where a damaged chunk is left out, they go on with repeated frames."""
    return replace(read, on_corrupt="repeat") if read.on_corrupt == "skip-chunk" else read


def read_of(work: object) -> ReadSettings:
    """How a unit reads its sources, as it stands in it."""
    read = getattr(work, "read", AS_IT_IS)
    assert isinstance(read, ReadSettings)
    return read


def ranges_text(numbers: Iterable[int]) -> str:
    """Ascending numbers as "3 7-12 40"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return " ".join("-".join(map(str, run)) for run in runs)


def seconds_of(index: FrameIndex, frame: int) -> float:
    """When a frame is shown, in seconds from the film's first frame; for telling people."""
    return float((int(index.pts[frame]) - int(index.pts[0])) * index.time_base)
