"""A decoded picture as the RGB that networks were trained on: gamma coded, full range, black 0 and white 1."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vsalign.luma import numbers
from vsalign.picture import LUMA_WEIGHTS, Picture, is_full_range, usual_matrix
from vsalign.planes import AnyPlane, chroma_at_luma
from vsalign.warp import sample


def to_rgb(picture: Picture, device: torch.device) -> Tensor:
    """``picture`` of any format as (1,3,h,w) float32 in [0,1] on ``device``.

    Range and matrix are those of its tags (untagged, or a matrix of another kind: BT.709 from 720 lines on, else BT.601; YUV
    and gray limited). Chroma is brought to luma's samples from where it really lies, by the resampling of the project; gray
    is three equal channels; transfer and primaries stay as they are. What lies beyond black and white is cut.
    """
    if picture.format.family == "rgb":
        green, blue, red = (_unit(picture, plane, device) for plane in picture.planes[:3])
        rgb = torch.stack([red, green, blue])
    elif picture.format.family == "gray":
        rgb = _unit(picture, picture.planes[0], device).expand(3, -1, -1)
    else:
        rgb = _from_yuv(picture, device)
    return numbers(rgb).clamp(0, 1)[None]


def _unit(picture: Picture, plane: AnyPlane, device: torch.device) -> Tensor:
    """RGB or luma samples (h,w), black 0 and white 1, not clipped."""
    samples = torch.from_numpy(plane.astype(np.float32)).to(device)
    if np.issubdtype(plane.dtype, np.floating):
        return samples
    if is_full_range(picture):
        return samples / ((1 << picture.format.bit_depth) - 1)
    step = 1 << (picture.format.bit_depth - 8)
    return (samples - 16 * step) / (219 * step)


def _from_yuv(picture: Picture, device: torch.device) -> Tensor:
    usual = LUMA_WEIGHTS[usual_matrix(picture.height)]
    red_weight, blue_weight = LUMA_WEIGHTS.get(picture.colour.matrix, usual)
    luma = _unit(picture, picture.planes[0], device)
    blue_difference, red_difference = _chroma(picture, device)
    red = luma + 2 * (1 - red_weight) * red_difference
    blue = luma + 2 * (1 - blue_weight) * blue_difference
    green = (luma - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
    return torch.stack([red, green, blue])


def _chroma(picture: Picture, device: torch.device) -> Tensor:
    """Cb and Cr at every luma sample (2,h,w), within 0.5 of 0."""
    format, planes = picture.format, picture.planes[1:3]
    codes = torch.from_numpy(np.stack([plane.astype(np.float32) for plane in planes])).to(device)
    if not np.issubdtype(planes[0].dtype, np.floating):
        span = (1 << format.bit_depth) - 1 if is_full_range(picture) else 224 << (format.bit_depth - 8)
        codes = (codes - (1 << (format.bit_depth - 1))) / span
    shifts = format.log2_chroma_w, format.log2_chroma_h
    if shifts == (0, 0):
        return codes
    positions = chroma_at_luma((picture.height, picture.width), shifts, picture.colour.chroma_location, device)
    return sample(codes, positions)
