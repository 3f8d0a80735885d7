import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from vsalign.resample import low_pass, spline36_cpu, spline36_torch
from vsalign.warp import Warp, affine_warp, apply_warp, mean_scale, positions_inside, scale_positions


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def moving(dx: float, dy: float, height: int = 40, width: int = 56) -> Warp:
    positions = scale_positions((height, width), (height, width)) + torch.tensor([dx, dy]).view(1, 2, 1, 1)
    return Warp(positions, torch.ones(1, 1, height, width))


def resizing(clip_size: tuple[int, int], ref_size: tuple[int, int]) -> Warp:
    return Warp(scale_positions(clip_size, ref_size), torch.ones(1, 1, *ref_size))


def ramp(height: int, width: int, dim: int) -> Tensor:
    line = torch.arange(width if dim == -1 else height, dtype=torch.float32)
    return (line[None, :] if dim == -1 else line[:, None]).expand(height, width)[None, None]


def test_the_identity_returns_the_clip_bit_for_bit() -> None:
    clip = noise(1, 3, 40, 56)
    frame, inside = apply_warp(clip, moving(0, 0))
    assert torch.equal(frame, clip)
    assert torch.equal(inside, torch.ones(1, 1, 40, 56))


def test_a_whole_pixel_shift_moves_samples_untouched_and_x_comes_before_y() -> None:
    clip = noise(1, 1, 40, 56)
    frame, inside = apply_warp(clip, moving(5, -3))
    assert torch.equal(frame[..., 3:, :-5], clip[..., :-3, 5:])
    assert inside.sum() == (40 - 3) * (56 - 5)
    assert torch.equal(frame[0, 0, :3, 0], clip[0, 0, 0, 5].expand(3)), "outside, the edge pixel is repeated"


def test_a_ramp_is_sampled_at_exactly_the_position_asked_for() -> None:
    for dim in (-1, -2):
        frame, _ = apply_warp(ramp(40, 56, dim), moving(0.3, 0.7))
        expected = ramp(40, 56, dim) + (0.3 if dim == -1 else 0.7)
        assert torch.allclose(frame[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4], atol=1e-4)


@pytest.mark.parametrize("ref_size", [(20, 28), (80, 112), (37, 61)])
def test_pictures_of_different_size_agree_in_continuous_coordinates(ref_size: tuple[int, int]) -> None:
    frame, inside = apply_warp(ramp(40, 56, -1), resizing((40, 56), ref_size))
    expected = (torch.arange(ref_size[1]) + 0.5) * 56 / ref_size[1] - 0.5
    margin = ref_size[1] // 6
    assert torch.allclose(frame[0, 0, 5, margin:-margin], expected[margin:-margin], atol=2e-4)
    assert inside.min() == 1, "the whole clip is the whole ref"


def test_a_step_does_not_ring() -> None:
    clip = torch.full((1, 1, 40, 56), 0.2)
    clip[..., 28:] = 0.8
    for warp in (moving(0.37, 0.41), resizing((40, 56), (27, 35)), resizing((40, 56), (90, 131))):
        frame, _ = apply_warp(clip, warp)
        assert frame.min() >= clip.min()
        assert frame.max() <= clip.max()


def test_fine_detail_survives_half_a_pixel_of_shift() -> None:
    x = torch.arange(56, dtype=torch.float32)
    clip = torch.sin(x * torch.pi / 2 + 0.4).expand(1, 1, 40, 56)
    frame, _ = apply_warp(clip, moving(0.5, 0))
    expected = torch.sin((x + 0.5) * torch.pi / 2 + 0.4)
    gain = (frame[0, 0, 9, 8:-8] * expected[8:-8]).sum() / expected[8:-8].square().sum()
    assert 0.93 < gain < 1.05  # linear interpolation keeps 0.71 of it


def test_detail_that_a_coarser_ref_cannot_carry_is_removed_not_folded() -> None:
    stripes = (torch.arange(120) % 2).float().expand(1, 1, 60, 120)
    frame, _ = apply_warp(stripes, resizing((60, 120), (60, 80)))
    assert (frame[..., 8:-8] - 0.5).abs().max() < 0.06
    kept, _ = apply_warp(stripes, resizing((60, 120), (40, 120)))
    assert torch.allclose(kept, stripes[..., :40, :], atol=1e-5), "only the axis that is made coarser is filtered"


def test_the_scale_of_a_warp_is_measured_along_the_axes_of_the_clip() -> None:
    scale_x, scale_y = mean_scale(scale_positions((40, 90), (80, 60))[0])
    assert scale_x == pytest.approx(1.5, abs=1e-5)
    assert scale_y == pytest.approx(0.5, abs=1e-5)


