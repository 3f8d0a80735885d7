"""Input that is legal but unlikely: specks under a mask, samples that are no numbers, another default type, tiny pictures."""

import pytest
import torch

from tests.vsalign.pictures import errors, noise, pair, texture
from vsalign.estimate import estimate_warp
from vsalign.settings import SpatialSettings
from vsalign.steady import observe, settle
from vsalign.warp import apply_warp


@pytest.mark.parametrize("share", [0.01, 0.03, 0.1])
def test_a_mask_of_scattered_specks_leaves_the_rest(share: float) -> None:
    clip, ref, truth = pair()
    specks = (torch.rand(ref.shape, generator=torch.Generator().manual_seed(1)) < share).float()
    dusty = torch.where(specks > 0, torch.ones_like(ref), ref)
    assert errors(estimate_warp(clip, dusty, mask=specks), truth).mean() < 0.1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_sample_that_is_no_number_stays_where_it_is(value: float) -> None:
    clip, ref, truth = pair()
    broken = clip.clone()
    broken[..., 40, 60] = value
    warp = estimate_warp(broken, ref)
    assert warp.clip_from_ref.isfinite().all() and warp.confidence.isfinite().all()
    assert errors(warp, truth).mean() < 0.1
    moved, _ = apply_warp(broken, warp)
    assert moved.isfinite().float().mean() > 0.99
    settings = SpatialSettings(precision=2)
    neighbour, own = observe(broken, ref, settings), observe(clip, ref, settings)
    assert errors(settle([neighbour, own], 1), truth).mean() < 0.1


def test_another_default_type_changes_next_to_nothing() -> None:
    clip, ref, _ = pair()
    wanted = estimate_warp(clip, ref).clip_from_ref
    torch.set_default_dtype(torch.float64)
    try:
        found = estimate_warp(clip, ref).clip_from_ref
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32
    assert (found - wanted).abs().max() < 1e-3


@pytest.mark.parametrize("size", [(24, 32), (36, 64), (48, 64), (96, 128)])
def test_small_pictures_with_nothing_in_common_are_not_believed(size: tuple[int, int]) -> None:
    for seed in range(6):
        warp = estimate_warp(texture(*size, seed=seed), texture(*size, seed=seed + 50), precision=2)
        assert warp.confidence.max() == 0


def test_an_empty_clip_is_refused() -> None:
    _, ref, _ = pair()
    warp = estimate_warp(ref, ref)
    with pytest.raises(ValueError, match="none of them 0"):
        apply_warp(noise(1, 1, 0, 4), warp)
