"""``vsalign demo``: make a film and a damaged copy, render the copy back onto the film, hold the result against the truth."""

from __future__ import annotations

import shutil
import time
import wave
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from orchestrator import demofilm
from orchestrator.config import job_config
from orchestrator.demofilm import HEIGHT, NUM_FRAMES, RATE, WIDTH, Truth
from orchestrator.progress import Ui
from orchestrator.stopping import stop_on_signals
from orchestrator.walk import render
from tasks.decode import FrameReader
from tasks.encode import SegmentWriter
from tasks.messages import EncodeSettings, Probe, VideoFormat
from tasks.probe import parse_source, probe
from tasks.stitch import SegmentPlan, stitch
from tasks.streamcopy import all_sound
from vsalign.framemap import FrameMap
from vsalign.frames import FrameRange
from vsalign.picture import ColourTags, Picture, SampleFormat, luma

AUDIO_HZ = 48000
#: Film frames at which the warp is measured: two in every shot.
PROBED_FRAMES = (40, 80, 120, 180, 220, 280, 320, 400, 430, 490)
_RGB = SampleFormat("gbrp", "rgb", 8, 3)


def run_demo(folder: Path, pool: str) -> int:
    """Run the demo in ``folder``; prints the table and returns the exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    ui, truth = Ui(), demofilm.make_truth()
    ref_path, clip_path, out_path = folder / "ref.mkv", folder / "clip.mkv", folder / "aligned.mkv"
    if not (ref_path.exists() and clip_path.exists()):
        ui.say(f"making {ref_path} and {clip_path}: {NUM_FRAMES / RATE:.0f} s of {WIDTH}x{HEIGHT} with sound")
        make_films(ref_path, clip_path, truth, folder)
    config = job_config(
        {
            "clip": str(clip_path),
            "ref": str(ref_path),
            "out": str(out_path),
            "output": {"overwrite": True},
            "run": {"pool": pool},
        },
        "demo",
    )
    # Each demo is a job of its own: reusing the last one's chunks would show nothing.
    shutil.rmtree(config.job_location, ignore_errors=True)
    rendered = time.monotonic()
    with stop_on_signals() as stop:
        report = render(config, ui, stop).to_json()
    seconds = time.monotonic() - rendered
    clip, ref, out = (probe(parse_source(str(path))) for path in (clip_path, ref_path, out_path))
    text = (Path(config.job_location) / "map.csv").read_text(encoding="utf-8")
    frame_map = FrameMap.from_csv(text, len(ref.index), len(clip.index))
    picture = folder / "demo.png"
    write_picture(picture, clip, ref, out, frame_map)
    results = measure(truth, frame_map, clip, ref)
    results |= {"report": report, "seconds": seconds}
    Console(highlight=False).print(_table(results, out_path, picture))
    return 0


def make_films(ref_path: Path, clip_path: Path, truth: Truth, folder: Path) -> None:
    """Write the film (with sound) and its copy."""
    sound = folder / "sound.wav"
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(AUDIO_HZ)
        file.writeframes(demofilm.audio_samples(AUDIO_HZ).tobytes())
    _write_film(ref_path, demofilm.film_frames(), NUM_FRAMES, crf=14.0, sound=sound)
    _write_film(clip_path, demofilm.copy_frames(truth), len(truth.source_of), crf=24.0, sound=sound)
    sound.unlink()


def measure(truth: Truth, frame_map: FrameMap, clip: Probe, ref: Probe) -> dict[str, Any]:
    """Exact-frame rate over ref frames whose moment the clip has, and mean end-point error of the warp before and after, px."""
    present = np.unique(truth.source_of)
    found = frame_map.clip_frame[present]
    exact = (found >= 0) & (truth.source_of[np.maximum(found, 0)] == present)
    matched = [n for n in PROBED_FRAMES if n in present and frame_map.clip_frame[n] >= 0]
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    true_x, true_y = truth.clip_from_ref[..., 0], truth.clip_from_ref[..., 1]
    inside = (true_x >= 4) & (true_x <= WIDTH - 5) & (true_y >= 4) & (true_y <= HEIGHT - 5)
    before = float(np.hypot(true_x - x, true_y - y)[inside].mean())
    errors = [
        float(np.hypot(true_x - warp[0], true_y - warp[1])[inside].mean()) for warp in _warps(clip, ref, frame_map, matched)
    ]
    return {"exact_rate": float(exact.mean()), "warp_before": before, "warp_after": float(np.mean(errors))}


def write_picture(path: Path, clip: Probe, ref: Probe, out: Probe, frame_map: FrameMap, frame: int = 250) -> None:
    """One PNG: clip, ref and aligned side by side; below, what differs from ref before and after, and both in squares."""
    shown = int(frame_map.clip_frame[frame])
    (clip_rgb, clip_y), (ref_rgb, ref_y), (out_rgb, out_y) = (
        _picture(source, number) for source, number in ((clip, max(shown, 0)), (ref, frame), (out, frame))
    )
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] // 60
    chequer = np.where(((x + y) % 2 == 0)[..., None], ref_rgb, out_rgb)
    rows = (
        ((f"clip, frame {shown}", clip_rgb), (f"ref, frame {frame}", ref_rgb), (f"aligned, frame {frame}", out_rgb)),
        (
            ("clip - ref (look removed)", _difference(clip_y, ref_y)),
            ("ref and aligned in squares", chequer),
            ("aligned - ref (look removed)", _difference(out_y, ref_y)),
        ),
    )
    image = np.vstack([np.hstack([_titled(title, panel) for title, panel in row]) for row in rows])
    cv2.imwrite(str(path), image[..., ::-1])


def _write_film(path: Path, frames: Iterable[npt.NDArray[np.uint8]], num_frames: int, crf: float, sound: Path) -> None:
    video = VideoFormat(WIDTH, HEIGHT, Fraction(RATE), Fraction(1), ColourTags(1, 1, 1, 1, 1))
    segment = path.with_suffix(".video.mkv")
    writer = SegmentWriter(str(segment), video, EncodeSettings(crf=crf, preset="veryfast"), "yuv420p")
    for frame in frames:
        planes = tuple(np.ascontiguousarray(frame[..., channel]) for channel in (1, 2, 0))
        writer.write(Picture(planes, _RGB, ColourTags(1, 1, 0, 2, 0)))
    writer.close()
    ticks = 1000 // RATE
    pts = np.array([round(n * 1000 / RATE) for n in range(num_frames)], np.int64)
    plan = [SegmentPlan(str(segment), FrameRange(0, num_frames))]
    aside = path.with_suffix(".part.mkv")
    stitch(plan, pts, Fraction(1, 1000), ticks, str(aside), all_sound(str(sound)), None)
    segment.unlink()
    # The name appears only when the film is whole: a killed demo starts over.
    aside.rename(path)


def _warps(clip: Probe, ref: Probe, frame_map: FrameMap, frames: list[int]) -> list[npt.NDArray[np.float32]]:
    """The warp (2, H, W) that the engine finds for each of ``frames``."""
    import torch

    from vsalign.estimate import estimate_warp

    warps = []
    with FrameReader(clip) as clips, FrameReader(ref) as refs:
        pairs = zip(clips.pictures(frame_map.clip_frame[frames].tolist()), refs.pictures(frames), strict=True)
        for (_, moved), (_, target) in pairs:
            lumas = (torch.from_numpy(luma(picture)).clamp(0, 1)[None, None] for picture in (moved, target))
            warps.append(estimate_warp(*lumas, precision=2).clip_from_ref[0].numpy())
    return warps


def _picture(source: Probe, frame: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """A frame for looking at, RGB (H, W, 3), and its luma."""
    with FrameReader(source) as reader:
        picture = next(reader.pictures([frame]))[1]
    y, u, v = picture.planes
    packed = np.concatenate([plane.reshape(-1) for plane in (y, u, v)]).reshape(HEIGHT * 3 // 2, WIDTH)
    return np.asarray(cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420), np.uint8), luma(picture)


def _difference(moved: npt.NDArray[np.float32], ref: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Grey 128 where equal once the look is taken out: gain and black are fitted, so that what is left is geometry."""
    gain, black = np.polyfit(moved.ravel(), ref.ravel(), 1)
    shown = np.clip(128 + 2 * 255 * (moved * gain + black - ref), 0, 255)
    return np.repeat(shown.astype(np.uint8)[..., None], 3, axis=2)


