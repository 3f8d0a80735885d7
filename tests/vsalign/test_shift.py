"""The first shift: its convention, its reach, and what must not lead it astray."""

import pytest
import torch
from torch import Tensor

from tests.vsalign.pictures import noise, shifted_pair, texture
from vsalign.pyramid import normalise
from vsalign.shift import correlation, first_shift

#: A coarse pyramid level of a picture, which is where the shift is looked for.
SIZE = (30, 48)


def coarse(shift: tuple[int, int], seed: int = 0) -> tuple[Tensor, Tensor]:
    clip, ref, _ = shifted_pair(shift, seed, SIZE)
    return normalise(clip, 0), normalise(ref, 0)


def found(clip: Tensor, ref: Tensor, clip_trust: Tensor | None = None, ref_trust: Tensor | None = None) -> list[list[float]]:
    shift = first_shift(clip, ref, clip_trust, ref_trust)
    assert shift.dtype == torch.float32
    return [[float(x) for x in row] for row in shift]


@pytest.mark.parametrize(
    "shift", [(0, 0), (3, -2), (16, 0), (-16, 0), (0, 10), (0, -10), (16, 10), (-16, 10), (16, -10), (-16, -10), (1, 0), (0, 1)]
)
def test_ref_at_p_looks_like_clip_at_p_plus_the_shift(shift: tuple[int, int]) -> None:
    for seed in range(3):
        assert found(*coarse(shift, seed)) == [list(shift)]


def test_gain_offset_and_grain_do_not_move_it() -> None:
    clip, ref, _ = shifted_pair((-9, 6), size=SIZE)
    worse = clip**1.4 * 0.6 + 0.1 + 0.05 * noise(*clip.shape)
    assert found(normalise(worse, 0), normalise(ref, 0)) == [[-9, 6]]


def test_each_of_a_batch_has_its_own_shift_and_one_trust_may_serve_all() -> None:
    shifts = [(7, -4), (-13, 9), (0, 0)]
    pairs = [coarse(shift, seed) for seed, shift in enumerate(shifts)]
    clips, refs = (torch.cat([p[i] for p in pairs]) for i in range(2))
    assert found(clips, refs) == [list(map(float, s)) for s in shifts]
    trust = torch.ones(1, 1, *SIZE)
    trust[..., :4, :6] = 0
    assert found(clips, refs, trust, trust) == [list(map(float, s)) for s in shifts]


@pytest.mark.parametrize("hidden", ["clip", "ref", "both"])
def test_a_part_that_lies_is_left_out_on_either_side(hidden: str) -> None:
    clip, ref = (x.clone() for x in coarse((-7, 4)))
    clip[..., 8:22, 12:34] = ref[..., 8:22, 12:34] = 2 * normalise(texture(14, 22, seed=5), 0)
    trust = torch.ones(1, 1, *SIZE)
    trust[..., 8:22, 12:34] = 0.5
    assert found(clip, ref) == [[0, 0]], "what stands still in both pulls"
    sides = (None if hidden == "ref" else trust, None if hidden == "clip" else trust)
    assert found(clip, ref, *sides) == [[-7, 4]]


def test_of_equally_good_shifts_the_one_with_more_in_common_wins() -> None:
    period = normalise(texture(30, 20, seed=3), 0)
    wall = period.repeat(1, 1, 1, 6)
    for dx in (6, -6):
        assert found(wall[..., 30 - dx : 90 - dx], wall[..., 30:90]) == [[dx, 0]]


def test_a_sliver_in_common_does_not_decide() -> None:
    clip, ref = coarse((0, 0), seed=1)[0].clone(), coarse((0, 0), seed=2)[1]
    clip[..., -12:] = ref[..., :12]
    assert found(clip, ref) != [[36, 0]]


def test_two_thirds_in_common_suffice() -> None:
    clip, ref = coarse((0, 0), seed=1)[0].clone(), coarse((0, 0), seed=2)[1]
    clip[..., -32:] = ref[..., :32]
    assert found(clip, ref) == [[16, 0]]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (30, 48)])
def test_flat_and_tiny_pictures_are_not_shifted(size: tuple[int, int]) -> None:
    flat = torch.zeros(1, 1, *size)
    for clip, ref in ((flat, flat), (flat + 0.3, flat), (noise(1, 1, *size), flat), (flat, noise(1, 1, *size))):
        assert found(clip, ref) == [[0, 0]]
    assert found(flat, flat, flat, flat) == [[0, 0]], "nothing is to be trusted"


@pytest.mark.parametrize("size", [(1, 7), (3, 2), (5, 5), (9, 40)])
def test_a_tiny_picture_lies_on_itself(size: tuple[int, int]) -> None:
    picture = noise(1, 1, *size)
    assert found(picture, picture) == [[0, 0]]


def test_correlation_runs_from_minus_one_to_one_per_pair_and_is_zero_for_empty_pictures() -> None:
    a, b = noise(2, 1, 8, 9), noise(2, 1, 8, 9, seed=1)
    assert torch.allclose(correlation(a, torch.stack([3 * a[0], -0.5 * a[1]])), torch.tensor([1.0, -1.0]))
    assert correlation(a, torch.zeros_like(a)).tolist() == [0, 0]
    assert correlation(a, b).abs().max() < 0.5
