"""Scan: one chunk of one source, decoded once at reduced size, kept as thumbs for sync."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.decode import FrameReader
from tasks.progress import OnFrame
from tasks.sources import read_probe
from tasks.store import JobStore
from tasks.work import ScanWork
from vsalign.thumb import THUMB_HEIGHT, THUMB_WIDTH


def scan_chunk(work: ScanWork, store: JobStore, folder: Path, on_frame: OnFrame) -> Path:
    """Thumbs (num_frames, THUMB_HEIGHT, THUMB_WIDTH) uint8 of ``work.frames``, written to ``folder`` as .npy."""
    thumbs = np.empty((len(work.frames), THUMB_HEIGHT, THUMB_WIDTH), np.uint8)
    with FrameReader(read_probe(store, work.role)) as reader:
        for frame, thumb in reader.thumbs(work.frames, THUMB_WIDTH, THUMB_HEIGHT):
            thumbs[frame - work.frames.start] = thumb
            on_frame()
    path = folder / "thumbs.npy"
    np.save(path, thumbs)
    return path
