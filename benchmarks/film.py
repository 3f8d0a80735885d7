"""Real film for the benchmarks: the clips of ../shared/clips, read in order, as luma or as RGB."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch

Image = npt.NDArray[np.float32]

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "clips"


def luma_frames(path: Path) -> Iterator[Image]:
    """The luma plane (h,w) of every frame as it is coded, 8-bit codes / 255."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            yield rows[:, : plane.width].astype(np.float32) / 255


def rgb_frames(path: Path, start: int, count: int) -> list[Image]:
    """Frames [start, start + count) as RGB (h,w,3) in [0, 1]."""
    with av.open(str(path)) as container:
        wanted = islice(container.decode(video=0), start, start + count)
        return [frame.to_ndarray(format="rgb24").astype(np.float32) / 255 for frame in wanted]


def filling(image: Image, size: tuple[int, int]) -> Image:
    """``image`` scaled to fill ``size`` (height, width), what juts out cut off evenly."""
    (height, width), (h, w) = size, image.shape[:2]
    scale = max(height / h, width / w)
    scaled = cv2.resize(
        image, (round(w * scale), round(h * scale)), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width].clip(0, 1))


def as_batch(image: Image) -> torch.Tensor:
    """(1,C,h,w) of an image (h,w) or (h,w,C)."""
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(planes))[None]
