"""Solve: all signatures of both films -> the frame map of the whole film, on a worker so that the driver stays small."""

from __future__ import annotations

from pathlib import Path

from tasks.rows import StoredRows
from tasks.sources import read_probe
from tasks.store import JobStore
from tasks.work import SolveWork
from vsalign.sync import MIN_SCORE, SyncResult, solve


def solve_film(work: SolveWork, store: JobStore, folder: Path) -> tuple[Path, dict[str, float | int | str]]:
    """The frame map as CSV in ``folder``, and what was found: score, offset in seconds, rate ratio, film geometry."""
    clip, ref = read_probe(store, "clip"), read_probe(store, "ref")
    result = solve(
        _signatures(store, work.clip_blobs, len(clip.index)),
        _signatures(store, work.ref_blobs, len(ref.index)),
        clip.index.seconds(),
        ref.index.seconds(),
        work.settings.temporal_radius,
    )
    path = folder / "map.csv"
    path.write_text(result.frame_map.to_csv(), encoding="utf-8")
    return path, _facts(result)


def _signatures(store: JobStore, blobs: tuple[str, ...], num_frames: int) -> StoredRows:
    """The signatures of a whole source from its scan blobs in order."""
    return StoredRows([store.fetch(blob) for blob in blobs], num_frames)


def _facts(result: SyncResult) -> dict[str, float | int | str]:
    return {
        "score": round(float(result.score), 6),
        "needed_score": MIN_SCORE,
        "offset_seconds": round(float(result.found.offset_seconds), 6),
        "rate_ratio": round(float(result.found.rate), 9),
        "film_geometry": " ".join(f"{number:.9g}" for row in result.found.clip_from_ref for number in row),
    }
