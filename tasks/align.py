"""Align: what each pair tells -> the warp that its neighbours in time agree on -> every plane of the clip sampled once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from tasks.gather import Pair
from tasks.messages import AlignSettings, VideoFormat
from tasks.paint import cover_of, painted
from vsalign.picture import Picture, luma
from vsalign.planes import warp_picture
from vsalign.steady import Observation, observe, settle
from vsalign.upload import upload
from vsalign.warp import Warp, affine_warp


@dataclass(frozen=True, slots=True)
class Aligned:
    """A picture on ref's geometry. ``confidence``: mean of its warp, [0, 1]; ``mismatched``: share of its pixels that do not
    show what ref shows (0 when that was not asked); ``wide_found``: the wide search found a homography."""

    picture: Picture
    confidence: float = 1.0
    mismatched: float = 0.0
    wide_found: bool = False


def observe_pair(pair: Pair, settings: AlignSettings, device: str = "cpu") -> Observation | None:
    """All that a pair tells alone; None where nothing is warped."""
    if pair.ref is None:
        return None
    mask = None if pair.mask is None else pair.mask.to(device)
    with torch.inference_mode():
        return observe(_luma_tensor(pair.clip, device), _luma_tensor(pair.ref, device), settings.spatial(), mask)


def parked(observation: Observation) -> Observation:
    """The same with what is large of it in the host's memory, where it may wait for its turn."""
    return observation if isinstance(observation.detail, float) else replace(observation, detail=observation.detail.cpu())


def without_detail(observation: Observation) -> Observation:
    """What a neighbour needs of an observation: all but the frame's own detail, which is large."""
    return observation if isinstance(observation.detail, float) else replace(observation, detail=0.0)


def settled_warp(
    window: Sequence[Observation], at: int, film_geometry: Sequence[float], clip: Picture, video: VideoFormat
) -> Warp:
    """The warp of ``window[at]``, whose neighbours in time are the others.

    Where they tell nothing, as black frames do, it is ``film_geometry`` (``affine_warp``'s six numbers), confidence 0.
    """
    with torch.inference_mode():
        own = window[at]
        if not isinstance(own.detail, float) and own.detail.device != own.fields.trust.device:
            own = replace(own, detail=own.detail.to(own.fields.trust.device))
        warp = settle([*window[:at], own, *window[at + 1 :]], at)
        if warp.confidence.any():
            return warp
        return affine_warp(film_geometry, (clip.height, clip.width), (video.height, video.width), warp.confidence.device)


def lay(
    clip: Picture, ref: Picture | None, warp: Warp | None, video: VideoFormat, settings: AlignSettings, tile_rows: int = 0
) -> Aligned:
    """The clip picture on ref's geometry at ``video``'s size; without ``warp`` it is only scaled.

    ``ref`` is needed where ``settings.mismatch`` is not "keep". ``tile_rows`` as for ``vsalign.planes.warp_picture``.
    """
    if warp is None:
        return Aligned(warp_picture(clip, None, video.width, video.height, tile_rows))
    with torch.inference_mode():
        picture = warp_picture(clip, warp, video.width, video.height, tile_rows)
        confidence = float(warp.confidence.mean())
        wide_found = warp.homography is not None and bool(warp.homography.isfinite().all())
        if settings.mismatch == "keep" or ref is None:
            return Aligned(picture, confidence, 0.0, wide_found)
        differs = _mismatched(clip, ref, warp, tile_rows)
        if differs.any():
            picture = painted(picture, ref, cover_of(differs), settings.mismatch)
        return Aligned(picture, confidence, float(differs.float().mean()), wide_found)


def _mismatched(clip: Picture, ref: Picture, warp: Warp, tile_rows: int) -> torch.Tensor:
    """(1,1,H,W) bool: clip, warped, and ref do not show the same thing."""
    from vsalign.likeness import mismatch

    device = str(warp.clip_from_ref.device)
    return mismatch(_luma_tensor(clip, device), _luma_tensor(ref, device), warp, tile_rows) > 0.5


def _luma_tensor(picture: Picture, device: str) -> torch.Tensor:
    """Luma as (1, 1, H, W), clamped to [0, 1]."""
    return upload(luma(picture), device).clamp_(0, 1)[None, None]
