"""PURE: frame indexes and settings -> chunks of ref frames and scans of both sources; vectorised, quick for a feature.

Chunks are half open and tile [0, N) exactly. What a chunk reads of the clip is its expected frames with a halo of the
smoothing radius (ref frames) and of the temporal radius (clip frames) on each side, mapped through both time tables, so that
rates may differ and frames may be of any length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from tasks.messages import FrameIndex
from vsalign.frames import FrameRange

#: Default chunk length in frames: short enough to lose little when a worker dies, long enough that its halo costs little.
MIN_CHUNK_FRAMES, MAX_CHUNK_FRAMES = 96, 720
MIN_SCAN_FRAMES, MAX_SCAN_FRAMES = 240, 5760
CHUNKS_PER_WORKER = 4

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Ref frames rendered and retried as one, and what they are expected to read of the clip."""

    index: int
    ref_frames: FrameRange
    clip_frames: FrameRange
    """Expected clip frames of ``observed`` with the halo of the temporal radius on each side."""
    clip_packets: FrameRange
    """Ranks, in file order, of the packets that a decoder needs for ``clip_frames``: from the key frame before."""
    clip_bytes: int
    observed: FrameRange
    """Ref frames whose pairs its warps are settled from: its own with the halo of the smoothing radius on each side."""


@dataclass(frozen=True, slots=True)
class Scan:
    """Frames of one source that are scanned as one."""

    role: Literal["clip", "ref"]
    index: int
    frames: FrameRange


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where ranges start, and where the last one stops: chunks of ref, scans of clip and ref."""

    chunks: tuple[int, ...]
    clip_scans: tuple[int, ...]
    ref_scans: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    chunks: tuple[Chunk, ...]
    scans: tuple[Scan, ...]
    bounds: Bounds


def choose_bounds(clip: FrameIndex, ref: FrameIndex, chunk_frames: int | None, num_workers: int) -> Bounds:
    """Where to cut. ``chunk_frames`` is kept exactly; without it lengths follow from length, workers and ref's key frames."""
    if chunk_frames is not None:
        chunks = _even_bounds(len(ref), chunk_frames)
    else:
        chunks = _key_frame_bounds(ref, _default_length(len(ref), num_workers, MIN_CHUNK_FRAMES, MAX_CHUNK_FRAMES))
    scans = (
        _key_frame_bounds(index, _default_length(len(index), num_workers, MIN_SCAN_FRAMES, MAX_SCAN_FRAMES))
        for index in (clip, ref)
    )
    return Bounds(chunks, *scans)


def make_plan(
    clip: FrameIndex, ref: FrameIndex, bounds: Bounds, expected: IntArray, temporal_radius: int, smooth_time: int = 0
) -> Plan:
    """Chunks and scans for ``bounds``; ``expected`` (N,) is the clip frame expected at each ref frame, in the clip or not.

    ``temporal_radius`` in clip frames, ``smooth_time`` in ref frames.
    """
    ranges = ranges_of(bounds.chunks)
    seen = [frames.dilate(smooth_time, within=ref.whole) for frames in ranges]
    chunks = tuple(_chunk(i, frames, seen[i], clip, expected, temporal_radius) for i, frames in enumerate(ranges))
    scans = tuple(Scan("clip", i, frames) for i, frames in enumerate(ranges_of(bounds.clip_scans)))
    scans += tuple(Scan("ref", i, frames) for i, frames in enumerate(ranges_of(bounds.ref_scans)))
    return Plan(chunks, scans, bounds)


def expected_clip_frames(clip: FrameIndex, ref: FrameIndex, offset_frames: int = 0) -> IntArray:
    """The clip frame on screen nearest to each ref frame's time, both films counted from their first frame, plus an offset.

    Times beyond the clip go on at its mean rate, so frames it does not have get numbers outside [0, len(clip)).
    """
    clip_times = clip.seconds() - clip.pts[0] * float(clip.time_base)
    ref_times = ref.seconds() - ref.pts[0] * float(ref.time_base)
    step = _mean_step(clip_times, ref_times)
    # Times half way between two frames are where the nearest one changes; the tiny shift sends ties to the earlier frame.
    middles = np.append((clip_times[:-1] + clip_times[1:]) / 2, clip_times[-1] + step / 2)
    frames = np.searchsorted(middles + step * 1e-6, ref_times)
    beyond = ref_times > middles[-1]
    frames[beyond] = len(clip) - 1 + np.rint((ref_times[beyond] - clip_times[-1]) / step)
    return np.asarray(frames + offset_frames, dtype=np.int64)


def ranges_of(bounds: Sequence[int]) -> list[FrameRange]:
    """The ranges between neighbouring bounds."""
    return [FrameRange(start, stop) for start, stop in pairwise(bounds)]


def packets_of(index: FrameIndex, frames: FrameRange) -> tuple[FrameRange, int]:
    """Packets (file order) and bytes that decoding ``frames`` takes, from the last key frame shown at or before them."""
    if not len(frames):
        return FrameRange(0, 0), 0
    keys = np.flatnonzero(index.keyframe[: frames.start + 1])
    first = int(keys[-1]) if len(keys) else 0
    span = slice(first, frames.stop)
    packets = index.packet[span]
    return FrameRange(int(packets.min()), int(packets.max()) + 1), int(index.packet_bytes[span].sum())


def _chunk(
    i: int, frames: FrameRange, observed: FrameRange, clip: FrameIndex, expected: IntArray, temporal_radius: int
) -> Chunk:
    wanted = expected[observed.start : observed.stop]
    reads = FrameRange(int(wanted.min()), int(wanted.max()) + 1).dilate(temporal_radius, within=clip.whole)
    packets, size = packets_of(clip, reads)
    return Chunk(i, frames, reads, packets, size, observed)


def _mean_step(clip_times: npt.NDArray[np.float64], ref_times: npt.NDArray[np.float64]) -> float:
    for times in (clip_times, ref_times):
        if len(times) > 1:
            return float((times[-1] - times[0]) / (len(times) - 1))
    return 1.0


def _default_length(num_frames: int, num_workers: int, shortest: int, longest: int) -> int:
    return min(max(-(-num_frames // (num_workers * CHUNKS_PER_WORKER)), shortest), longest)


def _even_bounds(num_frames: int, length: int) -> tuple[int, ...]:
    return (*range(0, num_frames, length), num_frames)


def _key_frame_bounds(index: FrameIndex, length: int) -> tuple[int, ...]:
    """Bounds about ``length`` apart, moved to a key frame where one lies within a quarter of it: no frames decoded in vain."""
    bounds, num_frames = [0], len(index)
    while num_frames - bounds[-1] > length * 5 // 4:
        target, reach = bounds[-1] + length, length // 4
        near = np.flatnonzero(index.keyframe[target - reach : target + reach + 1])
        bounds.append(target - reach + int(near[np.abs(near - reach).argmin()]) if len(near) else target)
    return (*bounds, num_frames)
