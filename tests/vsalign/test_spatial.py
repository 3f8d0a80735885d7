import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.vsalign.film import film_frame
from tests.vsalign.pictures import (
    HEIGHT,
    SIZE,
    WIDTH,
    constant,
    distances,
    errors,
    pair,
    shifted_pair,
    texture,
    zoomed_pair,
)
from vsalign.estimate import estimate_warp
from vsalign.warp import positions_inside, sample, scale_positions


@pytest.mark.parametrize("precision", [1, 2, 3, 4])
def test_a_picture_lies_exactly_on_itself(precision: int) -> None:
    picture = texture(channels=3)
    warp = estimate_warp(picture, picture, precision=precision)
    assert errors(warp, scale_positions((HEIGHT, WIDTH), (HEIGHT, WIDTH)), margin=1).max() < 1e-3
    assert warp.confidence.mean() > 0.9


@pytest.mark.parametrize("shift", [(3, -2), (23, 11), (-40, 20), (69, 0), (-69, 0), (0, 48), (0, -48), (60, -40), (-60, 40)])
def test_a_shift_up_to_a_third_of_the_picture_is_found_where_both_show_the_scene(shift: tuple[int, int]) -> None:
    for seed in range(2):
        clip, ref, truth = shifted_pair(shift, seed)
        seen = estimate_warp(clip, ref, precision=3)
        error, inside = distances(seen, truth), positions_inside(truth, SIZE)[:, 0]
        assert error[inside].median() < 0.02
        assert error[inside].quantile(0.95) < 0.2
        assert error.mean() < 0.3, "the whole picture moves along, what the clip does not show too"
        assert seen.confidence[:, 0][inside].mean() > 0.9
        outside = (truth - torch.minimum(truth.clamp_min(0), constant(WIDTH - 1, HEIGHT - 1))).norm(dim=1) > 12
        assert not seen.confidence[:, 0][outside].any()


@pytest.mark.parametrize(("precision", "limit"), [(1, 0.25), (2, 0.06), (3, 0.05), (4, 0.05)])
def test_a_smooth_warp_is_recovered(precision: int, limit: float) -> None:
    clip, ref, truth = pair()
    assert errors(estimate_warp(clip, ref, precision=precision), truth).mean() < limit


@pytest.mark.parametrize(("precision", "limit"), [(1, 0.3), (2, 0.15), (3, 0.15)])
def test_gain_gamma_and_noise_cost_little(precision: int, limit: float) -> None:
    clip, ref, truth = pair(degrade=True)
    assert errors(estimate_warp(clip, ref, precision=precision), truth).mean() < limit
    assert errors(estimate_warp(clip, ref, precision=precision, lq_input=True), truth).mean() < limit


def test_fractional_shifts_have_no_bias() -> None:
    scene = F.interpolate(texture(2 * HEIGHT, 2 * WIDTH), scale_factor=0.5, mode="bicubic", antialias=True)
    frequency = torch.fft.rfftfreq(WIDTH)
    clip = torch.fft.irfft(torch.fft.rfft(scene) * torch.exp(-2j * torch.pi * frequency * 0.25), n=WIDTH)
    inner = (..., slice(8, -8), slice(8, -8))
    warp = estimate_warp(clip[inner], scene[inner])
    size = (HEIGHT - 16, WIDTH - 16)
    assert (warp.clip_from_ref - scale_positions(size, size))[:, 0].mean() == pytest.approx(0.25, abs=0.012)


@pytest.mark.parametrize("clip_size", [(72, 104), (200, 300), (144, 160), (101, 207)])
def test_sizes_and_aspects_may_differ_and_positions_are_clip_pixels(clip_size: tuple[int, int]) -> None:
    scene = texture(288, 416)
    clip, ref = (F.interpolate(scene, size=size, mode="bicubic", antialias=True) for size in (clip_size, (HEIGHT, WIDTH)))
    warp = estimate_warp(clip, ref, precision=3)
    assert warp.clip_from_ref.shape == (1, 2, HEIGHT, WIDTH)
    assert warp.confidence.shape == (1, 1, HEIGHT, WIDTH)
    assert errors(warp, scale_positions(clip_size, (HEIGHT, WIDTH))).mean() < 0.05


def test_a_shift_between_pictures_of_different_size_is_counted_in_clip_pixels() -> None:
    scene = texture(2 * HEIGHT + 20, 2 * WIDTH + 20)
    clip = scene[..., 6 : 6 + 2 * HEIGHT, 14 : 14 + 2 * WIDTH]
    ref = F.interpolate(scene[..., : 2 * HEIGHT, : 2 * WIDTH], scale_factor=0.5, mode="bicubic", antialias=True)
    truth = scale_positions((2 * HEIGHT, 2 * WIDTH), (HEIGHT, WIDTH)) - torch.tensor([14.0, 6.0]).view(1, 2, 1, 1)
    assert errors(estimate_warp(clip, ref), truth, margin=16).mean() < 0.1


