"""PURE: what records say of damaged frames -> the report's numbers and lines on damage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.inputs import Inputs
from tasks.damage import MOST_TIMES, damaged_frames, ranges_text, seconds_of, shown_as_later
from tasks.messages import Probe, Role
from tasks.work import Record
from vsalign.timecode import timecode

#: Times that the text names; report.json has ``MOST_TIMES``, and the numbers of all frames.
_TIMES_TOLD = 5


@dataclass(frozen=True, slots=True)
class Damage:
    """Damaged frames of one film, in whose place others were shown. ``times`` of the first of them, from the film's first
    frame. ``as_later``: so many have no whole frame before them, and the first one behind them was shown."""

    count: int
    frames: str
    times: tuple[str, ...]
    as_later: int = 0


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
            as_later = {frame for each in facts for frame in shown_as_later(each, role)}
            found[role] = Damage(len(frames), ranges_text(frames), times, len(as_later))
    return found


def damage_lines(damage: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What report.json holds of it, a line per film."""
    lines = []
    for role, film in damage.items():
        times = ", ".join(film["times"][:_TIMES_TOLD]) + (", ..." if film["count"] > _TIMES_TOLD else "")
        frames = f"{film['count']} damaged frame{'s' * (film['count'] != 1)}"
        lines.append(f"damage    {role}: {frames} shown as {_shown_as(film['count'], film.get('as_later', 0))}, at {times}")
    return lines


def _shown_as(count: int, as_later: int) -> str:
    if count == as_later:
        return "the first whole one behind (the film begins with damage)"
    start = f" ({as_later} at the film's start as the first whole one behind)" if as_later else ""
    return f"the last whole one before{start}"
