"""What neighbouring frames agree on: the constant is averaged, a frame's own affine motion is kept."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.vsalign.pictures import constant, noise
from vsalign.pooling import Fields, in_blocks, pool
from vsalign.pyramid import smooth

#: No whole number of blocks.
ROWS, COLUMNS, FRAMES = 18, 26, 11


def fields(displacement: Tensor, trust: float | Tensor = 0.8, strength: float = 20.0) -> Fields:
    """All places seen equally well both ways."""
    frames = displacement.shape[0]
    shape = (frames, 1, *displacement.shape[-2:])
    one = torch.ones(shape)
    trusts = trust.expand(shape).contiguous() if isinstance(trust, Tensor) else one * trust
    precision = torch.cat([one, 0 * one, one], 1) * strength * (trusts > 0)
    return Fields(displacement, trusts, in_blocks(precision))


def scene() -> Tensor:
    """A geometry that all frames share, (1,2,ROWS,COLUMNS)."""
    return 4 * smooth(noise(1, 2, ROWS, COLUMNS, seed=5), 3) + constant(3.0, -2.0)


def affine(x: float, y: float, stretch: float = 0.0, turn: float = 0.0) -> Tensor:
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, ROWS), torch.linspace(-1, 1, COLUMNS), indexing="ij")
    return torch.stack([x + stretch * xs - turn * ys, y + turn * xs + stretch * ys])[None]


def jitter(strength: float = 0.1) -> Tensor:
    return strength * noise(FRAMES, 2, ROWS, COLUMNS, seed=6)


@pytest.mark.parametrize("at", [0, 4, FRAMES - 1])
def test_what_differs_by_chance_is_averaged(at: int) -> None:
    common = scene()
    seen = fields(common + jitter(), strength=1.0)
    steadied, trust = pool(seen, at)
    assert steadied.shape == (1, 2, ROWS, COLUMNS) and trust.shape == (1, 1, ROWS, COLUMNS)
    assert (steadied - common).std() < 0.4 * jitter()[at].std()
    assert_close(steadied, (common + jitter()).mean(0, keepdim=True), atol=0.03, rtol=0)
    assert_close(trust, torch.full_like(trust, 0.8))


def test_equal_frames_give_what_each_says() -> None:
    common = scene()
    steadied, _ = pool(fields(common.repeat(5, 1, 1, 1)), 2)
    assert_close(steadied, common, atol=1e-4, rtol=0)


@pytest.mark.parametrize("own", [(0.6, 0.0), (0.0, -0.6), (0.3, 0.2, 0.4, 0.0), (0.0, 0.0, 0.0, -0.5)])
def test_a_frames_own_affine_motion_is_kept_and_not_given_to_the_others(own: tuple[float, ...]) -> None:
    common, moved = scene().repeat(FRAMES, 1, 1, 1), affine(*own)
    common[4] += moved[0]
    seen = fields(common + jitter(0.02))
    assert_close(pool(seen, 4)[0], common[4:5], atol=0.05, rtol=0)
    for at in (3, 5):
        assert (pool(seen, at)[0] - common[at : at + 1]).abs().mean() < 0.02


def test_frames_that_all_move_keep_each_its_own_motion() -> None:
    own = torch.cat([affine(*(0.5 * noise(4, seed=i)).tolist()) for i in range(FRAMES)])
    seen = fields(scene() + own + jitter(0.02))
    for at in range(0, FRAMES, 3):
        wanted = scene() + own[at : at + 1]
        assert (pool(seen, at)[0] - wanted).abs().mean() < 0.03


def test_motion_that_chance_explains_is_not_kept() -> None:
    common = scene().repeat(FRAMES, 1, 1, 1)
    common[4] += constant(0.05, -0.05)[0]
    pixels = ROWS * COLUMNS
    for strength, kept in ((1.0 / pixels, False), (1e6 / pixels, True)):
        steadied = pool(fields(common, strength=strength), 4)[0]
        shift = (steadied - scene())[0, 0].mean()
        assert shift == pytest.approx(0.05 if kept else 0.05 / FRAMES, abs=0.005)


def test_evidence_for_one_axis_does_not_speak_for_the_other() -> None:
    common = scene().repeat(FRAMES, 1, 1, 1)
    common[4] += constant(0.8, 0.8)[0]
    seen = fields(common)
    seen.precision[:, 2] = 0
    own = pool(seen, 4)[0] - scene()
    assert own[0, 0].mean() == pytest.approx(0.8, abs=0.05)
    assert own[0, 1].mean().abs() < 0.2


def test_a_place_is_taken_from_the_frames_that_see_it() -> None:
    common = scene().repeat(FRAMES, 1, 1, 1)
    trust = torch.full((FRAMES, 1, ROWS, COLUMNS), 0.9)
    common[:5, :, 4:12, 5:15] += 2
    trust[:5, :, 4:12, 5:15] = 0
    steadied, sure = pool(fields(common, trust), 2)
    assert (steadied - scene()).abs().max() < 0.15
    assert sure[..., 4:12, 5:15].mean() > 0.8, "what others know counts as known"
    assert sure[..., :3, :].min() > 0.85


def test_one_frames_local_fancy_is_not_believed() -> None:
    common = scene().repeat(FRAMES, 1, 1, 1)
    common[4, :, 4:10, 5:13] += 4
    for at in (3, 5):
        assert (pool(fields(common), at)[0] - scene()).abs().max() < 0.05, "a mean would be off by 0.36"
    assert (pool(fields(common), 4)[0] - scene()).abs().max() < 1.2, "nor by the frame itself, but for its affine part"


def test_a_frame_that_tells_nothing_changes_nothing_and_takes_what_the_others_say() -> None:
    seen = fields(scene() + jitter())
    silent = torch.full((FRAMES, 1, 1, 1), 0.8)
    silent[4] = 0
    displacement = (scene() + jitter()).clone()
    displacement[4] = 0
    with_silent = fields(displacement, silent)
    rest = [i for i in range(FRAMES) if i != 4]
    without = Fields(*(getattr(seen, name)[rest] for name in ("displacement", "trust", "precision")))
    for at, at_without in ((3, 3), (5, 4)):
        for one, other in zip(pool(with_silent, at), pool(without, at_without), strict=True):
            assert_close(one, other, atol=1e-5, rtol=0)
    taken, trust = pool(with_silent, 4)
    assert (taken - scene()).abs().mean() < 0.05
    assert trust.min() > 0.7


def test_frames_of_which_none_tells_anything_give_nothing() -> None:
    displacement, trust = pool(fields(torch.zeros(3, 2, ROWS, COLUMNS), trust=0.0), 1)
    assert not displacement.any() and not trust.any()


def test_the_order_of_the_others_does_not_matter() -> None:
    seen = fields(scene() + jitter() + torch.cat([affine(0.1 * i, 0.0) for i in range(FRAMES)]))
    order = torch.tensor([4, 10, 2, 7, 0, 9, 1, 3, 8, 6, 5])
    shuffled = Fields(seen.displacement[order], seen.trust[order], seen.precision[order])
    assert_close(pool(shuffled, 0)[0], pool(seen, 4)[0], atol=1e-4, rtol=0)


def test_one_frame_of_fields_is_cut_out_whole() -> None:
    seen = fields(scene() + jitter())
    one = seen.of(3)
    assert torch.equal(one.displacement, seen.displacement[3:4]) and one.trust.shape[0] == one.precision.shape[0] == 1
