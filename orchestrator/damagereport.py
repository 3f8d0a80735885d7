"""PURE: what records say of damaged frames -> the report's numbers and lines on damage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.inputs import Inputs
from tasks.damage import MOST_TIMES, damaged_frames, ranges_text, seconds_of
from tasks.messages import Probe, Role
from tasks.work import Record
from vsalign.timecode import timecode

#: Times that the text names; report.json has ``MOST_TIMES``, and the numbers of all frames.
_TIMES_TOLD = 5


@dataclass(frozen=True, slots=True)
class Damage:
    """Damaged frames of one film, in whose place others were shown. ``times`` of the first of them, from the film's first
    frame."""

    count: int
    frames: str
    times: tuple[str, ...]


def summarise_damage(records: Iterable[Record], inputs: Inputs) -> dict[str, Damage]:
    """By film, over all ``records``; only films with damage."""
    facts = [record.facts for record in records if record.facts]
    films: dict[Role, Probe | None] = {
        "clip": inputs.clip,
        "ref": inputs.ref,
        "fallback": inputs.fallback,
        "mask": inputs.mask,
    }
    found: dict[str, Damage] = {}
    for role, probe in films.items():
        frames = sorted({frame for each in facts for frame in damaged_frames(each, role)})
        if probe and frames:
            index = probe.coded or probe.index
            times = tuple(timecode(seconds_of(index, frame)) for frame in frames[:MOST_TIMES])
            found[role] = Damage(len(frames), ranges_text(frames), times)
    return found


def damage_lines(damage: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What report.json holds of it, a line per film."""
    lines = []
    for role, film in damage.items():
        times = ", ".join(film["times"][:_TIMES_TOLD]) + (", ..." if film["count"] > _TIMES_TOLD else "")
        frames = f"{film['count']} damaged frame{'s' * (film['count'] != 1)}"
        lines.append(f"damage    {role}: {frames} shown as the last whole one before, at {times}")
    return lines
