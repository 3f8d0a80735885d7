"""Logos, hard subtitles and masks: what only one picture shows must not drag the other along."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.vsalign.pictures import distances, errors, pair, texture
from vsalign.estimate import estimate_warp
from vsalign.warp import scale_positions

MARK = (slice(40, 70), slice(50, 94))
CASE = (272, 352)
SIDES = pytest.mark.parametrize("side", ["clip", "ref"])


def marked(side: str, how: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A degraded pair with a logo or a subtitle in one of its pictures, their truth, and the mark with a rim, (1,1,H,W)."""
    clip, ref, truth = (x.clone() for x in pair(degrade=True, size=CASE))
    picture, mark = (clip if side == "clip" else ref), torch.zeros_like(ref)
    if how == "logo":
        mark[(..., *MARK)] = 1
        picture[..., 42:68, 52:92] = texture(26, 40, seed=9)
    else:
        drawn = np.zeros(ref.shape[-2:], np.uint8)
        cv2.putText(drawn, "a burnt-in subtitle", (40, 205), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2, cv2.LINE_AA)
        ink = torch.from_numpy(drawn.astype(np.float32) / 255)[None, None]
        picture.copy_(picture * (1 - ink) + ink)
        ys, xs = np.nonzero(drawn)
        mark[..., ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = 1
    return clip, ref, truth, mark


def around(mark: Tensor, reach: int = 40) -> Tensor:
    """Pixels (H,W) bool within ``reach`` of the mark, without itself and the picture's border."""
    band = (F.max_pool2d(mark, 2 * reach + 1, 1, reach) > mark)[0, 0]
    band[:8] = band[-8:] = band[:, :8] = band[:, -8:] = False
    return band


def times_clean(side: str, how: str, mask: Tensor | None) -> float:
    """Error around a mark over that of the same pair without it."""
    clip, ref, truth, mark = marked(side, how)
    band, (clean_clip, clean_ref, _) = around(mark), pair(degrade=True, size=CASE)
    clean, found = estimate_warp(clean_clip, clean_ref), estimate_warp(clip, ref, mask=mask)
    return float(distances(found, truth)[0][band].mean() / distances(clean, truth)[0][band].mean())


@SIDES
def test_a_mask_takes_a_logo_out_on_either_side(side: str) -> None:
    *_, mark = marked(side, "logo")
    masked, unmasked = times_clean(side, "logo", F.max_pool2d(mark, 5, 1, 2)), times_clean(side, "logo", None)
    assert masked < 1.15
    assert masked < unmasked < 1.4


@SIDES
def test_a_hard_subtitle_without_a_mask_costs_little_around_it(side: str) -> None:
    assert times_clean(side, "subtitle", None) < 1.5


@SIDES
def test_below_a_mask_nothing_is_sure_and_the_surroundings_lead(side: str) -> None:
    clip, ref, truth, mark = marked(side, "logo")
    warp = estimate_warp(clip, ref, mask=F.max_pool2d(mark, 5, 1, 2))
    assert distances(warp, truth)[0][MARK].mean() < 0.25
    assert warp.confidence[0, 0, 46:64, 58:86].max() < 0.05
    assert warp.confidence[0, 0, 90:].mean() > 0.9


def test_a_mask_may_have_any_size_and_may_be_bool() -> None:
    clip, ref, _, mark = marked("ref", "logo")
    full = estimate_warp(clip, ref, mask=mark)
    assert torch.equal(estimate_warp(clip, ref, mask=mark > 0.5).clip_from_ref, full.clip_from_ref)
    assert torch.equal(estimate_warp(clip, ref, mask=mark * 0.51).clip_from_ref, full.clip_from_ref)
    none = estimate_warp(clip, ref)
    assert torch.equal(estimate_warp(clip, ref, mask=mark * 0.5).clip_from_ref, none.clip_from_ref)
    assert torch.equal(estimate_warp(clip, ref, mask=torch.zeros(1, 1, 1, 1)).clip_from_ref, none.clip_from_ref)
    double = F.interpolate(mark, scale_factor=2)
    coarse = F.max_pool2d(mark, 2)
    for other in (double, coarse, coarse > 0):
        found = estimate_warp(clip, ref, mask=other)
        assert (found.clip_from_ref - full.clip_from_ref).norm(dim=1).mean() < 0.005
        assert found.confidence[0, 0, 50:60, 62:82].max() < 0.05


def test_a_mask_lies_over_the_ref_whatever_the_size_of_the_clip() -> None:
    clip, ref, truth, mark = marked("ref", "logo")
    half = F.interpolate(clip, scale_factor=0.5, mode="bicubic", antialias=True)
    warp = estimate_warp(half, ref, mask=mark)
    assert warp.confidence[0, 0, 50:60, 62:82].max() < 0.05
    assert errors(warp, (truth + 0.5) / 2 - 0.5).mean() < 0.06


def test_a_whole_mask_leaves_nothing_to_go_by() -> None:
    clip, ref, _ = pair()
    warp = estimate_warp(clip, ref, mask=torch.ones(1, 1, 4, 4))
    assert (warp.clip_from_ref - scale_positions(clip.shape[-2:], ref.shape[-2:])).abs().max() < 1e-3
    assert warp.confidence.max() == 0


def test_a_mask_counts_for_its_pair_of_the_batch_and_one_for_all() -> None:
    clip, ref, _ = pair()
    clips, refs = clip.repeat(2, 1, 1, 1), ref.repeat(2, 1, 1, 1)
    mask = torch.zeros(1, 1, *ref.shape[-2:])
    mask[..., 30:60, 40:90] = 1
    without, masked = estimate_warp(clip, ref), estimate_warp(clip, ref, mask=mask)
    assert not torch.equal(without.clip_from_ref, masked.clip_from_ref)
    each = estimate_warp(clips, refs, mask=torch.cat([mask, 0 * mask]))
    assert torch.equal(each.clip_from_ref, torch.cat([masked.clip_from_ref, without.clip_from_ref]))
    both = estimate_warp(clips, refs, mask=mask)
    assert torch.equal(both.clip_from_ref, masked.clip_from_ref.repeat(2, 1, 1, 1))
