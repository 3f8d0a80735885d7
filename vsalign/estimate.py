"""Where every pixel of the ref lies in the clip: the whole of spatial alignment for pictures that stand alone."""

from __future__ import annotations

import torch
from torch import Tensor

from vsalign.settings import SpatialSettings
from vsalign.steady import check_mask, check_pictures, observe_all, settle
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
    check_pictures(clip, ref)
    check_mask(mask, ref)
    warps = [settle([seen]) for seen in observe_all(clip, ref, settings, mask)]
    homographies = [warp.homography for warp in warps if warp.homography is not None]
    return Warp(
        torch.cat([warp.clip_from_ref for warp in warps]),
        torch.cat([warp.confidence for warp in warps]),
        torch.cat(homographies) if homographies else None,
    )
