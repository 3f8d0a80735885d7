"""What one pair tells: alone, as estimate_warp does, and in a batch."""

import pytest
import torch
from torch.testing import assert_close

from tests.vsalign.pictures import noise
from tests.vsalign.shots import FAST, SETTINGS, SIZE, same_bits, shot
from vsalign.estimate import estimate_warp
from vsalign.settings import SpatialSettings
from vsalign.steady import _observe_together, observe, observe_all, settle


@pytest.mark.parametrize(
    "settings", [SETTINGS, FAST, SpatialSettings(lq_input=True, iterations=2), SpatialSettings(precision=4)]
)
def test_a_pair_alone_is_settled_as_estimate_warp_does(settings: SpatialSettings) -> None:
    clip, ref, _ = shot(1)[0]
    alone = estimate_warp(clip, ref, precision=settings.precision, lq_input=settings.lq_input, iterations=settings.iterations)
    assert same_bits(settle([observe(clip, ref, settings)]), alone)


def test_an_observation_says_how_sure_the_pair_is_and_is_small() -> None:
    clip, ref, _ = shot(1)[0]
    seen = observe(clip.expand(-1, 3, -1, -1), ref.expand(-1, 3, -1, -1), SETTINGS)
    assert seen.confidence == pytest.approx(float(seen.fields.trust.mean()), abs=1e-6) and seen.confidence > 0.7
    assert seen.fields.displacement.shape == (1, 2, SIZE[0] // seen.cell, SIZE[1] // seen.cell)
    floats = sum(x.numel() for x in (seen.fields.displacement, seen.fields.trust, seen.fields.precision, seen.thumb))
    assert floats < ref.numel() / 2


BATCH_MASKS = {"none": 0, "one for all": 1, "one each": 3}


@pytest.mark.parametrize("masks", BATCH_MASKS.values(), ids=BATCH_MASKS)
@pytest.mark.parametrize("precision", [1, 2, 3, 4])
def test_pairs_observed_together_are_as_if_alone(precision: int, masks: int) -> None:
    frames = [shot(1, seed)[0] for seed in range(2)]
    nothing = torch.zeros(1, 1, *SIZE)
    clips = torch.cat([frames[0][0], nothing, frames[1][0]])
    refs = torch.cat([frames[0][1], frames[0][1], frames[1][1]])
    mask = None if not masks else (noise(masks, 1, 28, 40, seed=4) > 1.5).float()
    settings = SpatialSettings(precision=precision)
    together = _observe_together(clips, refs, settings, mask)
    assert len(together) == 3
    for i, seen in enumerate(together):
        own = mask if mask is None else mask[min(i, masks - 1)][None]
        alone = observe(clips[i : i + 1], refs[i : i + 1], settings, own)
        assert seen.confidence == pytest.approx(alone.confidence, abs=1e-4)
        assert_close(settle([seen]).clip_from_ref, settle([alone]).clip_from_ref, atol=1e-3, rtol=0)
        assert_close(seen.thumb, alone.thumb, atol=1e-5, rtol=0)
        assert_close(seen.fields.precision, alone.fields.precision, atol=1e-2, rtol=1e-3)


def test_a_batch_on_the_cpu_has_the_bits_of_single_observations() -> None:
    pairs = shot(3, weave_px=1.0)
    clips, refs = (torch.cat([p[i] for p in pairs]) for i in range(2))
    masks = (noise(3, 1, 28, 40, seed=4) > 1.5).float()
    for mask in (None, masks, masks[:1]):
        for i, seen in enumerate(observe_all(clips, refs, FAST, mask)):
            own = mask if mask is None else mask[min(i, len(mask) - 1)][None]
            assert same_bits(settle([seen]), settle([observe(*pairs[i][:2], FAST, own)]))


def test_the_precision_of_a_frame_counts_in_ref_pixels_at_every_level() -> None:
    clip, ref, _ = shot(1)[0]
    total = {p: observe(clip, ref, SpatialSettings(precision=p)).fields.precision[:, [0, 2]].sum() for p in (1, 3)}
    assert 0.2 < total[1] / total[3] < 1.5, "half the resolution knows less, not sixteen times as much"