def test_low_pass_keeps_flat_and_slow_content() -> None:
    slow = torch.sin(torch.arange(80) / 12).expand(1, 6, 80)
    assert torch.allclose(low_pass(slow, 1.5, -1)[..., 8:-8], slow[..., 8:-8], atol=5e-3)
    assert torch.allclose(low_pass(torch.full((1, 30, 30), 0.3), 2.5, -2), torch.tensor(0.3))


def test_the_compiled_sampler_agrees_with_the_reference() -> None:
    image = noise(2, 31, 45)
    positions = scale_positions((31, 45), (40, 50))[0] + (noise(2, 40, 50, seed=1) - 0.5) * 30
    positions[:, 0, :4] = torch.tensor([-1e9, 1e9, -7.0, 0.0])
    assert torch.allclose(spline36_cpu(image, positions), spline36_torch(image[None], positions[None])[0], atol=2e-6)


def test_positions_are_float32_whatever_the_clip_is() -> None:
    clip = torch.zeros(1, 1, 4, 4000, dtype=torch.float16)
    clip[..., 3001:] = 1
    positions = torch.tensor([[3000.0, 3000.5, 3001.0], [1.0, 1.0, 1.0]]).view(1, 2, 1, 3)
    frame, inside = apply_warp(clip, Warp(positions, torch.ones(1, 1, 1, 3)))
    assert frame.dtype == inside.dtype == torch.float16
    assert frame.flatten().tolist() == [0.0, 0.5, 1.0], "half precision knows only even positions here"
    with pytest.raises(ValueError, match="float32"):
        Warp(positions.double(), torch.ones(1, 1, 1, 3))


def test_each_item_of_a_batch_gets_its_own_warp_and_the_same_bits_as_alone() -> None:
    clip, warps = noise(2, 3, 40, 56), [moving(1.3, 0.2), moving(-4.7, 2.6)]
    both = Warp(torch.cat([w.clip_from_ref for w in warps]), torch.ones(2, 1, 40, 56))
    frame, inside = apply_warp(clip, both)
    for i, warp in enumerate(warps):
        alone, alone_inside = apply_warp(clip[i : i + 1], warp)
        assert torch.equal(frame[i : i + 1], alone)
        assert torch.equal(inside[i : i + 1], alone_inside)


def test_inside_ends_half_a_pixel_beyond_the_outermost_centres() -> None:
    x = torch.tensor([-0.51, -0.5, 55.5, 55.51])
    positions = torch.stack([x, torch.full((4,), 10.0)]).view(1, 2, 1, 4)
    assert positions_inside(positions, (40, 56)).flatten().tolist() == [False, True, True, False]


def test_what_does_not_fit_together_is_named() -> None:
    with pytest.raises(ValueError, match="batch size 2"):
        apply_warp(noise(2, 1, 40, 56), moving(0, 0))
    with pytest.raises(ValueError, match="shape"):
        apply_warp(noise(40, 56), moving(0, 0))
    with pytest.raises(TypeError, match="uint8"):
        apply_warp(torch.zeros(1, 1, 40, 56, dtype=torch.uint8), moving(0, 0))
    with pytest.raises(ValueError, match="confidence"):
        Warp(torch.zeros(1, 2, 4, 5), torch.ones(1, 1, 5, 4))
    with pytest.raises(ValueError, match="clip_from_ref"):
        Warp(torch.zeros(1, 4, 5, 2), torch.ones(1, 1, 4, 5))
    with pytest.raises(ValueError, match=r"homography has shape \(3, 3\), expected \(1, 3, 3\)"):
        Warp(torch.zeros(1, 2, 4, 5), torch.ones(1, 1, 4, 5), torch.eye(3))


def test_a_warp_shows_its_shape_and_never_its_pixels() -> None:
    assert repr(moving(0, 0)) == "Warp(clip_from_ref=(1, 2, 40, 56), device=cpu)"
    assert Warp(torch.zeros(2, 2, 4, 5), torch.ones(2, 1, 4, 5), torch.eye(3).expand(2, 3, 3)).homography is not None


def test_an_affine_warp_of_equal_pictures_is_the_pure_change_of_size():
    warp = affine_warp((1, 0, 0, 0, 1, 0), (40, 64), (90, 120))
    assert_close(warp.clip_from_ref, scale_positions((40, 64), (90, 120)), atol=1e-4, rtol=0)
    assert not warp.confidence.any()


def test_an_affine_warp_moves_by_halves_of_the_picture_with_x_before_y():
    warp = affine_warp((1, 0, 0.5, 0, 1, -0.25), (40, 64), (40, 64))
    moved = warp.clip_from_ref - scale_positions((40, 64), (40, 64))
    assert_close(moved[0, 0], torch.full((40, 64), 16.0), atol=1e-4, rtol=0)
    assert_close(moved[0, 1], torch.full((40, 64), -5.0), atol=1e-4, rtol=0)
