"""Sound stays where it was: clicks against painted frame numbers at the start, in the middle and at the end of a film."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.cli import run
from tests.avsync import RATE, apart, make_pictures, make_ref
from tests.clicks import Track

#: A minute at 23.976 frames a second; ``benchmarks/av_sync.py`` has twenty.
NUM = round(60 * RATE)
CLICKS = (12, 30, 400, NUM // 2, NUM // 2 + 37, NUM - 200, NUM - 20, NUM - 8)
TRACKS = (Track("aac"), Track("flac", 44100), Track("libopus"), Track("ac3"))
#: Ref's container, when its first frame is shown (in frames), when its sound begins (in seconds).
REFS = {
    "pictures first": ("mkv", 0, 0.31),
    "sound first": ("mp4", 17, 0.0),
    "cut by an edit list": ("mp4", -5, 0.0),
}


@pytest.mark.parametrize("name", REFS)
def test_click_and_frame_stay_together(tmp_path: Path, name: str):
    ending, first, heard_from = REFS[name]
    clip = make_pictures(tmp_path / "clip.mp4", NUM, first)
    tracks = [Track(track.codec, track.rate, "mono", start=heard_from) for track in TRACKS]
    ref = make_ref(tmp_path / f"ref.{ending}", clip, NUM, first, CLICKS, tracks)
    before = apart(ref, CLICKS)
    for container in ("mkv", "mp4"):
        out = tmp_path / f"out.{container}"
        quick = ("--pool", "local", "--no-sync", "--no-warp", "--quiet", "--preset", "ultrafast", "--chunk-frames", "400")
        assert run(["render", str(clip), str(ref), "-o", str(out), *quick]) == 0
        moved = 1000 * np.abs(apart(out, CLICKS) - before).max(axis=1)
        assert moved.max() < 1, f"{container}, milliseconds in each stream: {moved}"