def test_a_larger_clip_with_finer_detail_than_the_ref_does_no_harm() -> None:
    generator = torch.Generator().manual_seed(8)
    smooth = F.interpolate(texture(), scale_factor=4, mode="bicubic")
    fine = smooth + 0.5 * torch.randn(smooth.shape, generator=generator)
    ref = F.avg_pool2d(fine, 4)
    warp = estimate_warp(fine, ref)
    assert errors(warp, scale_positions((4 * HEIGHT, 4 * WIDTH), (HEIGHT, WIDTH))).mean() < 0.12


@pytest.mark.parametrize("size", [(36, 64), (37, 61), (24, 25), (9, 40), (8, 8), (3, 2), (1, 1)])
def test_tiny_and_odd_sizes_work(size: tuple[int, int]) -> None:
    picture = texture(60, 80)[..., : size[0], : size[1]]
    for precision in (1, 4):
        warp = estimate_warp(picture, picture, precision=precision)
        assert (warp.clip_from_ref - scale_positions(size, size)).abs().max() < 1e-3


def test_flat_pictures_give_the_scale_alone_and_no_confidence() -> None:
    picture = texture()
    for clip, ref in (
        (torch.full_like(picture, 0.3), torch.full_like(picture, 0.6)),
        (picture, torch.full_like(picture, 0.3)),
        (torch.zeros(1, 1, 72, 90), picture),
    ):
        warp = estimate_warp(clip, ref)
        scale = scale_positions((clip.shape[-2], clip.shape[-1]), (HEIGHT, WIDTH))
        assert (warp.clip_from_ref - scale).abs().max() < 1e-3
        assert warp.confidence.max() == 0


def test_pictures_with_nothing_in_common_are_left_where_they_are() -> None:
    warp = estimate_warp(texture(seed=1), texture(seed=2))
    assert (warp.clip_from_ref - scale_positions((HEIGHT, WIDTH), (HEIGHT, WIDTH))).abs().max() < 1e-3
    assert warp.confidence.max() == 0


def test_a_flat_part_continues_its_surroundings_with_low_confidence() -> None:
    clip, ref, truth = pair()
    clip, ref = clip.clone(), ref.clone()
    clip[..., 30:80, 50:110] = ref[..., 30:80, 50:110] = 0.5
    warp = estimate_warp(clip, ref)
    hole = (slice(42, 68), slice(64, 96))
    assert (warp.clip_from_ref - truth).norm(dim=1)[0][hole].mean() < 1.0
    assert warp.confidence[0, 0][hole].mean() < 0.2
    assert warp.confidence[..., 90:, :].mean() > 0.7


def test_a_logo_on_one_side_does_not_drag_the_picture_along() -> None:
    clip, ref, truth = pair()
    clip = clip.clone()
    clip[..., 10:50, 20:90] = texture(40, 70, seed=9)
    warp = estimate_warp(clip, ref)
    error = (warp.clip_from_ref - truth).norm(dim=1)[0]
    assert error[75:-8, 8:-8].mean() < 0.05, "away from it nothing changes"
    assert error[10:50, 20:90].mean() < 1.5, "below it the surroundings lead"
    assert warp.confidence[0, 0, 18:42, 30:80].mean() < 0.4
    assert warp.confidence[0, 0, 75:-8, 8:-8].mean() > 0.9


def test_a_batch_gives_the_bits_of_single_calls_and_repeats() -> None:
    clip = torch.cat([texture(seed=4), texture(seed=5)])
    ref = torch.roll(clip, (2, 3), (2, 3))
    together = estimate_warp(clip, ref, precision=2)
    again = estimate_warp(clip, ref, precision=2)
    assert torch.equal(together.clip_from_ref, again.clip_from_ref)
    for i in range(2):
        alone = estimate_warp(clip[i : i + 1], ref[i : i + 1], precision=2)
        assert torch.equal(alone.clip_from_ref[0], together.clip_from_ref[i])
        assert torch.equal(alone.confidence[0], together.confidence[i])


