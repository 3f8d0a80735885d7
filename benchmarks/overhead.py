"""What orchestration costs: `vsalign render` on one Ray worker against the same chunks through the same functions in one plain
process, turn about on one machine.

    python benchmarks/overhead.py [--rounds 3] [--frames 720] [--size 640x360] [--chunk-frames 96]

The plain process, a fresh one each time as the worker is, decodes, aligns and encodes every chunk and joins the film, keeping
no records. Of the job's time Ray's start, up to the first chunk's submission, is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from benchmarks.machine import described, markdown
from orchestrator.config import JobConfig, job_config
from orchestrator.plan import choose_bounds
from orchestrator.preflight import look_at_inputs
from orchestrator.works import plan_job, render_works
from tasks.localstore import LocalStore
from tasks.sources import write_probe
from tasks.stitch import SegmentPlan, stitch, verify
from tasks.streamcopy import all_sound
from tests.films import film, graded, write_film
from vsalign.framemap import FrameMap


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of the wall for the same work done both ways."""

    plain_render: float
    plain_join: float
    job_render: float
    job_join: float
    start: float

    @property
    def overhead(self) -> float:
        """Share by which the job's chunks took longer than the plain process's."""
        return self.job_render / self.plain_render - 1


def main() -> None:
    arguments = parsed()
    if arguments.plain:
        here, out = map(Path, arguments.plain)
        print(json.dumps(plain(here, out, arguments.chunk_frames)))
        return
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        frames = film(arguments.frames, width, height, shot=60)
        write_film(here / "ref.mkv", frames, sound=True)
        write_film(here / "clip.mkv", graded(frames))
        rounds = [one_round(here, number, arguments.chunk_frames) for number in range(arguments.rounds)]
    print(
        f"{described(torch.device('cpu'))}; {arguments.frames} frames of {arguments.size}, chunks of {arguments.chunk_frames}\n"
    )
    print(markdown(("round", "plain: chunks s", "join s", "job: chunks s", "join s", "Ray's start s", "overhead of chunks")))
    for number, took in enumerate(rounds):
        print(
            f"| {number + 1} | {took.plain_render:.2f} | {took.plain_join:.2f} | {took.job_render:.2f} | {took.job_join:.2f} "
            f"| {took.start:.1f} | {100 * took.overhead:+.1f} % |"
        )
    print(f"\nmedian overhead {100 * statistics.median(took.overhead for took in rounds):+.1f} %")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="vsalign render on one worker against one plain process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=720)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--chunk-frames", type=int, default=96)
    parser.add_argument(
        "--plain", nargs=2, metavar=("FOLDER", "OUT"), help="only the plain process's part; used by this program"
    )
    return parser.parse_args()


def settings(here: Path, out: Path, chunk_frames: int) -> JobConfig:
    values = {"clip": str(here / "clip.mkv"), "ref": str(here / "ref.mkv"), "out": str(out)}
    return job_config({**values, "sync": {"mode": "none"}, "run": {"chunk_frames": chunk_frames, "workers": 1}}, "benchmark")


def one_round(here: Path, number: int, chunk_frames: int) -> Took:
    """Both ways, the plain one first in even rounds."""
    job_out, plain_out = here / f"job-{number}.mkv", here / f"plain-{number}.mkv"
    if number % 2:
        job, bare = by_job(here, job_out, chunk_frames), by_plain(here, plain_out, chunk_frames)
    else:
        bare, job = by_plain(here, plain_out, chunk_frames), by_job(here, job_out, chunk_frames)
    assert job_out.read_bytes() == plain_out.read_bytes()
    return Took(*bare, *job)


def by_plain(here: Path, out: Path, chunk_frames: int) -> tuple[float, float]:
    """``plain`` in a process of its own."""
    command = [sys.executable, __file__, "--plain", str(here), str(out), "--chunk-frames", str(chunk_frames)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    render, join = json.loads(done.stdout.splitlines()[-1])
    return render, join


def plain(here: Path, out: Path, chunk_frames: int) -> tuple[float, float]:
    """(seconds of all chunks, seconds of joining) in this process."""
    config = settings(here, out, chunk_frames)
    inputs = look_at_inputs(config)
    clip, ref = inputs.clip.index, inputs.ref.index
    store = LocalStore(out.with_suffix(".plain"))
    for role, probe in (("clip", inputs.clip), ("ref", inputs.ref)):
        write_probe(store, role, probe)
    made, expected = plan_job(config, inputs, choose_bounds(clip, ref, chunk_frames, 1))
    works = render_works(made, inputs, config, FrameMap.of_clip_frames(expected, len(clip)), store.location)
    torch.set_num_threads(1)
    started, segments = time.perf_counter(), []
    from tasks.render import render_chunk

    for work in works:
        path, _ = render_chunk(work, store, store.scratch(), lambda: None)
        segments.append(SegmentPlan(str(path), work.ref_frames))
    rendered = time.perf_counter()
    stitch(segments, ref.pts, ref.time_base, int(ref.duration[-1]), str(out), all_sound(config.ref))
    assert not verify(str(out), ref.pts, ref.time_base, True).problems
    return rendered - started, time.perf_counter() - rendered


def by_job(here: Path, out: Path, chunk_frames: int) -> tuple[float, float, float]:
    """(seconds from the first chunk's submission to the last one's end, of joining, of starting) of `vsalign render`."""
    arguments = [str(here / "clip.mkv"), str(here / "ref.mkv"), "-o", str(out), "--no-sync", "--workers", "1"]
    command = [sys.executable, "-m", "orchestrator.cli", "render", *arguments, "--chunk-frames", str(chunk_frames), "--quiet"]
    started = time.time()
    subprocess.run(command, check=True, cwd=Path(__file__).parent.parent, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in Path(f"{out}.vsalign", "journal.jsonl").read_text().splitlines()]
    begun = [line["time"] for line in lines if line["stage"] == "render" and line["what"] == "submitted"]
    done = [line["time"] for line in lines if line["stage"] == "render" and line["what"] == "done"]
    joined = [line["time"] for line in lines if line["stage"] == "stitch"]
    return max(done) - min(begun), joined[-1] - joined[0], min(begun) - started


if __name__ == "__main__":
    main()
