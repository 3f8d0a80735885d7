"""Pyramid, local normalisation, the way from evidence to a field, and the registration that is made of them."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.vsalign.pictures import constant, noise, pair, shifted_pair, texture
from vsalign.dense import EFFORTS, Pictures, Registration, register
from vsalign.evidence import Evidence
from vsalign.fill import Information, confidence, solve_affine, solve_field, times, weigh
from vsalign.pyramid import cell_size, from_cells, gradient, halve, normalise, pyramid, smooth, to_cells

ROWS, COLUMNS = 24, 36


def blobs(height: int, width: int, seed: int = 0) -> Tensor:
    return smooth(noise(1, 1, height, width, seed=seed), 3) * 0.5 + 0.5


def information(strength: Tensor, wanted: Tensor) -> Information:
    """Information that asks for the field ``wanted`` (1,2,rows,columns) with ``strength`` (1,1,rows,columns) both ways."""
    tensor = torch.cat([strength, torch.zeros_like(strength), strength], 1)
    return Information(tensor, times(tensor, wanted))


def slow_field() -> Tensor:
    y, x = torch.meshgrid(torch.arange(ROWS).float(), torch.arange(COLUMNS).float(), indexing="ij")
    return torch.stack([0.02 * x + 0.3 * torch.sin(y / 7), -0.01 * y + 0.3 * torch.cos(x / 9)])[None]


@pytest.mark.parametrize("size", [(40, 60), (41, 59)])
def test_halving_keeps_continuous_coordinates(size: tuple[int, int]) -> None:
    x = torch.arange(size[1]).float().expand(1, 1, *size)
    half = halve(x)
    assert half.shape[-2:] == ((size[0] + 1) // 2, (size[1] + 1) // 2)
    columns = torch.arange(half.shape[-1]).float()
    assert torch.allclose(half[0, 0, 4, 1:-2], (2 * columns + 0.5)[1:-2], atol=1e-4)


def test_cells_and_pixels_agree_in_continuous_coordinates() -> None:
    x = torch.arange(41).float().expand(1, 1, 30, 41)
    there_and_back = from_cells(to_cells(x), (30, 41))
    assert there_and_back.shape == x.shape
    assert torch.allclose(there_and_back[..., 4:-6], x[..., 4:-6], atol=1e-4)
    assert cell_size((30, 41)) == to_cells(x).shape[-2:]


def test_the_pyramid_stops_before_nothing_is_left() -> None:
    assert [tuple(level.shape[-2:]) for level in pyramid(torch.zeros(1, 1, 50, 90))] == [(50, 90), (25, 45), (13, 23)]
    assert len(pyramid(torch.zeros(1, 1, 5, 400))) == 1


def test_the_gradient_counts_per_pixel() -> None:
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(11.0), indexing="ij")
    gx, gy = gradient((3 * x - 2 * y)[None, None])
    assert torch.allclose(gx[..., 1:-1], torch.tensor(3.0))
    assert torch.allclose(gy[..., 1:-1, :], torch.tensor(-2.0))


def test_normalising_removes_gain_and_offset_and_does_not_blow_up_noise() -> None:
    picture = blobs(64, 96)
    assert torch.allclose(normalise(picture, 0), normalise(picture * 0.6 + 0.2, 0), atol=0.1)
    assert normalise(picture, 0).std() == pytest.approx(1, abs=0.2)
    assert normalise(0.5 + 0.001 * noise(1, 1, 64, 96), 0).std() < 0.15


def test_strong_evidence_is_followed() -> None:
    wanted = slow_field()
    info = information(torch.full((1, 1, ROWS, COLUMNS), 50.0), wanted)
    assert (solve_field(info, torch.zeros_like(wanted)) - wanted).abs().mean() < 0.02


def test_the_answer_does_not_depend_on_where_the_evidence_was_taken() -> None:
    wanted, origin = slow_field(), 0.5 * slow_field().flip(1)
    strength = 0.2 + noise(1, 1, ROWS, COLUMNS).abs()
    info = information(strength, wanted)
    from_origin = Information(info.tensor, info.force - times(info.tensor, origin))
    assert torch.allclose(solve_field(from_origin, origin), solve_field(info, torch.zeros_like(wanted)), atol=1e-4)


def test_a_hole_without_evidence_is_filled_from_around_it_and_is_not_trusted() -> None:
    wanted = slow_field()
    strength = torch.full((1, 1, ROWS, COLUMNS), 5.0)
    strength[..., 8:16, 12:24] = 0
    info = information(strength, wanted)
    field = solve_field(info, torch.zeros_like(wanted))
    assert (field - wanted)[..., 8:16, 12:24].abs().mean() < 0.1
    trust = confidence(info)
    assert trust[..., 11:13, 17:19].max() < 0.1
    assert trust[..., :3, :].min() > 0.8


def test_an_edge_counts_across_itself_and_never_along() -> None:
    across_only = torch.zeros(1, 3, ROWS, COLUMNS)
    across_only[:, :1] = 5.0
    shift = torch.tensor([0.4, 0.7]).view(1, 2, 1, 1).expand(1, 2, ROWS, COLUMNS)
    info = Information(across_only, times(across_only, shift))
    field = solve_field(info, torch.zeros(1, 2, ROWS, COLUMNS))
    assert torch.allclose(field[:, :1], shift[:, :1], atol=0.01)
    assert field[:, 1:].abs().max() < 1e-6
    assert confidence(info).max() == 0


def test_weak_evidence_is_smoothed_more_than_strong() -> None:
    jitter = 0.3 * noise(1, 2, ROWS, COLUMNS)
    swing = [
        solve_field(information(torch.full((1, 1, ROWS, COLUMNS), s), jitter), torch.zeros_like(jitter)).std()
        for s in (20.0, 0.02)
    ]
    assert swing[1] < 0.5 * swing[0]


def test_an_affine_motion_is_recovered_from_part_of_the_picture() -> None:
    y, x = torch.meshgrid(torch.arange(ROWS).float(), torch.arange(COLUMNS).float(), indexing="ij")
    wanted = torch.stack([0.3 + 0.01 * x - 0.02 * y, -0.2 + 0.015 * y])[None]
    strength = torch.zeros(1, 1, ROWS, COLUMNS)
    strength[..., 4:14, 5:20] = 1.0
    assert torch.allclose(solve_affine(information(strength, wanted)), wanted, atol=0.02)
    assert solve_affine(information(strength * 0, wanted)).abs().max() == 0


def test_gradients_that_only_one_picture_has_are_no_evidence() -> None:
    one = torch.ones(1, 1, ROWS, COLUMNS)
    tensor, force = torch.cat([one, 0 * one, one], 1), torch.cat([one, one], 1)
    shared = weigh(Evidence(tensor, force, one, 0.1 * one, 2.0 * one), noise_pixels=1)
    alone = weigh(Evidence(tensor, force, one, 0.1 * one, 0.1 * one), noise_pixels=1)
    noisy = weigh(Evidence(tensor, force, one, 1.0 * one, 2.0 * one), noise_pixels=1)
    assert alone.tensor[:, 0].max() < 0.01 * shared.tensor[:, 0].min()
    assert noisy.tensor[:, 0].max() < 0.2 * shared.tensor[:, 0].min()


def test_noise_that_neighbours_share_makes_evidence_count_less() -> None:
    one = torch.ones(1, 1, ROWS, COLUMNS)
    seen = Evidence(torch.cat([one, 0 * one, one], 1), torch.cat([one, one], 1), one, 0.1 * one, 2.0 * one)
    alone, shared = weigh(seen, noise_pixels=1), weigh(seen, noise_pixels=2)
    for one_sample, two in ((alone.tensor[:, [0, 2]], shared.tensor[:, [0, 2]]), (alone.force, shared.force)):
        assert (one_sample / two).min() > 1.7 and (one_sample / two).max() < 2.01


def test_every_pair_of_a_batch_finds_its_own_roughness() -> None:
    fields = torch.cat([slow_field(), 0.3 * noise(1, 2, ROWS, COLUMNS)])
    info = information(torch.full((2, 1, ROWS, COLUMNS), 1.0), fields)
    together = solve_field(info, torch.zeros_like(fields))
    for i in range(2):
        one = slice(i, i + 1)
        alone = solve_field(Information(info.tensor[one], info.force[one]), torch.zeros(1, 2, ROWS, COLUMNS))
        assert_close(together[one], alone, atol=1e-5, rtol=0)


def test_a_rough_field_is_followed_where_the_picture_shows_that_it_is_rough() -> None:
    strength = torch.full((1, 1, ROWS, COLUMNS), 0.3)
    error = []
    for size in (0.05, 1.0):
        wanted = size * smooth(noise(1, 2, ROWS, COLUMNS, seed=2), 1) * 3
        found = solve_field(information(strength, wanted), torch.zeros_like(wanted))
        error.append(float((found - wanted).norm() / wanted.norm()))
    assert error[1] < 0.8 * error[0]


def test_pixels_without_trust_have_no_part_in_the_local_contrast() -> None:
    picture, trust = blobs(64, 96), torch.ones(1, 1, 64, 96)
    marked = picture.clone()
    marked[..., 20:36, 30:60] = 1.0
    trust[..., 20:36, 30:60] = 0
    outside = trust[0, 0] > 0
    kept, hidden = normalise(picture, 0, trust)[0, 0], normalise(marked, 0, trust)[0, 0]
    assert_close(hidden[outside], kept[outside], atol=1e-4, rtol=0)
    assert (normalise(marked, 0) - normalise(picture, 0))[0, 0][outside].abs().max() > 0.5
    assert_close(normalise(picture, 0, torch.ones_like(trust)), normalise(picture, 0))
    assert normalise(marked, 0, torch.zeros_like(trust)).isfinite().all()


def test_the_pyramids_levels_are_halvings() -> None:
    levels = pyramid(texture(50, 90))
    assert torch.equal(levels[1], halve(levels[0])) and torch.equal(levels[2], halve(levels[1]))


def registered(pictures: tuple[Tensor, Tensor], precision: int = 3, **more: Tensor) -> Registration:
    return register(Pictures(*pictures, **more), EFFORTS[precision])


def test_more_effort_is_more_exact() -> None:
    scene = blobs(200, 260)
    clip, ref = scene[..., 20:180, 20:240], scene[..., 21:181, 18:238]
    truth = constant(-2.0, 1.0)
    error = {}
    for p in (1, 3):
        found = registered((clip, ref), p)
        assert found.level == {1: 1, 3: 0}[p] and found.size == (160, 220)
        assert found.field.shape[-2:] == cell_size((160 >> found.level, 220 >> found.level))
        error[p] = float((found.field * 2**found.level - truth)[..., 8:-8, 8:-8].norm(dim=1).mean())
    assert error[3] < error[1] < 0.1
    assert error[3] < 0.01


def test_each_pair_of_a_batch_is_registered_alone() -> None:
    pairs = [shifted_pair((6, -3), 0), (texture(seed=7), texture(seed=8)), shifted_pair((-11, 8), 2)]
    together = registered((torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs])))
    for i, (clip, ref, *_) in enumerate(pairs):
        assert_close(together.field[i : i + 1], registered((clip, ref)).field, atol=1e-3, rtol=0)
    assert not together.field[1].any() and not together.information.tensor[1].any(), "unrelated: neither moved nor trusted"
    assert together.field[0].any() and together.field[2].any()


def test_one_trust_serves_all_pairs_of_a_batch() -> None:
    clips, refs = (torch.cat([shifted_pair((5 * i, 3), i)[k] for i in range(2)]) for k in range(2))
    trust = torch.ones(1, 1, 144, 208)
    trust[..., 40:70, 60:110] = 0
    together = register(Pictures(clips, refs, trust, trust), EFFORTS[2])
    for i in range(2):
        alone = register(Pictures(clips[i : i + 1], refs[i : i + 1], trust, trust), EFFORTS[2])
        assert_close(together.field[i : i + 1], alone.field, atol=1e-3, rtol=0)


@pytest.mark.parametrize("side", ["clip_trust", "ref_trust"])
def test_where_a_picture_is_not_trusted_nothing_is_known(side: str) -> None:
    clip, ref, _ = pair()
    trust = torch.ones_like(ref)
    trust[..., 40:80, 60:120] = 0
    sure = confidence(registered((clip, ref), **{side: trust}).information)[0, 0]
    assert sure[13:17, 19:26].max() < 0.05
    assert sure[:, 36:].mean() > 0.8


@pytest.mark.parametrize("precision", [1, 2, 3, 4])
def test_repeating_a_search_that_has_arrived_does_not_move_it(precision: int) -> None:
    clip, ref, _ = pair()
    once, often = (register(Pictures(clip, ref), EFFORTS[precision], iterations=n) for n in (1, 4))
    assert (once.field - often.field).norm(dim=1).mean() < (0.03 if precision > 1 else 0.08)
