"""Clip and ref frames to measure speed on, and VapourSynth nodes that hand them out from memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import vapoursynth as vs
from film import Image, filling, rgb_frames

SIZES = {"720x480": (480, 720), "1440x1080": (1080, 1440), "1920x1080": (1080, 1920)}
SHOT = ("sam2_juggle_720p24.mp4", 100, 16)


def frames_of(folder: Path, size: tuple[int, int]) -> tuple[list[Image], list[Image]]:
    """Clip and ref frames of ``size``: a real shot, or textures where the clips are absent; the clip moved and recompressed."""
    name, first, count = SHOT
    if (folder / name).exists():
        refs = [filling(frame, size) for frame in rgb_frames(folder / name, first, count)]
    else:
        refs = [made_frame(size, n) for n in range(count)]
    return [moved_copy(ref) for ref in refs], refs


def made_frame(size: tuple[int, int], n: int) -> Image:
    """Coloured noise of several scales, drifting two pixels a frame."""
    random, (h, w) = np.random.default_rng(1), size
    total = np.zeros((h, w + 64, 3), np.float32)
    for cell in (4, 12, 40, 120):
        noise = random.standard_normal((2 + h // cell, 2 + w // cell, 3)).astype(np.float32)
        total += cv2.resize(noise, (w + 64, h), interpolation=cv2.INTER_CUBIC) * cell**0.4
    return np.ascontiguousarray((0.5 + 0.18 * total / total.std()).clip(0, 1)[:, 2 * n : 2 * n + w])


def moved_copy(ref: Image) -> Image:
    """Turned, shifted and scaled a little, and through coarse JPEG."""
    h, w = ref.shape[:2]
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), 0.4, 1.015)
    matrix[:, 2] += (w / 150, -h / 150)
    moved = cv2.warpAffine(ref, matrix, (w, h), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).clip(0, 1)
    coded = cv2.imencode(".jpg", (moved * 255).round().astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(np.float32) / 255


def node_of(frames: list[Image]) -> Any:
    """An RGB24 node that shows ``frames`` over and over, all of them in memory."""
    height, width = frames[0].shape[:2]
    codes = [(frame * 255).round().astype(np.uint8) for frame in frames]

    def fill(n: int, f: Any) -> Any:
        out = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(out[plane]), codes[n][..., plane])
        return out

    blank = vs.core.std.BlankClip(width=width, height=height, format=vs.RGB24, length=len(frames), keep=True)
    node = blank.std.ModifyFrame(blank, fill)
    node.std.SetVideoCache(mode=1, fixedsize=True, maxsize=len(frames), maxhistory=len(frames))
    for n in range(len(frames)):
        node.get_frame(n).close()
    return node.std.Loop(10_000 // len(frames))
