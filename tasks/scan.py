"""Scan: one chunk of one source, decoded once at reduced size, kept as signatures for sync."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.decode import FrameReader
from tasks.progress import OnFrame
from tasks.sources import read_probe
from tasks.store import JobStore
from tasks.work import ScanWork
from vsalign.signature import sign
from vsalign.thumb import SIGNATURE_BYTES, THUMB_HEIGHT, THUMB_WIDTH

#: Thumbs that are signed in one call.
_BATCH = 32


def scan_chunk(work: ScanWork, store: JobStore, folder: Path, on_frame: OnFrame) -> Path:
    """Signatures (num_frames, SIGNATURE_BYTES) uint8 of ``work.frames``, written to ``folder`` as .npy."""
    signatures = np.empty((len(work.frames), SIGNATURE_BYTES), np.uint8)
    thumbs = np.empty((_BATCH, THUMB_HEIGHT, THUMB_WIDTH), np.uint8)
    with FrameReader(read_probe(store, work.role)) as reader:
        for frame, thumb in reader.thumbs(work.frames, THUMB_WIDTH, THUMB_HEIGHT):
            done = frame - work.frames.start + 1
            waiting = (done - 1) % _BATCH + 1
            thumbs[waiting - 1] = thumb
            if waiting == _BATCH or done == len(work.frames):
                signatures[done - waiting : done] = sign(thumbs[:waiting])
            on_frame()
    path = folder / "signatures.npy"
    np.save(path, signatures)
    return path
