"""PURE: what a run did and found -> report.json and a text that a person can read in a minute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.alignment import Alignment, align_line
from orchestrator.damagereport import Damage, damage_lines
from orchestrator.decodereport import decoding_lines
from orchestrator.ledger import RunFacts
from orchestrator.statusview import counts_text
from tasks.messages import FrameIndex
from vsalign.editkinds import NO_EDITS, Edit
from vsalign.framemap import FrameMap, Source
from vsalign.timecode import timecode

UNCERTAIN_BELOW = 0.5
#: Uncertain frames closer together than this many frames belong to one stretch.
STRETCH_GAP_FRAMES = 5
NUM_STRETCHES = 10
#: Nodes that the text names, those that did most; report.json has all.
MOST_HOSTS = 8
#: Edits that the text lists; report.json has all.
MOST_EDITS = 12


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage of this run; ``frames`` counts what this run did itself, not what it reused."""

    name: str
    frames: int
    seconds: float
    units: int = 0
    reused_units: int = 0
    retries: int = 0

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run of ref frames whose match is uncertain; ``start_seconds`` from the film's first frame."""

    start_frame: int
    stop_frame: int
    start_seconds: float
    mean_confidence: float


@dataclass(frozen=True, slots=True)
class Matches:
    """The frame map in numbers; ``by_confidence`` counts matched frames in four equal steps of [0, 1]."""

    frames: int
    matched: int
    fallback: int
    edited: int
    unmatched: int
    unmatched_at_start: int
    unmatched_at_end: int
    by_confidence: tuple[int, int, int, int]
    common_offset_frames: int | None
    least_certain: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that ``report.json`` holds."""

    out: str
    clip: str
    ref: str
    complete: bool
    chunks: int
    frames: int
    stages: tuple[StageReport, ...]
    matches: Matches
    sync: dict[str, float | int | str] = field(default_factory=dict)
    parked: dict[str, str] = field(default_factory=dict)
    unmatched_show: str = "hold"
    audio: str = "ref"
    sound: str = ""
    streams: tuple[str, ...] = ()
    """What was taken from where, and what of it was left out."""
    notices: tuple[str, ...] = ()
    alignment: Alignment | None = None
    edits: tuple[Edit, ...] = ()
    run: RunFacts = field(default_factory=RunFacts)
    damage: dict[str, Damage] = field(default_factory=dict)
    decoding: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        for stage, row in zip(self.stages, values["stages"], strict=True):
            row["frames_per_second"] = round(stage.frames_per_second, 2)
        values["edits"] = [edit.to_json() for edit in self.edits]
        return values


def summarise_matches(frame_map: FrameMap, ref: FrameIndex) -> Matches:
    """Counts, the most common offset (clip frame - ref frame), and the least certain stretches of ``frame_map``."""
    counts = np.bincount(frame_map.source, minlength=len(Source))
    sure = frame_map.confidence[frame_map.matched]
    steps = np.histogram(sure, bins=4, range=(0.0, 1.0))[0]
    offsets = (frame_map.clip_frame - np.arange(len(frame_map)))[frame_map.matched]
    matched_at = np.flatnonzero(frame_map.matched)
    first, last = (int(matched_at[0]), int(matched_at[-1])) if len(matched_at) else (len(frame_map), -1)
    values, times = np.unique(offsets, return_counts=True)
    return Matches(
        frames=len(frame_map),
        matched=int(frame_map.matched.sum()),
        fallback=int(counts[Source.FALLBACK]),
        edited=int(counts[Source.EDITED]),
        unmatched=int((~frame_map.matched).sum()),
        unmatched_at_start=first,
        unmatched_at_end=len(frame_map) - 1 - last if len(matched_at) else 0,
        by_confidence=(int(steps[0]), int(steps[1]), int(steps[2]), int(steps[3])),
        common_offset_frames=int(values[times.argmax()]) if len(values) else None,
        least_certain=least_certain(frame_map.confidence, ref.pts, ref.time_base),
    )


def least_certain(confidence: npt.NDArray[np.float32], pts: npt.NDArray[np.int64], time_base: Fraction) -> tuple[Stretch, ...]:
    """The ten stretches of lowest mean confidence among frames below UNCERTAIN_BELOW, worst first."""
    frames = np.flatnonzero(confidence < UNCERTAIN_BELOW)
    if not len(frames):
        return ()
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > STRETCH_GAP_FRAMES) + 1)
    stretches = [
        Stretch(
            start_frame=int(run[0]),
            stop_frame=int(run[-1]) + 1,
            start_seconds=round(float((int(pts[run[0]]) - int(pts[0])) * time_base), 3),
            mean_confidence=round(float(confidence[run[0] : run[-1] + 1].mean()), 4),
        )
        for run in runs
    ]
    worst = sorted(stretches, key=lambda s: (s.mean_confidence, s.start_frame - s.stop_frame))
    return tuple(worst[:NUM_STRETCHES])


def format_report(report: Mapping[str, Any]) -> str:
    """The text of a report as read from report.json."""
    lines = [f"{report['clip']} -> {report['ref']}", f"output    {_output_line(report)}", *_stage_lines(report["stages"])]
    if report.get("sound"):
        lines.append(f"audio     {report['sound']}")
    lines += [f"{'streams' if k == 0 else '':9} {line}" for k, line in enumerate(report.get("streams", ()))]
    lines += _run_lines(report.get("run", {}))
    lines += _match_lines(report["matches"], report["unmatched_show"])
    if report["sync"]:
        lines.append(f"sync      {sync_line(report['sync'])}")
    if "edits" in report:
        lines += _edit_lines(report["edits"])
    if report.get("alignment"):
        lines.append(f"align     {align_line(report['alignment'])}")
    lines += decoding_lines(report.get("decoding", {}))
    lines += damage_lines(report.get("damage", {}))
    lines += [f"parked    {name}: {why}" for name, why in report["parked"].items()]
    lines += [f"notice    {line}" for line in report["notices"]]
    return "\n".join(lines) + "\n" + _stretch_text(report["matches"]["least_certain"])


def sync_line(facts: Mapping[str, float | int | str]) -> str:
    """What the solve found, in one line."""
    offset, rate = float(facts["offset_seconds"]), float(facts["rate_ratio"])
    scaled = "ref time" if rate == 1.0 else f"{rate:.6f} x ref time"
    by = f", frames compared by {facts['metric']} ({facts['select']})" if "metric" in facts else ""
    return f"score {facts['score']:.3f}, clip time = {scaled} {'+' if offset >= 0 else '-'} {abs(offset):.3f} s{by}"


def _output_line(report: Mapping[str, Any]) -> str:
    if report["complete"]:
        return f"{report['out']}: {report['frames']} frames in {report['chunks']} chunks, audio {report['audio']}, verified"
    return f"not written: {len(report['parked'])} of {report['chunks']} chunks failed; resume tries only those"


def _stage_lines(stages: list[Mapping[str, Any]]) -> list[str]:
    lines = []
    for stage in stages:
        line = (
            f"{stage['name']:9} {stage['frames']} frames in {stage['seconds']:.1f} s, {stage['frames_per_second']:.1f} frames/s"
        )
        if stage["units"]:
            made, reused = stage["units"] - stage["reused_units"], stage["reused_units"]
            line += f"; {made} units done, {reused} reused, {stage['retries']} retries"
        lines.append(line)
    return lines


def _run_lines(run: Mapping[str, Any]) -> list[str]:
    """How the run went, where it was not one machine without a fault. A report of an earlier version has none of it."""
    lines = []
    if len(hosts := run.get("hosts", {})) > 1:
        busiest = [f"{host} {units}" for host, units in list(hosts.items())[:MOST_HOSTS]]
        more = [f"{len(hosts) - MOST_HOSTS} more"] if len(hosts) > MOST_HOSTS else []
        lines.append(f"nodes     {len(hosts)}, units done by each: {', '.join([*busiest, *more])}")
    if run.get("failures"):
        lost = f"; {run['spot_lost_seconds']:.0f} s of work lost with machines that went away"
        lines.append(f"failures  {counts_text(run['failures'])}{lost if run['spot_lost_seconds'] else ''}")
    if run.get("thrift"):
        levels = ", ".join(f"{units} at level {level}" for level, units in run["thrift"].items())
        lines.append(f"memory    short: {levels} of thrift")
    return lines


def _match_lines(matches: Mapping[str, Any], unmatched_show: str) -> list[str]:
    low, fair, good, high = matches["by_confidence"]
    line = f"matches   {matches['matched']} of {matches['frames']} ref frames"
    if matches["common_offset_frames"] is not None:
        line += f", most often clip frame = ref frame {_signed(matches['common_offset_frames'])}"
    lines = [line, f"          by confidence: 0-25 % {low}, 25-50 % {fair}, 50-75 % {good}, 75-100 % {high}"]
    if matches["unmatched"]:
        ends = f"{matches['unmatched_at_start']} at the start, {matches['unmatched_at_end']} at the end"
        lines.append(f"          {matches['unmatched']} without counterpart ({ends}), shown as: {unmatched_show}")
    return lines


def _edit_lines(edits: list[Mapping[str, Any]]) -> list[str]:
    told = [str(edit["words"]) for edit in edits[:MOST_EDITS]] or [NO_EDITS.replace("no edits", "none")]
    if len(edits) > MOST_EDITS:
        told.append(f"and {len(edits) - MOST_EDITS} more, in report.json")
    return [f"{'edits' if k == 0 else '':9} {line}" for k, line in enumerate(told)]


def _stretch_text(stretches: list[Mapping[str, Any]]) -> str:
    if not stretches:
        return f"least certain stretches: none below {UNCERTAIN_BELOW:.2f}\n"
    rows = []
    for stretch in stretches:
        frames = f"[{stretch['start_frame']}, {stretch['stop_frame']})"
        rows.append(f"  {timecode(stretch['start_seconds'])}  frames {frames}  confidence {stretch['mean_confidence']:.2f}")
    return "\n".join([f"least certain stretches (below {UNCERTAIN_BELOW:.2f}):", *rows]) + "\n"


def _signed(number: float) -> str:
    return f"{'+' if number >= 0 else '-'} {abs(number):g}"
