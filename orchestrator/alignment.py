"""PURE: what the chunks' records say of the warps -> the report's numbers on alignment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.sections import AlignConfig
from tasks.work import Record


@dataclass(frozen=True, slots=True)
class Alignment:
    """The warps of a film, over the ``frames`` that show a clip frame.

    ``mean_confidence`` and ``mismatched_share`` (of all pixels) in [0, 1]; ``wide_search_found``: frames whose pair had a
    homography. The last two are None where the job did not ask. ``smooth_time`` in ref frames on each side.
    """

    frames: int
    mean_confidence: float
    smooth_time: int
    mismatch: str
    mismatched_share: float | None
    wide_search_found: int | None


def summarise_alignment(records: Iterable[Record], settings: AlignConfig) -> Alignment | None:
    """Over the records of all chunks that are there; None without warp or without records."""
    facts = [record.facts for record in records]
    frames = sum(int(chunk["aligned_frames"]) for chunk in facts)
    if not settings.warp or not frames:
        return None

    def mean(name: str) -> float:
        return sum(float(chunk[name]) * int(chunk["aligned_frames"]) for chunk in facts) / frames

    return Alignment(
        frames=frames,
        mean_confidence=round(mean("confidence"), 4),
        smooth_time=settings.smooth_time,
        mismatch=settings.mismatch,
        mismatched_share=round(mean("mismatched"), 6) if settings.mismatch != "keep" else None,
        wide_search_found=sum(int(chunk["wide_found"]) for chunk in facts) if settings.wide_search else None,
    )


def align_line(alignment: Mapping[str, Any]) -> str:
    """An ``Alignment`` as read from report.json, in one line."""
    steady = f"warps steadied over {alignment['smooth_time']} frames on each side" if alignment["smooth_time"] else ""
    found, share = alignment["wide_search_found"], alignment["mismatched_share"]
    parts = [
        f"mean confidence {alignment['mean_confidence']:.2f}",
        steady or "every warp on its own",
        "" if found is None else f"wide search found a homography in {found} of {alignment['frames']} frames",
        "" if share is None else f"{share:.2%} of pixels mismatched, shown as: {alignment['mismatch']}",
    ]
    return ", ".join(part for part in parts if part)