def _titled(title: str, panel: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    bar = np.full((28, WIDTH, 3), 24, np.uint8)
    cv2.putText(bar, title, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (235, 235, 235), 1, cv2.LINE_AA)
    return np.asarray(np.vstack([bar, panel]), np.uint8)


def _table(results: dict[str, Any], out: Path, picture: Path) -> Table:
    report = results["report"]
    table = Table("what", "truth", "result", title="vsalign demo: a damaged copy moved back onto its film")
    table.add_row("exact frames", "100 %", f"{100 * results['exact_rate']:.1f} %")
    table.add_row("frames before the clip begins", str(demofilm.OFFSET_FRAMES), str(_leading_unmatched(report)))
    table.add_row("warp error before", "", f"{results['warp_before']:.2f} px")
    table.add_row("warp error after", "0.00 px", f"{results['warp_after']:.2f} px")
    table.add_row("frames, chunks", str(NUM_FRAMES), f"{report['frames']}, {report['chunks']}")
    table.add_row(
        "sync, align and encode, stitch", "", f"{results['seconds']:.0f} s, {NUM_FRAMES / results['seconds']:.1f} frames/s"
    )
    table.add_row("output", "", str(out))
    table.add_row("picture to look at", "", str(picture))
    return table


def _leading_unmatched(report: dict[str, Any]) -> int:
    return int(report["matches"]["unmatched_at_start"])
