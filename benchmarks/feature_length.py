"""A film of two hours' worth of tiny frames through the whole job: plan, sync, render --no-warp, stitch, verify.

    python benchmarks/feature_length.py [--frames 172800] [--folder FOLDER]

Prints seconds per stage, and the driver's peak memory beside that of a 1,000-frame film: the difference is what length costs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from tasks.encode import SegmentWriter
from tasks.messages import EncodeSettings, VideoFormat
from tasks.stitch import SegmentPlan, stitch
from vsalign.frames import FrameRange
from vsalign.picture import ColourTags, Picture, SampleFormat

WIDTH, HEIGHT, SHOT, OFFSET = 64, 36, 160, 50
GRAY = SampleFormat("gray", "gray", 8, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=172_800)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        short = measure(folder, 1000)
        long = measure(folder, options.frames)
    print(f"driver: {long - short:.0f} MB more for {options.frames} frames ({long:.0f} MB) than for 1000 ({short:.0f} MB)")


def measure(folder: Path, num_frames: int) -> float:
    """Render a film of ``num_frames`` frames; prints its stages and returns the driver's peak memory in MB."""
    ref, clip, out = (folder / f"{name}-{num_frames}.mkv" for name in ("ref", "clip", "out"))
    started = time.monotonic()
    for path, first in ((ref, 0), (clip, OFFSET)):
        if not path.exists():
            write_film(path, num_frames, first)
    print(f"{num_frames} frames; films made in {time.monotonic() - started:.1f} s", flush=True)
    started = time.monotonic()
    vsalign = [sys.executable, "-m", "orchestrator.cli"]
    subprocess.run([*vsalign, "plan", str(clip), str(ref), "--json"], check=True, stdout=subprocess.DEVNULL)
    print(f"  plan command {time.monotonic() - started:.2f} s")
    started = time.monotonic()
    command = [*vsalign, "render", str(clip), str(ref), "-o", str(out), "--no-warp", "--quiet", "--overwrite"]
    driver, peak = subprocess.Popen(command), 0.0
    while driver.poll() is None:
        peak = max(peak, peak_mb(driver.pid))
        time.sleep(0.2)
    if driver.returncode:
        raise SystemExit(driver.returncode)
    report = json.loads((folder / f"{out.name}.vsalign" / "report.json").read_text())
    for stage in report["stages"]:
        print(f"  {stage['name']:8} {stage['seconds']:8.1f} s  {stage['frames_per_second']:10.0f} frames/s")
    found = report["matches"]
    print(f"  whole    {time.monotonic() - started:8.1f} s  {found['matched']} matched, offset {found['common_offset_frames']}")
    return peak


def write_film(path: Path, num_frames: int, first: int) -> None:
    """Frames ``first`` and on of an endless film of drifting textures, 24 frames a second."""
    video = VideoFormat(WIDTH, HEIGHT, Fraction(24), Fraction(1), ColourTags(1, 1, 1, 1, 1))
    segment = path.with_suffix(".segment.mkv")
    writer = SegmentWriter(str(segment), video, EncodeSettings(crf=20.0, preset="ultrafast"), "yuv420p")
    for frame in drifting(first, first + num_frames):
        writer.write(Picture((frame,), GRAY, ColourTags(1, 1, 1, 2, 0)))
    writer.close()
    pts = np.rint(np.arange(num_frames) * 1000 / 24).astype(np.int64)
    stitch([SegmentPlan(str(segment), FrameRange(0, num_frames))], pts, Fraction(1, 1000), 42, str(path))
    segment.unlink()


def drifting(start: int, stop: int) -> Iterator[np.ndarray]:
    for n in range(start, stop):
        if n == start or n % SHOT == 0:
            random = np.random.default_rng(n // SHOT)
            ground = texture(random, 240)
        step = n % SHOT
        yield np.ascontiguousarray(ground[step : step + HEIGHT, 170 - step : 170 - step + WIDTH])


def texture(random: np.random.Generator, size: int) -> np.ndarray:
    """Noise of several scales, (size, size) uint8."""
    total = np.zeros((size, size), np.float32)
    for cell in (4, 8, 24):
        noise = random.standard_normal((1 + size // cell, 1 + size // cell)).astype(np.float32)
        total += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC) * cell**0.5
    return np.clip(128 + 48 * total / total.std(), 0, 255).astype(np.uint8)


def peak_mb(pid: int) -> float:
    """High-water mark of a process's resident memory."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


if __name__ == "__main__":
    main()
