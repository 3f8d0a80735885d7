"""Damaged frames: which were shown otherwise, told as facts of a record and read back from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tasks.messages import AS_IT_IS, FrameIndex, ReadSettings
from vsalign.timecode import timecode

Facts = dict[str, float | int | str]

#: Times that a record names; it names all frames.
MOST_TIMES = 20
_PREFIX = "replaced_"


@dataclass(frozen=True, slots=True)
class Replaced:
    """A damaged frame is shown as frame ``shown``; ``why`` in a clause."""

    shown: int
    why: str


def damage_facts(role: str, frames: Iterable[int], index: FrameIndex) -> Facts:
    """What a record says of the damaged ``frames`` of one film: how many, their numbers, when the first of them are shown (from
    the film's first frame); nothing where there are none."""
    numbers = sorted(set(frames))
    if not numbers:
        return {}
    return {
        f"{_PREFIX}{role}": len(numbers),
        f"{_PREFIX}{role}_frames": ranges_text(numbers),
        f"{_PREFIX}{role}_times": " ".join(timecode(seconds_of(index, n)) for n in numbers[:MOST_TIMES]),
    }


def damaged_frames(facts: Mapping[str, float | int | str], role: str) -> set[int]:
    """The numbers behind :func:`damage_facts`."""
    text = str(facts.get(f"{_PREFIX}{role}_frames", ""))
    ends = [part.partition("-") for part in text.split()]
    return {n for first, _, last in ends for n in range(int(first), int(last or first) + 1)}


def may_be_used(facts: Mapping[str, float | int | str], read: ReadSettings) -> bool:
    """False for a result that holds replaced frames where ``read`` wants none: other results don't depend on it."""
    return read.on_corrupt == "repeat" or not any(name.startswith(_PREFIX) for name in facts)


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
