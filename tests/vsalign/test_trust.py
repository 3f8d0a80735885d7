"""Which pixels count, and where the same pixels lie in the other picture."""

import pytest
import torch
from torch.testing import assert_close

from tests.vsalign.pictures import constant, grainy, noise, texture
from vsalign.evidence import Level, warped
from vsalign.pyramid import cell_size, normalise, pyramid, smooth
from vsalign.trust import correlated_pixels, laid_over, moved_back, odd_pixels, trusts

SIZE = (64, 96)


def spot(top: int, left: int, height: int = 8, width: int = 12, outside: float = 1.0) -> torch.Tensor:
    plane = torch.full((1, 1, *SIZE), outside)
    plane[..., top : top + height, left : left + width] = 1 - outside
    return plane


def test_no_trust_is_full_trust_on_every_level() -> None:
    assert trusts(None, 3) == [None, None, None]


@pytest.mark.parametrize("size", [(64, 96), (37, 53), (1, 1)])
def test_trust_has_the_sizes_of_the_pyramid_and_one_pixel_taints_all_above_it(size: tuple[int, int]) -> None:
    levels = pyramid(torch.zeros(1, 1, *size))
    full = trusts(torch.full((1, 1, *size), 0.6), len(levels))
    assert [t.shape for t in full] == [level.shape for level in levels]
    assert all((t == 1).all() for t in full), "above one half is trusted, at the edges too"
    trust = torch.ones(1, 1, *size)
    trust[..., size[0] // 2, size[1] // 2] = 0.5
    for index, t in enumerate(trusts(trust, len(levels))):
        at = (size[0] // 2) >> index, (size[1] // 2) >> index
        assert t[0, 0][at] == 0
        assert (t == 0).sum() <= 9, "and only those around it"


@pytest.mark.parametrize("shift", [(0, 0), (7, -5), (-6, 3)])
def test_what_is_masked_in_ref_is_masked_where_the_clip_shows_it(shift: tuple[int, int]) -> None:
    field = constant(*shift).expand(1, 2, *cell_size(SIZE))
    moved = moved_back(spot(20, 30), field)
    # Ref at p shows what clip has at p + shift.
    assert torch.equal(moved, spot(20 + shift[1], 30 + shift[0]))


def test_moving_back_undoes_the_warp_of_a_slow_field() -> None:
    field = 2 + smooth_field()
    trust = spot(20, 30, 20, 30)
    there = moved_back(trust, field)
    _, again = warped(Level(there, there, there), field)
    assert ((again != trust) & (trust == 0)).float().mean() < 0.02


def smooth_field() -> torch.Tensor:
    rows, columns = cell_size(SIZE)
    y, x = torch.meshgrid(torch.arange(rows) / 8, torch.arange(columns) / 9, indexing="ij")
    return torch.stack([torch.sin(x + y), torch.cos(x)])[None]


def test_a_logo_is_odd_with_its_surroundings_and_grain_is_not() -> None:
    scene = texture(*SIZE)
    marked = scene.clone()
    marked[..., 20:40, 30:60] = texture(20, 30, seed=9)
    for clip, ref in ((scene, marked), (marked, scene)):
        level = Level(normalise(clip, 0), normalise(ref, 0))
        odd = odd_pixels(level, level.clip, torch.ones(1, 1, *SIZE))
        assert set(odd.unique().tolist()) == {0.0, 1.0}
        assert odd[..., 20:40, 30:60].mean() > 0.6
        outside = odd.clone()
        outside[..., 12:48, 22:68] = 0
        assert not outside.any()
    for strength in (0.02, 0.1, 0.3):
        level = Level(normalise(grainy(scene, 1, strength), 0), normalise(grainy(scene, 2, strength), 0))
        assert odd_pixels(level, level.clip, torch.ones(1, 1, *SIZE)).mean() < 0.03, strength


def test_odd_pixels_take_two_around_them_along() -> None:
    flat, ref = torch.zeros(1, 1, *SIZE), torch.zeros(1, 1, *SIZE)
    ref[..., 30, 40], ref[..., 50, 60] = -1.6, 1.4
    odd = odd_pixels(Level(flat, ref), flat, torch.ones(1, 1, *SIZE))
    assert torch.equal(odd, spot(28, 38, 5, 5, outside=0.0))


def test_what_is_masked_or_outside_is_not_odd_and_each_picture_has_its_own_usual() -> None:
    quiet, loud = torch.zeros(1, 1, *SIZE), 6 * torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0)) - 3
    ref = torch.cat([quiet, loud])
    ref[..., 10, 10] = 5
    odd = odd_pixels(Level(torch.zeros_like(ref), ref), torch.zeros_like(ref), torch.ones(2, 1, *SIZE))
    assert odd[0].any() and not odd[1].any()
    trust = torch.ones(2, 1, *SIZE)
    trust[..., 10, 10] = 0
    assert not odd_pixels(Level(torch.zeros_like(ref), ref), torch.zeros_like(ref), trust)[0].any()


@pytest.mark.parametrize("size", [(8, 12), (7, 11)])
def test_values_are_laid_over_finer_levels_in_blocks(size: tuple[int, int]) -> None:
    values = torch.arange(6.0).view(1, 1, 2, 3)
    laid = laid_over(values, 2, size)
    assert laid.shape[-2:] == size
    assert_close(laid[0, 0, ::4, ::4], values[0, 0])
    assert (laid[..., :4, 4:8] == 1).all()
    assert torch.equal(laid_over(values, 0, (2, 3)), values)


def test_noise_that_is_new_in_every_pixel_has_an_area_of_one_and_patches_have_theirs() -> None:
    fresh = 0.3 * noise(2, 1, 96, 128, seed=6)
    patches = smooth(noise(2, 1, 96, 128, seed=7), 1)
    nothing, all_of_it = torch.zeros(2, 1, 96, 128), torch.ones(2, 1, 96, 128)
    assert correlated_pixels(fresh, nothing, all_of_it).flatten().tolist() == pytest.approx([1, 1], abs=0.15)
    assert correlated_pixels(patches, nothing, all_of_it).flatten().tolist() == pytest.approx([9, 9], abs=1.5)
    assert correlated_pixels(nothing, nothing, all_of_it).isfinite().all()
    assert correlated_pixels(noise(1, 1, 1, 1), nothing[:1, :, :1, :1], all_of_it[:1, :, :1, :1]).isfinite().all()
