"""Render: one chunk from decode through observe and align to an encoded segment, as threads of one process around small queues.

Every output frame is settled from the pairs within ``smooth_time`` ref frames of it, in this chunk or not, so chunk borders
change nothing. Observations stay while a window needs them, clip pictures only until their frame is made: between the queues
there are never more than ``smooth_time`` + 1 of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from tasks.align import Aligned, lay, observe_pair, parked, settled_warp, without_detail
from tasks.colourcheck import colour_problems
from tasks.encode import SegmentWriter
from tasks.errors import SegmentMismatch
from tasks.gather import Pair, pairs_of, runs_of, substitutes_of
from tasks.messages import Segment
from tasks.pipeline import Waits, prefetch
from tasks.progress import OnFrame
from tasks.reading import Readers
from tasks.seams import segment_ends
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
            "aligned_frames": self.aligned_frames,
            "confidence": round(self.confidence / frames, 4),
            "mismatched": round(self.mismatched / frames, 6),
            "wide_found": self.wide_found,
        }


@dataclass(slots=True)
class Steps:
    """The queues between decode -> observe -> align -> encode, and how long the chunk took: who was at work how long."""

    pairs: Waits = field(default_factory=Waits)
    seen: Waits = field(default_factory=Waits)
    aligned: Waits = field(default_factory=Waits)
    started: float = field(default_factory=perf_counter)

    def facts(self) -> Facts:
        """Seconds that each step was at work, and those of the whole; the rest of the whole it waited."""
        whole = perf_counter() - self.started
        waited = {
            "decode_seconds": self.pairs.for_room,
            "observe_seconds": self.pairs.for_items + self.seen.for_room,
            "align_seconds": self.seen.for_items + self.aligned.for_room,
            "encode_seconds": self.aligned.for_items,
        }
        busy = {name: round(max(whole - seconds, 0.0), 3) for name, seconds in waited.items()}
        return {**busy, "chunk_seconds": round(whole, 3)}


def render_chunk(
    work: RenderWork, store: JobStore, folder: Path, on_frame: OnFrame, device: str = "cpu", thrift: Thrift = LEVELS[0]
) -> tuple[Path, Facts]:
    """Encode the chunk into ``folder`` and check the file that came out; returns its path and facts for the record.

    ``thrift`` changes how much memory that takes, and no byte.
    """
    path, tally, steps, turns, ahead = folder / "segment.mkv", Tally(), Steps(), Turns(thrift), thrift.queue_frames
    # Leaving in this order ends the threads before the readers that they use are closed.
    with (
        Readers() as readers,
        closing(prefetch(pairs_of(work, store, readers), ahead, steps.pairs)) as pairs,
        closing(prefetch(_observe(work, pairs, device, turns), ahead, steps.seen)) as seen,
        closing(prefetch(substitutes_of(work, store, readers), ahead)) as substitutes,
        closing(prefetch(_align(work, seen, substitutes, tally, turns), ahead, steps.aligned)) as aligned,
    ):
        segment = _encode(work, str(path), aligned, on_frame)
    if segment.num_frames != len(work.ref_frames):
        raise SegmentMismatch(segment.path, "number of frames", len(work.ref_frames), segment.num_frames)
    facts = {"header_sha256": segment.header_sha256, **tally.facts(), **steps.facts(), **readers.facts()}
    started = perf_counter()
    if problems := colour_problems(segment.path, work.video, work.pixel_format, work.encode.codec):
        raise SegmentMismatch(segment.path, "its picture", "as planned", "; ".join(problems))
    ends = segment_ends(segment.path)
    return path, {**facts, **ends.facts(), "ends_seconds": round(perf_counter() - started, 3)}


def _observe(work: RenderWork, pairs: Iterator[Pair], device: str, turns: Turns) -> Iterator[Seen]:
    own = {run.ref_frame for run in runs_of(work) if run.matched}
    paints = work.align.mismatch != "keep"
    for pair in pairs:
        shown = pair.ref_frame in own
        with turns.turn():
            observation = observe_pair(pair, work.align, device)
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
            aligned = _aligned(work, window, at, turns.thrift.tile_rows)
        tally.add(aligned, run.num_frames)
        yield aligned.picture, run.num_frames


def _aligned(work: RenderWork, window: list[Seen], at: int, tile_rows: int) -> Aligned:
    clip, ref = window[at].take()
    warp = None
    if observations := [pair.observation for pair in window if pair.observation is not None]:
        warp = settled_warp(observations, at, work.film_geometry, clip, work.video)
        window[at].let_go()
    return lay(clip, ref, warp, work.video, work.align, tile_rows)


def _encode(work: RenderWork, path: str, aligned: Iterator[tuple[Picture, int]], on_frame: OnFrame) -> Segment:
    with SegmentWriter(path, work.video, work.encode, work.pixel_format) as writer:
        for picture, num_frames in aligned:
            for _ in range(num_frames):
                writer.write(picture)
                on_frame()
        return writer.close()
