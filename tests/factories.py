"""Records and works with neutral values, so that a test names only what it is about."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from tasks.messages import FrameIndex
from tasks.work import RECORD_SCHEMA, Record, ScanWork, Work
from vsalign.frames import FrameRange


def work(name: str = "scan-clip-00000", job_dir: str = "job", **inputs: str) -> ScanWork:
    return ScanWork(
        name=name, job_dir=job_dir, inputs={"abi": "1", **inputs}, num_frames=10, role="clip", frames=FrameRange(0, 10)
    )


def record(name: str = "scan-clip-00000", of: Work | None = None, **changes: Any) -> Record:
    unit = of or work(name)
    made = Record(
        schema=RECORD_SCHEMA,
        work=unit.name,
        fingerprint=unit.fingerprint,
        inputs=unit.inputs,
        blob=f"scan/{unit.name}.npy",
        sha256="0" * 64,
        size_bytes=100,
        num_frames=unit.num_frames,
        attempt=1,
        seconds=1.0,
        host="host",
        device="cpu",
        versions={},
    )
    return replace(made, **changes)


def frame_index(num_frames: int, keys: int = 12, rate: Fraction = Fraction(24), first_pts: int = 0) -> FrameIndex:
    """A constant-rate index in milliseconds-like ticks (1/90000) with a key frame every ``keys`` frames."""
    numbers = np.arange(num_frames, dtype=np.int64)
    step = 90000 / rate
    return FrameIndex(
        pts=first_pts + np.array([round(n * step) for n in range(num_frames)], dtype=np.int64),
        duration=np.full(num_frames, round(step), np.int64),
        keyframe=numbers % keys == 0,
        packet=numbers,
        packet_bytes=np.full(num_frames, 1000, np.int64),
        time_base=Fraction(1, 90000),
    )
