"""PURE: the status of a job -> text for people, and what of it counts as a change."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from typing import Any

#: States of units, in the order and the words in which they are shown.
STATES = {
    "done": "done",
    "running": "running",
    "waiting": "waiting",
    "failed": "waiting after a failure",
    "parked": "parked",
    "stale": "stale (made by other settings)",
}
MOST_PARKED = 20
MOST_NODES = 12

#: What differs at every look although nothing has happened.
_RESTLESS = ("supervisor", "written", "eta_seconds", "frames_per_second")


def status_text(status: Mapping[str, Any]) -> str:
    """All of it, for one look."""
    lines = [f"{status['out']}: {'published' if status['out_exists'] else 'not published yet'}", _who(status)]
    lines += _units(status)
    lines.append(_results(status))
    lines.append(f"failed attempts: {counts_text(status['failures']) or 'none'}")
    lines += _losses(status)
    lines += _nodes(status)
    lines += _parked(status["parked"])
    return "\n".join(lines)


def status_line(status: Mapping[str, Any]) -> str:
    """The gist, for a log: stage, units, frames, rate."""
    parts = [str(status["stage"] or status["state"])]
    if status["units"]:
        units = status["units"]
        parts[0] += f": {units['done']}/{units['total']} units"
        parts += [f"{units[state]} {state}" for state in ("running", "failed", "parked") if units[state]]
    return ", ".join([*parts, *_pace(status)])


def changed(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> bool:
    """Something has happened between two looks."""
    return before is None or any(before.get(key) != value for key, value in now.items() if key not in _RESTLESS)


def _who(status: Mapping[str, Any]) -> str:
    found = status["supervisor"]
    if status["state"] != "working":
        left = f" ({found['host']}, pid {found['pid']}, has ended)" if found and found["standing"] == "gone" else ""
        onward = "" if status["state"] == "published" else f"; vsalign resume {shlex.quote(status['job'])} goes on"
        return f"nobody is at work{left}{onward}"
    who = f"at work: {found['host']}, pid {found['pid']}"
    if found["seconds_since_beat"] is not None:
        return f"{who}, its lease moved {found['seconds_since_beat']:.0f} s ago"
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["written"]))
    return f"{who}, lease renewed {at} by its clock"


def _units(status: Mapping[str, Any]) -> list[str]:
    if not status["units"]:
        return []
    units = status["units"]
    lines = [_earlier(stage) for stage in status["earlier_stages"]]
    lines.append(f"stage {status['stage']}: {units['total']} units, {units['reused']} of them reused")
    lines += [f"  {units[state]:7} {words}" for state, words in STATES.items() if units[state] or state == "done"]
    return [*lines, "  " + ", ".join(_pace(status))]


def _earlier(stage: Mapping[str, Any]) -> str:
    parked = f", {stage['parked']} parked" if stage["parked"] else ""
    return f"stage {stage['name']}: {stage['done']} of {stage['units']} units done{parked}, in {clock(stage['seconds'])}"


def _pace(status: Mapping[str, Any]) -> list[str]:
    if not status["frames"]:
        return []
    done, total = status["frames"]["done"], status["frames"]["total"]
    parts = [f"{done}/{total} frames ({100 * done // max(total, 1)} %)"]
    if status["frames_per_second"] is not None:
        parts.append(f"{status['frames_per_second']:.1f} frames/s")
    if status["eta_seconds"] is not None:
        parts.append(f"ETA {clock(status['eta_seconds'])}")
    return parts


def _results(status: Mapping[str, Any]) -> str:
    compared = f"; compared: {status['compared_done']}" if status["compared_done"] else ""
    return f"chunks with a result: {status['chunks_done']} of {status['chunks']}; scans: {status['scans_done']}{compared}"


def _losses(status: Mapping[str, Any]) -> list[str]:
    lines = []
    if status["retries"]:
        lines.append(f"  in the last run: {counts_text(status['retries'])}")
    if status["spot_lost_seconds"]:
        lines.append(f"lost with machines that went away: {status['spot_lost_seconds']:.0f} s of work")
    if status["thrift"]:
        levels = ", ".join(f"{count} at level {level}" for level, count in status["thrift"].items())
        lines.append(f"units done with less memory: {levels}")
    return lines


def _nodes(status: Mapping[str, Any]) -> list[str]:
    lines = []
    if workers := status["workers"]:
        lines.append("workers: " + ", ".join(f"{count} {state}" for state, count in workers.items()))
    for node in status["nodes"][:MOST_NODES]:
        kind = f", {node['accelerator']}" if node["accelerator"] else ""
        state = "" if node["state"] == "up" else f", {node['state']}"
        left = f" in {node['seconds_left']:.0f} s" if "seconds_left" in node else ""
        lines.append(f"  {node['host']} ({node['id']}{kind}): {node['busy']} busy{state}{left}")
    left_out = len(status["nodes"]) - MOST_NODES + status["nodes_left_out"]
    return [*lines, f"  and {left_out} nodes more"] if left_out > 0 else lines


def _parked(parked: list[Mapping[str, Any]]) -> list[str]:
    lines = [
        f"parked: {unit['unit']} after {unit['attempts']} attempts: {unit['cause']}: {unit['message']} ({unit['log']})"
        for unit in parked[:MOST_PARKED]
    ]
    return [*lines, f"and {len(parked) - MOST_PARKED} more, in fail/"] if len(parked) > MOST_PARKED else lines


def counts_text(counts: Mapping[str, int]) -> str:
    """ "2 crash, 1 preempted"."""
    return ", ".join(f"{count} {cause}" for cause, count in counts.items())


def clock(seconds: float) -> str:
    """Hours, minutes and seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
