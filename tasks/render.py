"""Render: one chunk from decode through align to an encoded segment, as threads of one process around small queues."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from tasks.align import align_pair
from tasks.decode import FrameReader
from tasks.encode import SegmentWriter
from tasks.errors import SegmentMismatch
from tasks.messages import Role, Segment
from tasks.pipeline import prefetch
from tasks.progress import OnFrame
from tasks.sources import read_probe
from tasks.store import JobStore
from tasks.work import RenderWork
from vsalign.picture import Picture, black_picture
from vsalign.planes import warp_picture

QUEUE_FRAMES = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """What one run of equal output frames is made of; ``clip`` None means: show ``substitute`` as it is."""

    num_frames: int
    clip: Picture | None
    ref: Picture | None
    substitute: Picture | None


@dataclass(slots=True)
class _Clock:
    align_seconds: float = 0.0
    encode_seconds: float = 0.0
    confidence_sum: float = 0.0


def render_chunk(
    work: RenderWork, store: JobStore, folder: Path, on_frame: OnFrame, device: str = "cpu"
) -> tuple[Path, dict[str, float | int | str]]:
    """Encode the chunk into ``folder`` and check the file that came out; returns its path and facts for the record."""
    path, clock = folder / "segment.mkv", _Clock()
    # Leaving in this order ends the threads before the readers that they use are closed.
    with (
        ExitStack() as readers,
        closing(prefetch(_decode(work, store, readers), QUEUE_FRAMES)) as decoded,
        closing(prefetch(_align(work, decoded, clock, device), QUEUE_FRAMES)) as aligned,
    ):
        segment = _encode(work, str(path), aligned, clock, on_frame)
    if segment.num_frames != len(work.ref_frames):
        raise SegmentMismatch(segment.path, "number of frames", len(work.ref_frames), segment.num_frames)
    return path, {
        "header_sha256": segment.header_sha256,
        "align_seconds": round(clock.align_seconds, 3),
        "encode_seconds": round(clock.encode_seconds, 3),
        "confidence": round(clock.confidence_sum / len(work.ref_frames), 4),
    }


def _decode(work: RenderWork, store: JobStore, readers: ExitStack) -> Iterator[Shown]:
    """Runs of equal output frames in order, each with the pictures it needs, decoded once."""
    runs = [(key, sum(1 for _ in same)) for key, same in itertools.groupby(zip(work.aligned_to, work.clip_frames, strict=True))]
    matched = [(ref, clip) for (ref, clip), _ in runs if clip >= 0]
    missing = [ref for (ref, clip), _ in runs if clip < 0]
    clips = _pictures(store, readers, "clip", [clip for _, clip in matched])
    refs = _pictures(store, readers, "ref", [ref for ref, _ in matched]) if work.align.warp else itertools.repeat(None)
    substitutes = _substitutes(work, store, readers, missing)
    for (_, clip), num_frames in runs:
        if clip >= 0:
            yield Shown(num_frames, next(clips), next(refs), None)
        else:
            yield Shown(num_frames, None, None, next(substitutes))


def _pictures(store: JobStore, readers: ExitStack, role: Role, wanted: list[int]) -> Iterator[Picture]:
    if not wanted:
        return iter(())
    reader = readers.enter_context(FrameReader(read_probe(store, role)))
    return (picture for _, picture in reader.pictures(wanted))


def _substitutes(work: RenderWork, store: JobStore, readers: ExitStack, missing: list[int]) -> Iterator[Picture]:
    """What ref frames without counterpart show: the ref's or the fallback's own frame of that number, or black."""
    if not missing:
        return iter(())
    if work.align.unmatched in {"black", "hold"}:  # "hold" leaves a frame here only when the whole film has no match to hold
        template = next(_pictures(store, readers, "clip", [0]))
        return itertools.repeat(black_picture(template, work.video.width, work.video.height))
    role: Role = "fallback" if work.align.unmatched == "fallback" else "ref"
    return (
        warp_picture(picture, None, work.video.width, work.video.height) for picture in _pictures(store, readers, role, missing)
    )


def _align(work: RenderWork, decoded: Iterator[Shown], clock: _Clock, device: str) -> Iterator[tuple[Picture, int]]:
    for shown in decoded:
        started = perf_counter()
        if shown.clip is None:
            assert shown.substitute is not None
            picture, confidence = shown.substitute, 0.0
        else:
            picture, confidence = align_pair(shown.clip, shown.ref, work.video, work.align, work.film_geometry, device)
        clock.align_seconds += perf_counter() - started
        clock.confidence_sum += confidence * shown.num_frames
        yield picture, shown.num_frames


def _encode(work: RenderWork, path: str, aligned: Iterator[tuple[Picture, int]], clock: _Clock, on_frame: OnFrame) -> Segment:
    with SegmentWriter(path, work.video, work.encode, work.pixel_format) as writer:
        for picture, num_frames in aligned:
            started = perf_counter()
            for _ in range(num_frames):
                writer.write(picture)
                on_frame()
            clock.encode_seconds += perf_counter() - started
        return writer.close()
