"""The sums behind a step: two implementations of one meaning, and what that meaning is."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.vsalign.pictures import noise
from vsalign.evidence import ROBUST_SCALE, Level, evidence, nearest, sums_torch, warped, warped_torch
from vsalign.pyramid import CELL, cell_size, smooth, smooth_torch
from vsalign.resample import lanczos_kernel, low_pass, low_pass_torch, spline36_cpu, spline36_torch

Size = tuple[int, int]
SIZES = [(64, 90), (37, 53), (8, 201), (5, 3), (4, 1), (1, 1)]


def picture(*shape: int, seed: int = 0) -> Tensor:
    """About as smooth and strong as a normalised picture."""
    smoothed = smooth(noise(*shape, seed=seed), 2)
    return smoothed * 3


def still(size: Size, batch: int = 1, x: float = 0.0, y: float = 0.0) -> Tensor:
    return torch.tensor([x, y]).view(1, 2, 1, 1).expand(batch, -1, *cell_size(size)).contiguous()


def some_trust(*shape: int, seed: int) -> Tensor:
    return (noise(*shape, seed=seed) > -0.5).float()


def level(size: Size, batch: int = 1, clip_trusts: int = 0, ref_trusts: int = 0) -> Level:
    return Level(
        picture(batch, 1, *size),
        picture(batch, 1, *size, seed=1),
        some_trust(clip_trusts, 1, *size, seed=2) if clip_trusts else None,
        some_trust(ref_trusts, 1, *size, seed=3) if ref_trusts else None,
    )


def compiled(pictures: Level, field: Tensor) -> Tensor:
    e = evidence(pictures, field)
    return torch.cat([e.tensor, e.force, e.weight, e.energy, e.common], 1)


def reference(pictures: Level, field: Tensor) -> Tensor:
    return sums_torch(pictures, *warped_torch(pictures, field))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("trusts", [(0, 0), (2, 0), (0, 2), (2, 2), (1, 1)])
def test_the_compiled_sums_are_the_references(size: Size, trusts: tuple[int, int]) -> None:
    pictures, field = level(size, 2, *trusts), 3 * noise(2, 2, *cell_size(size), seed=4)
    assert_close(compiled(pictures, field), reference(pictures, field), atol=3e-5, rtol=1e-4)


@pytest.mark.parametrize("far", [100.0, 3e3, 1e9])
def test_the_compiled_sums_are_the_references_for_positions_far_outside(far: float) -> None:
    size = (37, 53)
    field = 2 * noise(1, 2, *cell_size(size), seed=4)
    field[:, 0, :4, :4], field[:, 1, 5:, :3], field[:, 0, :, -2:] = far, -far, -far
    pictures = level(size, 1, 1, 1)
    # Between a cell that stays and one that goes 1e9 px away rounding decides which pixels are inside.
    sums, wanted = compiled(pictures, field), reference(pictures, field)
    if far <= 3e3:
        assert_close(sums, wanted, atol=3e-5, rtol=1e-4)
    assert sums.isfinite().all() and not sums[..., 0, 0].any() and not wanted[..., 0, 0].any()


def test_both_say_the_same_of_the_field_between_and_beyond_cells() -> None:
    size = (30, 41)
    rows, columns = cell_size(size)
    slope = torch.arange(columns).float().expand(1, 1, rows, -1) * 0.7
    field = torch.cat([slope, -0.3 * slope], 1)
    pictures = level(size)
    assert_close(compiled(pictures, field), reference(pictures, field), atol=3e-5, rtol=1e-4)


@pytest.mark.parametrize("sums", [compiled, reference], ids=["compiled", "torch"])
@pytest.mark.parametrize("step", [(0.25, 0.0), (0.0, -0.25), (-0.2, 0.3)])
def test_force_over_tensor_is_the_step_from_the_field_towards_the_truth(sums, step: tuple[float, float]) -> None:
    size = (48, 72)
    scene = 10 * smooth(noise(1, 1, 68, 92), 12)
    true = still(size, 1, *step)
    wanted = torch.tensor(step).view(2, 1, 1)
    ys, xs = torch.meshgrid(torch.arange(48.0), torch.arange(72.0), indexing="ij")
    ref = spline36_torch(scene, torch.stack([xs, ys])[None] + 10 + wanted, held=False)
    pictures = Level(scene[..., 10:58, 10:82], ref)
    for field, missing in ((torch.zeros_like(true), 1.0), (true / 2, 0.5), (true, 0.0)):
        total = sums(pictures, field)[..., 2:-2, 2:-2].mean((0, 2, 3))
        matrix = torch.stack([total[:2], total[1:3]])
        assert_close(torch.linalg.solve(matrix, total[3:5]), missing * torch.tensor(step), atol=0.01, rtol=0.05)


def test_sums_are_means_over_what_a_cell_has_and_weights_fall_with_the_difference() -> None:
    for difference in (0.0, ROBUST_SCALE, 3 * ROBUST_SCALE):
        pictures = Level(torch.zeros(1, 1, 10, 13), torch.full((1, 1, 10, 13), difference))
        found = evidence(pictures, still((10, 13)))
        weight = 1 / (1 + (difference / ROBUST_SCALE) ** 2)
        assert_close(found.weight, torch.full((1, 1, 3, 4), weight))
        assert_close(found.energy, torch.full((1, 1, 3, 4), weight * difference**2))
        assert not found.tensor.any() and not found.force.any() and not found.common.any()


def test_gradients_count_per_pixel_as_the_mean_of_both_and_common_is_what_both_have() -> None:
    ys, xs = torch.meshgrid(torch.arange(20.0), torch.arange(28.0), indexing="ij")
    slope = (0.03 * xs - 0.02 * ys)[None, None]
    inner = (..., slice(1, -1), slice(2, -2))
    both, one = evidence(Level(slope, slope), still((20, 28))), evidence(Level(0 * slope, slope), still((20, 28)))
    tensor, weight = torch.tensor([9e-4, -6e-4, 4e-4]).view(1, 3, 1, 1), one.weight[inner]
    assert_close(both.tensor[inner], tensor.expand_as(both.tensor[inner]), atol=1e-6, rtol=1e-3)
    assert_close(both.common[inner], torch.full_like(both.common[inner], 13e-4), atol=1e-6, rtol=1e-3)
    assert_close(one.tensor[inner], tensor / 4 * weight, atol=1e-6, rtol=1e-3)
    assert one.common[inner].abs().max() < 1e-9


@pytest.mark.parametrize("sums", [compiled, reference], ids=["compiled", "torch"])
def test_pixels_not_to_be_trusted_or_outside_say_nothing(sums) -> None:
    size, clip_trust, ref_trust = (32, 48), torch.ones(1, 1, 32, 48), torch.ones(1, 1, 32, 48)
    clip_trust[..., 16:20, 24:28] = 0
    ref_trust[..., 4:8, 8:12] = 0
    pictures = Level(picture(1, 1, *size), picture(1, 1, *size, seed=1), clip_trust, ref_trust)
    found = sums(pictures, still(size, 1, 8.0, -4.0))
    silent = (found[0] == 0).all(0)
    # Ref cell (row 1, column 2) is masked; clip cell (4, 6) is shown by ref cell (5, 4); a row and two columns lie outside.
    expected = torch.zeros(8, 12, dtype=torch.bool)
    expected[1, 2] = expected[5, 4] = True
    expected[0], expected[:, -2:] = True, True
    assert torch.equal(silent, expected)


@pytest.mark.parametrize("sums", [compiled, reference], ids=["compiled", "torch"])
def test_a_batch_gives_the_sums_of_single_pictures(sums) -> None:
    size = (37, 53)
    together, field = level(size, 3, 3, 1), noise(3, 2, *cell_size(size), seed=4)
    found = sums(together, field)
    for i in range(3):
        one = slice(i, i + 1)
        alone = Level(together.clip[one], together.ref[one], together.clip_trust[one], together.ref_trust)
        assert_close(found[one], sums(alone, field[one]), atol=1e-6, rtol=1e-6)


def test_warped_gives_the_clip_at_the_field_and_trust_inside_it() -> None:
    size = (24, 32)
    clip = picture(1, 1, *size)
    trust = torch.ones(1, 1, *size)
    trust[..., 10, 10] = 0
    moved, sure = warped(Level(clip, clip, trust), still(size, 1, 3.0, -2.0))
    assert_close(moved[..., 2:, :-3], clip[..., :-2, 3:], atol=1e-5, rtol=0)
    expected = torch.zeros(size)
    expected[2:, :-3] = 1
    expected[12, 7] = 0
    assert torch.equal(sure[0, 0], expected)


def test_nearest_rounds_to_pixel_centres_and_repeats_edges() -> None:
    image = torch.arange(12.0).view(1, 1, 3, 4)
    x, y = torch.tensor([0.4, 0.6, -5.0, 9.0, 2.0]), torch.tensor([0.0, 0.6, 1.4, 9.0, -9.0])
    assert nearest(image, torch.stack([x, y]).view(1, 2, 1, 5)).flatten().tolist() == [0, 5, 4, 11, 2]


@pytest.mark.parametrize("size", [(20, 31), (2, 7), (7, 2), (1, 9), (9, 1), (1, 1)])
def test_the_compiled_smoothing_is_the_references(size: Size) -> None:
    values = noise(2, 3, *size)
    kept = values.clone()
    for times in (0, 1, 2, 3, 6):
        assert_close(smooth(values, times), smooth_torch(values, times), atol=1e-5, rtol=1e-5)
    assert torch.equal(values, kept)


def test_smoothing_a_transposed_view_gives_the_same() -> None:
    values = noise(1, 2, 9, 14)
    assert_close(smooth(values.mT, 3), smooth(values, 3).mT, atol=1e-5, rtol=1e-5)
    assert_close(smooth(torch.ones(1, 1, 9, 14), 3), torch.ones(1, 1, 9, 14))


def test_a_batch_of_pictures_is_sampled_like_each_alone_and_like_the_compiled_one() -> None:
    images, positions = noise(3, 2, 31, 45), noise(3, 2, 20, 30, seed=1) * 15 + 15
    positions[:, 0, :2] = torch.tensor([-1e9, 1e9]).view(1, 2, 1)
    found = spline36_torch(images, positions)
    for i in range(3):
        assert torch.equal(found[i], spline36_torch(images[i : i + 1], positions[i : i + 1])[0])
        assert_close(found[i], spline36_cpu(images[i], positions[i]), atol=5e-6, rtol=1e-5)


def test_only_what_is_held_keeps_to_the_range_of_its_samples() -> None:
    step = torch.zeros(1, 1, 12, 20)
    step[..., 10:] = 1
    ys, xs = torch.meshgrid(torch.arange(12.0), torch.arange(20.0) + 0.5, indexing="ij")
    positions = torch.stack([xs, ys])[None]
    free, held = spline36_torch(step, positions, held=False), spline36_torch(step, positions, held=True)
    assert free.max() > 1.02 and free.min() < -0.02
    assert held.min() >= 0 and held.max() <= 1
    assert_close(held[..., 8:11], free.clamp(0, 1)[..., 8:11])


def test_cells_are_what_the_fields_are_stored_on() -> None:
    assert evidence(level((37, 53)), still((37, 53))).weight.shape == (1, 1, -(-37 // CELL), -(-53 // CELL))


@pytest.mark.parametrize("scale", [1.01, 1.4, 2.7])
@pytest.mark.parametrize("dim", [-1, -2])
def test_the_compiled_low_pass_is_the_references(scale: float, dim: int) -> None:
    image = noise(2, 33, 47, seed=5)
    wanted = low_pass_torch(image, lanczos_kernel(scale), math.ceil(scale), dim)
    assert_close(low_pass(image, scale, dim), wanted, atol=1e-5, rtol=1e-5)
