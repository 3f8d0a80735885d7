"""Solve: all thumbs of both films -> the frame map of the whole film, on a worker so that the driver stays small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.sources import read_probe
from tasks.store import JobStore
from tasks.work import SolveWork
from vsalign.sync import MIN_SCORE, SyncResult, solve
from vsalign.thumb import THUMB_HEIGHT, THUMB_WIDTH


def solve_film(work: SolveWork, store: JobStore, folder: Path) -> tuple[Path, dict[str, float | int | str]]:
    """The frame map as CSV in ``folder``, and what was found: score, offset in seconds, rate ratio, film geometry."""
    clip, ref = read_probe(store, "clip"), read_probe(store, "ref")
    result = solve(
        load_thumbs(store, work.clip_blobs, len(clip.index)),
        load_thumbs(store, work.ref_blobs, len(ref.index)),
        clip.index.seconds(),
        ref.index.seconds(),
        work.settings.temporal_radius,
    )
    path = folder / "map.csv"
    path.write_text(result.frame_map.to_csv(), encoding="utf-8")
    return path, _facts(result)


def load_thumbs(store: JobStore, blobs: tuple[str, ...], num_frames: int) -> npt.NDArray[np.uint8]:
    """The thumbs of a whole source (num_frames, h, w) from its scan blobs in order."""
    thumbs = np.empty((num_frames, THUMB_HEIGHT, THUMB_WIDTH), np.uint8)
    done = 0
    for blob in blobs:
        part = np.load(store.local_path(blob), mmap_mode="r")
        thumbs[done : done + len(part)] = part
        done += len(part)
    if done != num_frames:
        raise ValueError(f"scan blobs hold {done} frames, the source has {num_frames}")
    return thumbs


def _facts(result: SyncResult) -> dict[str, float | int | str]:
    return {
        "score": round(float(result.score), 6),
        "needed_score": MIN_SCORE,
        "offset_seconds": round(float(result.found.offset_seconds), 6),
        "rate_ratio": round(float(result.found.rate), 9),
        "film_geometry": " ".join(f"{number:.9g}" for row in result.found.clip_from_ref for number in row),
    }
