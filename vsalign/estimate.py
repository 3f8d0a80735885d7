"""Where every pixel of the ref lies in the clip: the whole of spatial alignment for pictures that stand alone."""

from __future__ import annotations

import torch
from torch import Tensor

from vsalign.settings import SpatialSettings
from vsalign.steady import observe_all, settle
from vsalign.warp import Warp


@torch.no_grad()
def estimate_warp(
    clip: Tensor,
    ref: Tensor,
    *,
    precision: int = 3,
    lq_input: bool = False,
    wide_search: bool = False,
    mask: Tensor | None = None,
    engine: str = "dense",
    iterations: int = 1,
    weights: str = "",
    exact_peer: bool = False,
) -> Warp:
    """Find, for every ref pixel, the clip position that shows the same thing.

    clip (B,C,h,w), ref (B,C,H,W): floating point in [0,1], C = 1 (luma) or 3 (RGB), sizes and aspects may differ. Returns a
    Warp with ``clip_from_ref`` (B,2,H,W) float32, absolute clip pixels (x, y), pixel centres at integers, and ``confidence``
    (B,1,H,W) in [0,1]. Where the pictures show nothing to hold on to, the field continues its surroundings with confidence
    near 0; pictures that have nothing in common are only scaled to size, with confidence 0.

    ``mask`` (1 or B,1,any,any) lies over the ref; where it is above 0.5 neither picture is trusted. The other settings:
    :class:`vsalign.settings.SpatialSettings`. Every pair of the batch is treated alone, so its result does not depend on the
    others; frames of one scene do better together (:mod:`vsalign.steady`). Raises TypeError for what isn't a floating-point
    tensor or a setting of another type, ValueError for shapes and settings out of range. Method: :mod:`vsalign.dense`.
    """
    settings = SpatialSettings(
        precision=precision,
        lq_input=lq_input,
        wide_search=wide_search,
        iterations=iterations,
        engine=engine,
        weights=weights,
        exact_peer=exact_peer,
    )
    _check_pictures(clip, ref)
    _check_mask(mask, ref)
    warps = [settle([seen]) for seen in observe_all(clip, ref, settings, mask)]
    homographies = [warp.homography for warp in warps if warp.homography is not None]
    return Warp(
        torch.cat([warp.clip_from_ref for warp in warps]),
        torch.cat([warp.confidence for warp in warps]),
        torch.cat(homographies) if homographies else None,
    )


def _check_pictures(clip: Tensor, ref: Tensor) -> None:
    """Raises TypeError or ValueError unless both are batches of pictures that belong together."""
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


def _check_mask(mask: Tensor | None, ref: Tensor) -> None:
    """Raises TypeError or ValueError unless ``mask`` is None or one gray picture for each ref, or one for all."""
    if mask is None:
        return
    if not isinstance(mask, Tensor) or not (mask.is_floating_point() or mask.dtype == torch.bool):
        seen = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask is {seen}, expected a floating-point or bool tensor, above 0.5 = do not trust")
    if mask.dim() != 4 or mask.shape[1] != 1 or mask.shape[0] not in (1, ref.shape[0]) or 0 in mask.shape:
        accepted = f"(1 or {ref.shape[0]}, 1, height, width), none of them 0"
        raise ValueError(f"mask has shape {tuple(mask.shape)}, expected {accepted}")
    if mask.device != ref.device:
        raise ValueError(f"mask is on {mask.device}, ref on {ref.device}; they must be on the same device")
