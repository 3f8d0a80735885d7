"""Frames of one scene under a known geometry, what is observed of them, and how warps are measured over time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.vsalign.pictures import Size, as_warp, curved, errors, grainy, noise, texture
from vsalign.settings import SpatialSettings
from vsalign.steady import Observation, observe
from vsalign.warp import Warp, apply_warp

SIZE = (112, 160)
MARGIN = 16
SETTINGS = SpatialSettings()
FAST = SpatialSettings(precision=1)

Pair = tuple[Tensor, Tensor, Tensor]


def shot(num_frames: int, seed: int = 0, weave_px: float = 0.0, offset: Tensor | None = None, size: Size = SIZE) -> list[Pair]:
    """clip, ref and truth of every frame: a slow pan under grain of its own, one bent geometry, and a gate that weaves."""
    height, width = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
    wide = texture(height, width + 2 * num_frames, seed)
    weave = weave_px * noise(num_frames, 2, seed=11)
    geometry = curved((height, width))[..., MARGIN:-MARGIN, MARGIN:-MARGIN] + (0 if offset is None else offset)
    pairs = []
    for n in range(num_frames):
        scene = wide[..., 2 * n : 2 * n + width]
        truth = geometry + weave[n].view(1, 2, 1, 1)
        ref, _ = apply_warp(scene, as_warp(truth))
        clip = scene[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
        pairs.append((grainy(clip, 100 + n, 0.03), grainy(ref, 500 + n, 0.03), truth - MARGIN))
    return pairs


def observed(pairs: Sequence[Pair], settings: SpatialSettings = SETTINGS) -> list[Observation]:
    return [observe(clip, ref, settings) for clip, ref, _ in pairs]


def same_bits(one: Warp, other: Warp) -> bool:
    return torch.equal(one.clip_from_ref, other.clip_from_ref) and torch.equal(one.confidence, other.confidence)


def wobble(warps: Sequence[Warp], truths: Sequence[Tensor]) -> float:
    """Mean over the picture of the standard deviation over time of what is wrong, px."""
    wrong = torch.cat([w.clip_from_ref - truth for w, truth in zip(warps, truths, strict=True)])[..., 8:-8, 8:-8]
    return float(wrong.var(0).sum(0).sqrt().mean())


def mean_error(warps: Sequence[Warp], truths: Sequence[Tensor]) -> float:
    return sum(float(errors(w, truth).mean()) for w, truth in zip(warps, truths, strict=True)) / len(warps)
