import pytest
import torch
from torch import Tensor

from vsalign.dense import EFFORTS, register
from vsalign.fill import Evidence, Information, confidence, solve_affine, solve_field, times, weigh
from vsalign.phase import correlation, first_shift
from vsalign.pyramid import cell_size, from_cells, gradient, halve, normalise, pyramid, smooth, to_cells

ROWS, COLUMNS = 24, 36


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


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


@pytest.mark.parametrize("shift", [(0, 0), (7, -4), (-13, 9)])
def test_the_first_shift_says_where_in_the_clip_the_ref_lies(shift: tuple[int, int]) -> None:
    (dx, dy), scene = shift, blobs(90, 130)
    ref, clip = scene[..., 15:75, 20:110], scene[..., 15 - dy : 75 - dy, 20 - dx : 110 - dx]
    assert first_shift(normalise(clip, 0), normalise(ref, 0)) == shift


def test_no_shift_is_made_up_for_flat_or_unrelated_pictures() -> None:
    flat = torch.zeros(1, 1, 40, 60)
    assert first_shift(flat, flat) == (0, 0)
    assert correlation(flat, flat) == 0


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


def test_more_effort_is_more_exact() -> None:
    scene = blobs(200, 260)
    clip, ref = scene[..., 20:180, 20:240], scene[..., 21:181, 18:238]
    truth = torch.tensor([-2.0, 1.0]).view(1, 2, 1, 1)
    error = {p: float((register(clip, ref, EFFORTS[p])[0] - truth)[..., 8:-8, 8:-8].norm(dim=1).mean()) for p in (1, 3)}
    assert error[3] < error[1] < 0.1
    assert error[3] < 0.01
