"""Records and works with neutral values, so that a test names only what it is about."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from orchestrator.config import JobConfig, job_config
from orchestrator.inputs import Inputs
from tasks.messages import FrameIndex, MediaInfo, Probe, Source, VideoFormat
from tasks.work import RECORD_SCHEMA, Record, ScanWork, Work
from vsalign.frames import FrameRange
from vsalign.picture import ColourTags

NUM_FRAMES = 100


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


def probe_of(identity: str) -> Probe:
    info = MediaInfo(
        source=Source(f"{identity}.mkv"),
        identity=identity,
        container="matroska",
        streams=(),
        codec="h264",
        width=64,
        height=48,
        pixel_format="yuv420p",
        bit_depth=8,
        time_base=Fraction(1, 90000),
        average_rate=Fraction(24),
        num_frames=NUM_FRAMES,
        sample_aspect_ratio=Fraction(1),
        rotation_degrees=0,
        field_order="progressive",
        colour=ColourTags(),
        size_bytes=1000,
    )
    return Probe(info, frame_index(NUM_FRAMES))


def inputs_of(clip: str = "clip", ref: str = "ref") -> Inputs:
    video = VideoFormat(64, 48, Fraction(24), Fraction(1), ColourTags())
    return Inputs(probe_of(clip), probe_of(ref), None, video, "yuv420p")


def config_of(**sections: dict) -> JobConfig:
    return job_config({"clip": "clip.mkv", "ref": "ref.mkv", "out": "out.mkv", **sections}, "test")
