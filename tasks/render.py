"""Render: one chunk from decode through observe and align to an encoded segment, as threads of one process around small queues.

Every output frame is settled from the pairs within ``smooth_time`` ref frames of it, in this chunk or not, so chunk borders
change nothing. Observations stay while a window needs them, clip pictures only until their frame is made: between the queues
there are never more than ``smooth_time`` + 1 of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from tasks.align import Aligned, lay, observe_pair, parked, settled_warp, without_detail
from tasks.encode import SegmentWriter
from tasks.errors import SegmentMismatch
from tasks.gather import Pair, pairs_of, runs_of, substitutes_of
from tasks.messages import Segment
from tasks.pipeline import prefetch
from tasks.progress import OnFrame
from tasks.store import JobStore
from tasks.thrift import LEVELS, Thrift, Turns
from tasks.window import Windows
from tasks.work import RenderWork
from vsalign.picture import Picture
from vsalign.steady import Observation

Facts = dict[str, float | int | str]


@dataclass(slots=True)
class Seen:
    """What is kept of a pair: its observation, and its pictures until they are taken; neighbouring chunks' are not kept."""

    observation: Observation | None
    clip: Picture | None
    ref: Picture | None

    def take(self) -> tuple[Picture, Picture | None]:
        """The pictures, to be shown now and let go."""
        clip, ref = self.clip, self.ref
        self.clip = self.ref = None
        assert clip is not None, "a pair is shown by one run only"
        return clip, ref

    def let_go(self) -> None:
        """It has been shown: from here on it is a neighbour only."""
        if self.observation is not None:
            self.observation = without_detail(self.observation)


@dataclass(slots=True)
class Tally:
    """Sums over a chunk's frames; each field has one thread that writes it."""

    observe_seconds: float = 0.0
    align_seconds: float = 0.0
    encode_seconds: float = 0.0
    aligned_frames: int = 0
    confidence: float = 0.0
    mismatched: float = 0.0
    wide_found: int = 0

    def add(self, aligned: Aligned, num_frames: int) -> None:
        self.aligned_frames += num_frames
        self.confidence += aligned.confidence * num_frames
        self.mismatched += aligned.mismatched * num_frames
        self.wide_found += aligned.wide_found * num_frames

    def facts(self) -> Facts:
        """``confidence`` and ``mismatched`` are means over ``aligned_frames``."""
        frames = max(self.aligned_frames, 1)
        return {
            "observe_seconds": round(self.observe_seconds, 3),
            "align_seconds": round(self.align_seconds, 3),
            "encode_seconds": round(self.encode_seconds, 3),
            "aligned_frames": self.aligned_frames,
            "confidence": round(self.confidence / frames, 4),
            "mismatched": round(self.mismatched / frames, 6),
            "wide_found": self.wide_found,
        }


def render_chunk(
    work: RenderWork, store: JobStore, folder: Path, on_frame: OnFrame, device: str = "cpu", thrift: Thrift = LEVELS[0]
) -> tuple[Path, Facts]:
    """Encode the chunk into ``folder`` and check the file that came out; returns its path and facts for the record.

    ``thrift`` changes how much memory that takes, and no byte.
    """
    path, tally, turns, ahead = folder / "segment.mkv", Tally(), Turns(thrift), thrift.queue_frames
    # Leaving in this order ends the threads before the readers that they use are closed.
    with (
        ExitStack() as readers,
        closing(prefetch(pairs_of(work, store, readers), ahead)) as pairs,
        closing(prefetch(_observe(work, pairs, tally, device, turns), ahead)) as seen,
        closing(prefetch(substitutes_of(work, store, readers), ahead)) as substitutes,
        closing(prefetch(_align(work, seen, substitutes, tally, turns), ahead)) as aligned,
    ):
        segment = _encode(work, str(path), aligned, tally, on_frame)
    if segment.num_frames != len(work.ref_frames):
        raise SegmentMismatch(segment.path, "number of frames", len(work.ref_frames), segment.num_frames)
    return path, {"header_sha256": segment.header_sha256, **tally.facts()}


def _observe(work: RenderWork, pairs: Iterator[Pair], tally: Tally, device: str, turns: Turns) -> Iterator[Seen]:
    own = {run.ref_frame for run in runs_of(work) if run.matched}
    paints = work.align.mismatch != "keep"
    for pair in pairs:
        shown = pair.ref_frame in own
        with turns.turn():
            started = perf_counter()
            observation = observe_pair(pair, work.align, device)
            tally.observe_seconds += perf_counter() - started
            if observation is not None and not shown:
                observation = without_detail(observation)
            elif observation is not None and turns.thrift.in_turn:
                observation = parked(observation)
        yield Seen(observation, pair.clip if shown else None, pair.ref if shown and paints else None)


def _align(
    work: RenderWork, seen: Iterator[Seen], substitutes: Iterator[Picture], tally: Tally, turns: Turns
) -> Iterator[tuple[Picture, int]]:
    windows = Windows([ref for ref, _ in work.pairs], seen, work.align.smooth_time if work.align.warp else 0)
    for run in runs_of(work):
        if not run.matched:
            yield next(substitutes), run.num_frames
            continue
        window, at = windows.around(run.ref_frame)
        with turns.turn():
            started = perf_counter()
            aligned = _aligned(work, window, at, turns.thrift.tile_rows)
            tally.align_seconds += perf_counter() - started
        tally.add(aligned, run.num_frames)
        yield aligned.picture, run.num_frames


def _aligned(work: RenderWork, window: list[Seen], at: int, tile_rows: int) -> Aligned:
    clip, ref = window[at].take()
    warp = None
    if observations := [pair.observation for pair in window if pair.observation is not None]:
        warp = settled_warp(observations, at, work.film_geometry, clip, work.video)
        window[at].let_go()
    return lay(clip, ref, warp, work.video, work.align, tile_rows)


def _encode(work: RenderWork, path: str, aligned: Iterator[tuple[Picture, int]], tally: Tally, on_frame: OnFrame) -> Segment:
    with SegmentWriter(path, work.video, work.encode, work.pixel_format) as writer:
        for picture, num_frames in aligned:
            started = perf_counter()
            for _ in range(num_frames):
                writer.write(picture)
                on_frame()
            tally.encode_seconds += perf_counter() - started
        return writer.close()
