"""Choose: the costs of all chunks -> the frame map of the whole film, on a worker so that the driver stays small.

Where each ref frame is chosen for alone, its confidence is how much worse the second best is: little on films of another grade,
however right the choice. Where the solve, which saw the whole film, gave the same frame, its confidence counts if that is more.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tasks.costrows import StoredRows
from tasks.sources import read_probe
from tasks.store import JobStore
from tasks.work import ChooseWork
from vsalign.framemap import FrameMap
from vsalign.metricband import least_map, path_map


def choose_film(work: ChooseWork, store: JobStore, folder: Path) -> Path:
    """The frame map as CSV in ``folder``; ref frames that the solve left unmatched stay so."""
    num_clip, num_ref = len(read_probe(store, "clip").index), len(read_probe(store, "ref").index)
    solved = FrameMap.from_csv((store.read(work.solved_blob) or b"").decode(), num_ref, num_clip)
    rows = StoredRows([store.fetch(blob) for blob in work.cost_blobs])
    path = folder / "map.csv"
    if work.select == "path":
        frame_map = path_map(rows, solved.clip_frame, num_clip, work.tr)
    else:
        frame_map = _agreed(least_map(rows.items(), num_ref), solved)
    path.write_text(frame_map.to_csv(), encoding="utf-8")
    return path


def _agreed(chosen: FrameMap, solved: FrameMap) -> FrameMap:
    """``chosen``, as sure as ``solved`` where both have the same clip frame."""
    same = chosen.matched & (chosen.clip_frame == solved.clip_frame)
    return replace(chosen, confidence=np.where(same, np.maximum(chosen.confidence, solved.confidence), chosen.confidence))