def turned_pair(degrees: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """clip, ref and truth of a ref that is turned around its middle."""
    margin, middle, angle = 60, constant((WIDTH - 1) / 2, (HEIGHT - 1) / 2), math.radians(degrees)
    scene, p = texture(HEIGHT + 2 * margin, WIDTH + 2 * margin, seed), scale_positions(SIZE, SIZE) - middle
    c, s = math.cos(angle), math.sin(angle)
    truth = torch.cat([c * p[:, :1] - s * p[:, 1:], s * p[:, :1] + c * p[:, 1:]], 1) + middle
    return scene[..., margin:-margin, margin:-margin], sample(scene[0], (truth + margin)[0])[None], truth


@pytest.mark.parametrize("case", ["zoomed", "turned"])
def test_iterations_bring_misalignment_at_the_edge_of_reach_home(case: str) -> None:
    pairs = [zoomed_pair(0.8, seed) for seed in (1, 3, 4)] if case == "zoomed" else [turned_pair(12, seed) for seed in (0, 4)]
    error = dict.fromkeys((1, 2, 4), 0.0)
    for clip, ref, truth in pairs:
        inside = positions_inside(truth, SIZE)[:, 0]
        for n in error:
            error[n] += float(distances(estimate_warp(clip, ref, iterations=n), truth)[inside].mean()) / len(pairs)
    assert error[2] < 0.6 * error[1]
    assert error[4] < 1.05 * error[2]


def test_a_larger_part_of_the_scene_in_ref_is_found() -> None:
    for seed in range(3):
        clip, ref, truth = zoomed_pair(1.2, seed)
        inside = positions_inside(truth, SIZE)[:, 0]
        once, often = (distances(estimate_warp(clip, ref, iterations=n), truth)[inside].mean() for n in (1, 3))
        assert once < 0.15 and often < once + 0.03


def test_iterations_leave_the_identity_alone() -> None:
    picture = texture()
    warp = estimate_warp(picture, picture, iterations=5)
    assert errors(warp, scale_positions(SIZE, SIZE), margin=1).max() < 1e-3


def test_colour_is_compared_by_its_luma() -> None:
    grey = texture()
    colour = grey.repeat(1, 3, 1, 1)
    clip = torch.roll(grey, 2, 3)
    assert torch.allclose(
        estimate_warp(clip.repeat(1, 3, 1, 1), colour).clip_from_ref, estimate_warp(clip, grey).clip_from_ref, atol=0.01
    )


def test_wrong_arguments_are_named_with_what_is_accepted() -> None:
    picture = texture()
    with pytest.raises(TypeError, match=r"clip is torch\.uint8"):
        estimate_warp((picture * 255).byte(), picture)
    with pytest.raises(TypeError, match="ref is ndarray"):
        estimate_warp(picture, picture.numpy())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"clip has shape \(1, 2, .* C 1 or 3"):
        estimate_warp(picture.repeat(1, 2, 1, 1), picture)
    with pytest.raises(ValueError, match=r"ref has shape \(144, 208\)"):
        estimate_warp(picture, picture[0, 0])
    with pytest.raises(ValueError, match=r"clip has \(2, 1\), ref has \(1, 1\)"):
        estimate_warp(picture.repeat(2, 1, 1, 1), picture)
    with pytest.raises(ValueError, match=r"clip has \(1, 3\), ref has \(1, 1\)"):
        estimate_warp(picture.repeat(1, 3, 1, 1), picture)
    with pytest.raises(ValueError, match=r"clip has shape \(0, 1, .* none of them 0"):
        estimate_warp(picture[:0], picture[:0])
    with pytest.raises(TypeError, match="clip is int"):
        estimate_warp(7, picture)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"precision": 5}, ValueError, "precision is 5, accepted is a whole number from 1 to 4"),
        ({"precision": 3.0}, TypeError, "precision is 3.0, accepted is a whole number from 1 to 4"),
        ({"iterations": 0}, ValueError, "iterations is 0, accepted is a whole number from 1 to 20"),
        ({"lq_input": 1}, TypeError, "lq_input is 1, accepted are True and False"),
        ({"wide_search": None}, TypeError, "wide_search is None, accepted are True and False"),
        ({"engine": "raft"}, ValueError, "engine is 'raft', accepted are 'dense', 'rife'"),
        ({"weights": 3}, TypeError, "weights is 3, accepted is the path of a file as text"),
        ({"exact_peer": "yes"}, TypeError, "exact_peer is 'yes', accepted are True and False"),
        ({"mask": np.zeros((4, 4))}, TypeError, "mask is ndarray, expected a floating-point or bool tensor"),
        ({"mask": torch.zeros(1, 1, 4, 4, dtype=torch.uint8)}, TypeError, r"mask is torch\.uint8"),
        ({"mask": torch.zeros(4, 4)}, ValueError, r"mask has shape \(4, 4\), expected \(1 or 1, 1, height, width\)"),
        ({"mask": torch.zeros(1, 3, 4, 4)}, ValueError, r"mask has shape \(1, 3, 4, 4\)"),
        ({"mask": torch.zeros(2, 1, 4, 4)}, ValueError, r"mask has shape \(2, 1, 4, 4\)"),
        ({"mask": torch.zeros(1, 1, 0, 4)}, ValueError, "none of them 0"),
    ],
)
def test_a_setting_that_cannot_be_is_named_when_called(setting, error: type[Exception], message: str) -> None:
    picture = texture(24, 32)
    with pytest.raises(error, match=message):
        estimate_warp(picture, picture, **setting)


@pytest.mark.film
def test_two_releases_of_a_film_agree_and_films_that_have_nothing_in_common_are_not_moved() -> None:
    ref = F.avg_pool2d(film_frame("bbb_480p24_h264.mp4", 100), 2)
    clip = film_frame("bbb_720p24_vp8.webm", 98)
    scale = scale_positions(clip.shape[-2:], ref.shape[-2:])
    related = estimate_warp(clip, ref)
    assert related.confidence.mean() > 0.25
    sure = related.confidence[:, 0] > 0.8
    assert distances(related, scale)[sure].mean() < 0.7, "clip pixels, of which there are three to one of the ref"
    other = film_frame("chaplin_360p25.mp4", 40)
    unrelated = estimate_warp(other, ref)
    assert unrelated.confidence.max() == 0
    assert (unrelated.clip_from_ref - scale_positions(other.shape[-2:], ref.shape[-2:])).abs().max() < 1e-3
