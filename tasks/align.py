"""Align one pair: luma of both -> warp -> every plane of the clip sampled once where the ref has it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from tasks.messages import AlignSettings, VideoFormat
from vsalign.picture import Picture, luma
from vsalign.planes import warp_picture
from vsalign.spatial import estimate_warp
from vsalign.warp import affine_warp


def align_pair(
    clip: Picture,
    ref: Picture | None,
    video: VideoFormat,
    settings: AlignSettings,
    film_geometry: Sequence[float],
    device: str = "cpu",
) -> tuple[Picture, float]:
    """The clip picture on ref's geometry at ``video``'s size, and the mean confidence of the warp in [0, 1].

    ``film_geometry`` (``affine_warp``'s six numbers) is taken for a pair that tells nothing, such as black frames. Without
    ``settings.warp`` the clip is only scaled to size (``ref`` may be None, confidence 1).
    """
    if not settings.warp or ref is None:
        return warp_picture(clip, None, video.width, video.height), 1.0
    with torch.inference_mode():
        warp = estimate_warp(_luma_tensor(clip, device), _luma_tensor(ref, device), precision=settings.precision)
        if not warp.confidence.any():
            warp = affine_warp(film_geometry, (clip.height, clip.width), (ref.height, ref.width), device)
        return warp_picture(clip, warp, video.width, video.height), float(warp.confidence.mean())


def _luma_tensor(picture: Picture, device: str) -> torch.Tensor:
    """Luma as (1, 1, H, W), clamped to [0, 1]."""
    samples: npt.NDArray[np.float32] = luma(picture)
    return torch.from_numpy(samples).to(device).clamp_(0, 1)[None, None]
