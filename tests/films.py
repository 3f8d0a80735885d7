"""Small textured films for end-to-end tests, with audio and a copy whose answer is known."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from tasks.encode import SegmentWriter
from tasks.messages import EncodeSettings, VideoFormat
from tasks.stitch import SegmentPlan, stitch
from tasks.streamcopy import all_sound
from tasks.streamplan import NO_EXTRAS
from vsalign.frames import FrameRange
from vsalign.picture import ColourTags, Picture, SampleFormat

GRAY = SampleFormat("gray", "gray", 8, 1)
RATE = Fraction(24)


def texture(seed: int, width: int, height: int) -> npt.NDArray[np.float32]:
    """Noise of several scales in [0, 255]."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    for cell in (4, 8, 16, 32):
        noise = random.standard_normal((height // cell + 2, width // cell + 2)).astype(np.float32)
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * cell**0.5
    return np.clip(128 + 50 * total / total.std(), 0, 255)


def film(num_frames: int, width: int = 96, height: int = 64, shot: int = 40, seed: int = 0) -> npt.NDArray[np.uint8]:
    """(N, H, W) gray: shots of ``shot`` frames, each a drift of its own over a texture of its own.

    Equal drifts would make a shift in space look like one in time.
    """
    frames = np.empty((num_frames, height, width), np.uint8)
    for n in range(num_frames):
        ground = texture(seed * 1000 + n // shot, width + 80, height + 80)
        angle, step = 2.4 * (n // shot), n % shot - shot / 2
        matrix = np.array([[1, 0, 40 + 1.6 * np.cos(angle) * step], [0, 1, 40 + 1.6 * np.sin(angle) * step]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        frames[n] = cv2.warpAffine(ground, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return frames


def graded(frames: npt.NDArray[np.uint8], shift: tuple[float, float] = (1.5, -0.75)) -> npt.NDArray[np.uint8]:
    """The film in another look, each frame moved by ``shift`` pixels (x, y)."""
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    moved = [cv2.warpAffine(f, matrix, f.shape[::-1], borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_CUBIC) for f in frames]
    return np.clip((np.stack(moved) / 255.0) ** 1.2 * 220 + 12, 0, 255).astype(np.uint8)


def write_film(
    path: Path,
    frames: npt.NDArray[np.uint8],
    *,
    codec: str = "libx264",
    crf: float | None = 12.0,
    pts: npt.NDArray[np.int64] | None = None,
    time_base: Fraction = Fraction(1, 1000),
    sound: bool = False,
    pixel_format: str = "yuv420p",
) -> Path:
    """Write gray ``frames`` (N, H, W) to ``path`` with the given PTS (default 24 fps), and a tone if ``sound``."""
    num_frames, height, width = frames.shape
    video = VideoFormat(width, height, RATE, Fraction(1), ColourTags(1, 1, 1, 1, 1))
    segment = path.with_suffix(".segment.mkv")
    preset = "ultrafast" if codec == "libx264" else ""
    writer = SegmentWriter(str(segment), video, EncodeSettings(codec=codec, crf=crf, preset=preset), pixel_format)
    for frame in frames:
        writer.write(Picture((np.ascontiguousarray(frame),), GRAY, ColourTags(1, 1, 1, 2, 0)))
    writer.close()
    if pts is None:
        pts = np.array([round(n * 1000 / RATE) for n in range(num_frames)], np.int64)
    audio = NO_EXTRAS
    if sound:
        tone = _write_tone(path.with_suffix(".wav"), float((pts[-1] - pts[0]) * time_base))
        audio = all_sound(str(tone))
    last = int(pts[-1] - pts[-2]) if num_frames > 1 else 40
    stitch([SegmentPlan(str(segment), FrameRange(0, num_frames))], pts, time_base, last, str(path), audio, None)
    segment.unlink()
    return path


def write_pair(folder: Path, num_frames: int = 100, offset: int = 3, **options: object) -> tuple[Path, Path]:
    """(clip, ref): the clip starts ``offset`` frames into the ref's film, in another look; the ref has sound."""
    frames = film(num_frames)
    ref = write_film(folder / "ref.mkv", frames, sound=True, **options)  # type: ignore[arg-type]
    clip = write_film(folder / "clip.mkv", graded(frames[offset:]), **options)  # type: ignore[arg-type]
    return clip, ref


def _write_tone(path: Path, seconds: float) -> Path:
    t = np.arange(round(seconds * 8000)) / 8000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.asarray(np.sin(2 * np.pi * 440 * t) * 9000, np.int16).tobytes())
    return path
