import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vsalign.spatial import estimate_warp
from vsalign.warp import Warp, apply_warp, scale_positions

HEIGHT, WIDTH = 144, 208


def texture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0, channels: int = 1) -> Tensor:
    """Random content at every scale, in [0, 1], (1,C,height,width)."""
    generator, total = torch.Generator().manual_seed(seed), torch.zeros(1, channels, height, width)
    for step, weight in ((2, 0.4), (4, 0.6), (9, 0.8), (24, 1.0)):
        coarse = torch.randn(1, channels, height // step + 3, width // step + 3, generator=generator)
        total = total + weight * F.interpolate(coarse, size=(height, width), mode="bicubic")
    return ((total - total.mean()) / total.std() * 0.15 + 0.5).clamp(0, 1)


def as_warp(positions: Tensor) -> Warp:
    return Warp(positions, torch.ones(1, 1, *positions.shape[-2:]))


def curved(height: int = HEIGHT, width: int = WIDTH, size_px: float = 2.0) -> Tensor:
    """Positions of a smooth warp: a shift, a change of scale and a slow bend."""
    p = scale_positions((height, width), (height, width))
    x, y = p[:, :1], p[:, 1:]
    bend = torch.cat([torch.sin(y / 27 + 1) + 0.01 * (x - 100), torch.cos(x / 31) - 0.008 * (y - 70)], 1)
    return p + size_px * bend + torch.tensor([1.3, -0.8]).view(1, 2, 1, 1)


def pair(degrade: bool = False, margin: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """clip, ref and the true clip position of every ref pixel."""
    clip, truth = texture(), curved()[..., margin:-margin, margin:-margin]
    ref, _ = apply_warp(clip, as_warp(truth))
    if degrade:
        generator = torch.Generator().manual_seed(3)
        clip = (clip**1.4 * 0.8 + 0.1 + 0.02 * torch.randn(clip.shape, generator=generator)).clamp(0, 1)
    return clip[..., margin:-margin, margin:-margin], ref, truth - margin


def errors(warp: Warp, truth: Tensor, margin: int = 8) -> Tensor:
    return (warp.clip_from_ref - truth).norm(dim=1)[..., margin:-margin, margin:-margin]


@pytest.mark.parametrize("precision", [1, 2, 3, 4])
def test_a_picture_lies_exactly_on_itself(precision: int) -> None:
    picture = texture(channels=3)
    warp = estimate_warp(picture, picture, precision=precision)
    assert errors(warp, scale_positions((HEIGHT, WIDTH), (HEIGHT, WIDTH)), margin=1).max() < 1e-3
    assert warp.confidence.mean() > 0.9


@pytest.mark.parametrize("shift", [(3, -2), (23, 11), (-40, 20)])
def test_a_whole_pixel_shift_is_found_where_both_show_the_scene(shift: tuple[int, int]) -> None:
    (dx, dy), scene = shift, texture(HEIGHT + 48, WIDTH + 90)
    ref = scene[..., 24 : 24 + HEIGHT, 45 : 45 + WIDTH]
    clip = scene[..., 24 - dy : 24 - dy + HEIGHT, 45 - dx : 45 - dx + WIDTH]
    truth = scale_positions((HEIGHT, WIDTH), (HEIGHT, WIDTH)) + torch.tensor([dx, dy]).view(1, 2, 1, 1)
    seen = estimate_warp(clip, ref, precision=3)
    inside = apply_warp(clip, as_warp(truth))[1][:, 0] > 0
    error = (seen.clip_from_ref - truth).norm(dim=1)[inside]
    assert error.median() < 0.02
    assert error.quantile(0.95) < 0.3


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
    with pytest.raises(ValueError, match="precision is 5, accepted are 1, 2, 3, 4"):
        estimate_warp(picture, picture, precision=5)
    with pytest.raises(ValueError, match=r"clip has \(2, 1\), ref has \(1, 1\)"):
        estimate_warp(picture.repeat(2, 1, 1, 1), picture)
