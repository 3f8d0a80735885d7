"""How well the steps of a chunk overlap: frames/s of decode, observe, align and encode alone, of the whole, and who waits.

    python benchmarks/pipeline.py [--size 854x480 --size 1920x1080] [--frames 288] [--rounds 3] [--device cpu] [--precision 2]

Alone, a step gets its input from memory and nothing else runs. The whole is ``tasks.render.render_chunk`` from files to a file.
Its efficiency is its frames/s over those of its slowest step alone; where the steps together ask for more cores than there are,
no order of work reaches 1, and the table says how far the cores alone would let it come.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from benchmarks.machine import described, markdown
from orchestrator.config import job_config
from orchestrator.plan import choose_bounds
from orchestrator.preflight import look_at_inputs
from orchestrator.works import plan_job, render_works
from tasks.align import Aligned, lay, observe_pair, settled_warp, without_detail
from tasks.encode import SegmentWriter
from tasks.gather import Pair, pairs_of
from tasks.localstore import LocalStore
from tasks.messages import EncodeSettings, VideoFormat
from tasks.reading import Readers
from tasks.render import render_chunk
from tasks.sources import write_probe
from tasks.window import Windows
from tasks.work import RenderWork
from tests.films import film, graded
from vsalign.framemap import FrameMap
from vsalign.picture import ColourTags, Picture, SampleFormat
from vsalign.steady import Observation

STEPS = ("decode", "observe", "align", "encode")


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds of the wall and of CPU, all threads together, for ``frames`` frames."""

    frames: int
    wall: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.frames / self.wall


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(1)
    device = arguments.device
    print(f"{described(torch.device(device))}; {arguments.frames} frames, precision {arguments.precision}, libx264 medium\n")
    heads = ("size", *(f"{step} alone, frames/s" for step in STEPS), "whole", "efficiency", "cores allow")
    print(markdown((*heads, *(f"{step} waits" for step in STEPS))))
    for size in arguments.size or ["854x480", "1920x1080"]:
        width, height = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            work, store = prepared(Path(folder), width, height, arguments)
            rounds = [one_round(work, store, device) for _ in range(arguments.rounds)]
        best = min(rounds, key=lambda each: abs(efficiency(each) - statistics.median(map(efficiency, rounds))))
        alone, whole, facts = best
        cells = [size, *(f"{alone[step].rate:.2f}" for step in STEPS), f"{whole.rate:.2f}", f"{efficiency(best):.2f}"]
        cells += [f"{cores_allow(alone):.2f}", *(f"{100 * waiting(facts, step):.0f} %" for step in STEPS)]
        print("| " + " | ".join(cells) + " |", flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="the steps of a chunk alone and together")
    parser.add_argument("--size", action="append")
    parser.add_argument("--frames", type=int, default=288)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", type=int, default=2)
    return parser.parse_args()


Round = tuple[dict[str, Timed], Timed, dict[str, float | int | str]]


def efficiency(found: Round) -> float:
    """The whole's frames/s over those of its slowest step alone."""
    alone, whole, _ = found
    return whole.rate / min(each.rate for each in alone.values())


def cores_allow(alone: dict[str, Timed]) -> float:
    """The efficiency at which all cores are at work all the time, 1 at most."""
    slowest = max(each.wall / each.frames for each in alone.values())
    together = sum(each.cpu / each.frames for each in alone.values()) / len(os.sched_getaffinity(0))
    return min(1.0, slowest / together)


def waiting(facts: dict[str, float | int | str], step: str) -> float:
    return 1 - float(facts[f"{step}_seconds"]) / float(facts["chunk_seconds"])


def one_round(work: RenderWork, store: LocalStore, device: str) -> Round:
    """Every step alone, then the whole."""
    alone: dict[str, Timed] = {}
    with Readers() as readers:
        alone["decode"], pairs = timed(work, lambda: list(pairs_of(work, store, readers)))
    alone["observe"], seen = timed(work, lambda: [observed(pair, work, device) for pair in pairs])
    alone["align"], pictures = timed(work, lambda: aligned(work, pairs, seen))
    alone["encode"], _ = timed(work, lambda: encoded(work, pictures, str(store.scratch() / "alone.mkv")))
    whole, (_, facts) = timed(work, lambda: render_chunk(work, store, store.scratch(), lambda: None, device))
    return alone, whole, facts


def timed[T](work: RenderWork, call: Callable[[], T]) -> tuple[Timed, T]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return Timed(len(work.ref_frames), time.perf_counter() - wall, time.process_time() - cpu), result


def observed(pair: Pair, work: RenderWork, device: str) -> Observation:
    found = observe_pair(pair, work.align, device)
    assert found is not None
    return found


def aligned(work: RenderWork, pairs: list[Pair], seen: list[Observation]) -> list[Picture]:
    frames = [ref for ref, _ in work.pairs]
    windows = Windows(frames, iter(range(len(frames))), work.align.smooth_time)
    return [one_aligned(work, pairs, seen, *windows.around(frame)).picture for frame in frames]


def one_aligned(work: RenderWork, pairs: list[Pair], seen: list[Observation], near: list[int], at: int) -> Aligned:
    window = [seen[n] if k == at else without_detail(seen[n]) for k, n in enumerate(near)]
    pair = pairs[near[at]]
    return lay(pair.clip, pair.ref, settled_warp(window, at, work.film_geometry, pair.clip, work.video), work.video, work.align)


def encoded(work: RenderWork, pictures: list[Picture], path: str) -> None:
    with SegmentWriter(path, work.video, work.encode, work.pixel_format) as writer:
        for picture in pictures:
            writer.write(picture)
        writer.close()


def prepared(here: Path, width: int, height: int, arguments: argparse.Namespace) -> tuple[RenderWork, LocalStore]:
    """One chunk of a made film in colour, all frames matched, as a unit of work with its store."""
    luma = film(arguments.frames, width, height, shot=arguments.frames)
    write_colour(here / "ref.mkv", luma)
    write_colour(here / "clip.mkv", graded(luma))
    values = {"clip": str(here / "clip.mkv"), "ref": str(here / "ref.mkv"), "out": str(here / "out.mkv")}
    run = {"chunk_frames": arguments.frames, "device": arguments.device}
    align = {"precision": arguments.precision}
    config = job_config({**values, "sync": {"mode": "none"}, "output": {"audio": "none"}, "run": run, "align": align}, "bench")
    inputs = look_at_inputs(config)
    store = LocalStore(here / "job")
    write_probe(store, "clip", inputs.clip)
    write_probe(store, "ref", inputs.ref)
    bounds = choose_bounds(inputs.clip.index, inputs.ref.index, arguments.frames, 1)
    plan, expected = plan_job(config, inputs, bounds)
    (work,) = render_works(plan, inputs, config, FrameMap.of_clip_frames(expected, len(inputs.clip.index)), str(store.location))
    return work, store


def write_colour(path: Path, luma: object) -> None:
    """``luma`` (N,H,W) with chroma made of it, as H.264 with B frames."""
    layout = SampleFormat("yuv420p", "yuv", 8, 3, 1, 1)
    num, height, width = luma.shape  # type: ignore[attr-defined]
    video = VideoFormat(width, height, Fraction(24), Fraction(1), ColourTags())
    with SegmentWriter(str(path), video, EncodeSettings("libx264", 14.0, "veryfast"), "yuv420p") as writer:
        for n in range(num):
            plane = luma[n]  # type: ignore[index]
            small = plane[::2, ::2]
            writer.write(Picture((plane, 96 + small // 4, 160 - small // 4), layout))
        writer.close()


if __name__ == "__main__":
    main()
