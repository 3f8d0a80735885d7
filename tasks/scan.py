"""Scan: one chunk of one source, decoded once at reduced size, kept as signatures for sync."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.damage import Facts, damage_facts
from tasks.progress import OnFrame
from tasks.reading import open_reader
from tasks.sources import read_probe
from tasks.store import JobStore
from tasks.work import ScanWork
from vsalign.signature import sign
from vsalign.thumb import SIGNATURE_BYTES, THUMB_HEIGHT, THUMB_WIDTH


def scan_chunk(work: ScanWork, store: JobStore, folder: Path, on_frame: OnFrame) -> tuple[Path, Facts]:
    """Signatures (num_frames, SIGNATURE_BYTES) uint8 of ``work.frames``, written to ``folder`` as .npy; and which frames are
    damaged and counted as the one shown in their place."""
    signatures = np.empty((len(work.frames), SIGNATURE_BYTES), np.uint8)
    probe = read_probe(store, work.role)
    with open_reader(probe, work.read, only_thumbs=True) as reader:
        for frame, thumb in reader.thumbs(work.frames, THUMB_WIDTH, THUMB_HEIGHT):
            signatures[frame - work.frames.start] = sign(thumb[None])[0]
            on_frame()
    path = folder / "signatures.npy"
    np.save(path, signatures)
    return path, damage_facts(work.role, reader.replaced, probe.coded or probe.index, work.read.written)
