"""Where every pixel of the ref lies in the clip: checks, common size, registration, and positions in clip pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vsalign.dense import EFFORTS, register
from vsalign.warp import Warp, scale_positions

#: BT.601 rather than BT.709: nearer to equal weights, so detail in red and blue counts for more.
_LUMA = (0.299, 0.587, 0.114)


@torch.no_grad()
def estimate_warp(clip: Tensor, ref: Tensor, *, precision: int = 3, lq_input: bool = False) -> Warp:
    """Find, for every ref pixel, the clip position that shows the same thing.

    clip (B,C,h,w), ref (B,C,H,W): floating point in [0,1], C = 1 (luma) or 3 (RGB), sizes and aspects may differ. Returns a
    Warp with ``clip_from_ref`` (B,2,H,W) float32, absolute clip pixels (x, y), pixel centres at integers, and ``confidence``
    (B,1,H,W) in [0,1]. Where the pictures show nothing to hold on to, the field continues its surroundings with confidence
    near 0; pictures that have nothing in common are only scaled to size, with confidence 0.

    ``precision``: 1 (half resolution), 2 (full, one last step), 3 (full) or 4 (more steps). ``lq_input`` expects grain or heavy
    compression. Every pair of the batch is treated alone, so its result does not depend on the others. Raises TypeError for
    what isn't a floating-point tensor, ValueError for shapes or a precision out of range. Method: see :mod:`vsalign.dense`.
    """
    _check(clip, ref, precision)
    pairs = [_estimate_pair(clip[i : i + 1], ref[i : i + 1], precision, lq_input) for i in range(ref.shape[0])]
    return Warp(torch.cat([positions for positions, _ in pairs]), torch.cat([trust for _, trust in pairs]))


def _estimate_pair(clip: Tensor, ref: Tensor, precision: int, lq_input: bool) -> tuple[Tensor, Tensor]:
    clip_size, ref_size = (clip.shape[-2], clip.shape[-1]), (ref.shape[-2], ref.shape[-1])
    moving, target = _to_luma(clip), _to_luma(ref)
    if clip_size != ref_size:
        moving = F.interpolate(moving, size=ref_size, mode="bicubic", antialias=True, align_corners=False)
    displacement, trust = register(moving, target, EFFORTS[precision], lq_input)
    per_ref_pixel = torch.tensor([clip_size[1] / ref_size[1], clip_size[0] / ref_size[0]], device=ref.device).view(1, 2, 1, 1)
    return scale_positions(clip_size, ref_size, ref.device) + displacement * per_ref_pixel, trust


def _to_luma(image: Tensor) -> Tensor:
    image = image.float()
    if image.shape[1] == 1:
        return image
    return (image * torch.tensor(_LUMA, device=image.device).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _check(clip: Tensor, ref: Tensor, precision: int) -> None:
    for name, value in (("clip", clip), ("ref", ref)):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            seen = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"{name} is {seen}, expected a floating-point tensor with values in [0, 1]")
        if value.dim() != 4 or value.shape[1] not in (1, 3) or 0 in value.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, expected (B, C, height, width), C 1 or 3, none of them 0")
    if clip.shape[:2] != ref.shape[:2]:
        both = f"clip has {tuple(clip.shape[:2])}, ref has {tuple(ref.shape[:2])}"
        raise ValueError(f"batch and channels must be equal: {both}")
    if clip.device != ref.device:
        raise ValueError(f"clip is on {clip.device}, ref on {ref.device}; they must be on the same device")
    if precision not in EFFORTS:
        raise ValueError(f"precision is {precision!r}, accepted are {', '.join(map(str, EFFORTS))}")
