"""Sound against picture over twenty minutes: clicks and painted frame numbers, in the ref and in what is rendered of it.

    python benchmarks/av_sync.py [--minutes 20] [--folder FOLDER]

The ref has AAC, FLAC, Opus and AC-3; it begins its sound late and counts in milliseconds (mkv), or its picture, in exact times
(mp4). Prints per output and stream how many milliseconds a click lies further from its frame than in the ref: the worst of the
film's first third, of its second and of its last.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from orchestrator.cli import run
from tests.avsync import RATE, apart, make_pictures, make_ref
from tests.clicks import Track

TRACKS = (("aac", 48000), ("flac", 44100), ("libopus", 48000), ("ac3", 48000))
#: Ref's container, its first frame's number on the time axis, when its sound begins in seconds.
REFS = (("mkv", 0, 0.31), ("mp4", 17, 0.0))
QUICK = ("--pool", "local", "--no-sync", "--no-warp", "--quiet", "--preset", "ultrafast", "--overwrite")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for container, first, heard_from in REFS:
            measure(folder, container, first, heard_from, round(options.minutes * 60 * RATE))


def measure(folder: Path, container: str, first: int, heard_from: float, num_frames: int) -> None:
    """Make one ref, render it into mkv and mp4, and print what was measured."""
    third = num_frames // 3
    clicks = [12, 30, *range(400, num_frames - 300, 1000), num_frames - 200, num_frames - 20, num_frames - 8]
    clip = make_pictures(folder / f"clip-{container}.mp4", num_frames, first)
    tracks = [Track(codec, rate, "mono", start=heard_from) for codec, rate in TRACKS]
    ref = make_ref(folder / f"ref.{container}", clip, num_frames, first, clicks, tracks)
    before = apart(ref, clicks)
    for ending in ("mkv", "mp4"):
        out, started = folder / f"out-{container}.{ending}", time.monotonic()
        assert run(["render", str(clip), str(ref), "-o", str(out), *QUICK]) == 0
        seconds = time.monotonic() - started
        moved = 1000 * np.abs(apart(out, clicks) - before)
        print(f"{ref.name} -> {ending}: {num_frames} frames rendered in {seconds:.0f} s, {len(clicks)} clicks")
        for number, (codec, _) in enumerate(TRACKS):
            places = [moved[number][[min(n // third, 2) == place for n in clicks]].max() for place in (0, 1, 2)]
            print(f"  {codec:8} {' '.join(f'{worst:6.3f}' for worst in places)} ms", flush=True)


if __name__ == "__main__":
    main()
