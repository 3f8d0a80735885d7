"""Neighbouring frames steady each other: what pooling real observations must bring, and what must not take part in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from torch.testing import assert_close

from tests.vsalign.pictures import as_warp, constant, distances, errors, noise, texture
from tests.vsalign.shots import FAST, SETTINGS, SIZE, Pair, mean_error, observed, same_bits, shot, wobble
from vsalign.basemap import BaseMap
from vsalign.pooling import Fields, in_blocks
from vsalign.settings import DEFAULT_SMOOTH_TIME, SpatialSettings
from vsalign.steady import Observation, observe, settle
from vsalign.warp import Warp, scale_positions

R = DEFAULT_SMOOTH_TIME


@cache
def steady_shot(weave_px: float = 0.0) -> tuple[list[Pair], list[Observation]]:
    pairs = shot(2 * R + 7, weave_px=weave_px)
    return pairs, observed(pairs)


@cache
def two_scenes() -> tuple[list[Observation], list[Observation]]:
    """Their geometries differ by 5 px."""
    return observed(shot(4), FAST), observed(shot(4, seed=1, offset=constant(4, -3)), FAST)


def around(seen: Sequence[Observation], n: int, radius: int = R) -> Warp:
    first = max(0, n - radius)
    return settle(seen[first : n + radius + 1], n - first)


def black(size: tuple[int, int] = SIZE, settings: SpatialSettings = FAST) -> Observation:
    nothing = observe(torch.zeros(1, 1, *size), torch.zeros(1, 1, *size), settings)
    assert nothing.confidence == 0
    return nothing


def test_a_static_geometry_under_grain_wobbles_less_than_a_third_and_errs_no_more() -> None:
    pairs, seen = steady_shot()
    frames = range(R - 2, R + 9)
    truths = [pairs[n][2] for n in frames]
    single, steadied = ([around(seen, n, radius) for n in frames] for radius in (0, R))
    assert wobble(steadied, truths) < 0.3 * wobble(single, truths)
    assert mean_error(steadied, truths) < 0.8 * mean_error(single, truths)


def test_frames_that_weave_are_followed_not_averaged() -> None:
    pairs, seen = steady_shot(weave_px=0.5)
    frames = range(R - 2, R + 9)
    truths = [pairs[n][2] for n in frames]
    single, steadied = ([around(seen, n, radius) for n in frames] for radius in (0, R))
    assert mean_error(steadied, truths) < mean_error(single, truths)
    assert wobble(steadied, truths) < 0.7 * wobble(single, truths)
    average = as_warp(sum(settle([s]).clip_from_ref for s in seen) / len(seen))
    assert mean_error([average] * len(truths), truths) > 5 * mean_error(steadied, truths), "what a mean would give"


def test_a_short_weave_is_followed_by_the_coarsest_search_too() -> None:
    pairs = shot(9, weave_px=1.5)
    seen = observed(pairs, FAST)
    for n in range(9):
        single, steadied = (float(errors(w, pairs[n][2]).mean()) for w in (settle([seen[n]]), settle(seen, n)))
        assert steadied < 1.3 * single


def test_more_neighbours_steady_more() -> None:
    pairs, seen = steady_shot()
    frames = range(R - 2, R + 9)
    truths = [pairs[n][2] for n in frames]
    assert wobble([around(seen, n) for n in frames], truths) < 0.7 * wobble([around(seen, n, 2) for n in frames], truths)


def test_neighbours_beyond_a_cut_do_not_count() -> None:
    before, after = two_scenes()
    film = before + after
    for at in range(4):
        assert same_bits(settle(film, at), settle(before, at))
        assert same_bits(settle(film, 4 + at), settle(after, at))
    assert not same_bits(settle(before, 1), settle(before[1:2])), "within it they do"


def test_one_foreign_frame_is_a_cut_on_both_its_sides() -> None:
    one, other = two_scenes()
    film = [*one[:2], other[0], *one[2:]]
    assert same_bits(settle(film, 0), settle(one[:2], 0))
    assert same_bits(settle(film, 2), settle(other[:1]))
    assert same_bits(settle(film, 4), settle(one[2:], 1))


def test_neighbours_of_other_sizes_or_precision_do_not_count() -> None:
    pairs = shot(6)
    seen = observed(pairs[:5], FAST)
    clip, ref, _ = pairs[5]
    others = [
        observe(clip[..., :-8, :], ref, FAST),
        observe(clip, ref[..., :-8], FAST),
        observe(clip, ref, SpatialSettings(precision=3)),
    ]
    assert len({(o.base.sizes, o.cell) for o in (*others, seen[0])}) == 4
    for other in others:
        assert same_bits(settle([*seen[:3], other, *seen[3:]], 1), settle(seen[:3], 1))
        assert same_bits(settle([*seen[:3], other, *seen[3:]], 5), settle(seen[3:], 1))
        assert same_bits(settle([*seen, other], 5), settle([other]))


def test_the_window_is_in_order_and_at_says_whose_warp_it_is() -> None:
    pairs = shot(5, weave_px=1.5)
    seen = observed(pairs, FAST)
    for at in range(5):
        warp = settle(seen, at)
        wrong = [float(errors(warp, truth).mean()) for *_, truth in pairs]
        assert wrong.index(min(wrong)) == at
        backwards = settle(seen[::-1], 4 - at)
        assert_close(backwards.clip_from_ref, warp.clip_from_ref, atol=1e-3, rtol=0)
    assert same_bits(settle(seen), settle(seen, 0))


def test_a_window_gives_the_same_bits_again_and_stays_as_it_was() -> None:
    seen = observed(shot(4, weave_px=0.5), FAST)
    kept = [s.fields.displacement.clone() for s in seen]
    first = settle(seen, 2)
    settle(seen, 1)
    assert same_bits(settle(tuple(seen), 2), first)
    assert all(torch.equal(s.fields.displacement, k) for s, k in zip(seen, kept, strict=True))


def test_a_black_neighbour_changes_nothing() -> None:
    seen = observed(shot(5, weave_px=0.5), FAST)
    for film, at in (([*seen[:2], black(), *seen[2:]], 1), ([black(), *seen, black()], 2)):
        with_black, without = settle(film, at), settle(seen, 1)
        assert_close(with_black.clip_from_ref, without.clip_from_ref, atol=1e-4, rtol=0)
        assert_close(with_black.confidence, without.confidence, atol=1e-5, rtol=0)


def test_a_black_frame_takes_its_neighbours_geometry() -> None:
    pairs = shot(5)
    seen = observed(pairs, FAST)
    taken = settle([*seen[:2], black(), *seen[2:]], 2)
    assert errors(taken, pairs[0][2]).mean() < 1.2 * errors(settle(seen, 2), pairs[0][2]).mean()
    assert taken.confidence.mean() > 0.8 * settle(seen, 2).confidence.mean()


def test_black_frames_alone_are_only_scaled() -> None:
    warp = settle([black(), black(), black()], 1)
    assert_close(warp.clip_from_ref, scale_positions(SIZE, SIZE), atol=1e-4, rtol=0)
    assert not warp.confidence.any()


def test_a_part_that_only_neighbours_see_is_laid_by_them() -> None:
    pairs = shot(5)
    clip, ref, truth = pairs[2]
    clip, ref = clip.clone(), ref.clone()
    clip[..., 30:80, 50:110] = ref[..., 30:80, 50:110] = 0.5
    seen = observed(pairs)
    blind = observe(clip, ref, SETTINGS)
    hole = (0, slice(40, 70), slice(62, 98))
    alone, helped = settle([blind]), settle([*seen[:2], blind, *seen[3:]], 2)
    assert distances(helped, truth)[hole].mean() < 0.5 * distances(alone, truth)[hole].mean()
    assert helped.confidence[:, 0][hole].mean() > 0.4 > alone.confidence[:, 0][hole].mean()


# Wide search: every frame has a homography of its own, and none of them is quite right

TRUE = ((0.9, -0.2, 24.0), (0.2, 0.9, -10.0), (2e-4, -1e-4, 1.0))
CELL = 4


def jittering(num_frames: int) -> list[Observation]:
    """Frames of one geometry TRUE, each measured from its own wrong homography, and each blind in one half of the picture."""
    picture = texture(*SIZE)
    seen = []
    for n in range(num_frames):
        wrong = torch.tensor(TRUE, dtype=torch.float64)
        wrong[:2] += torch.tensor([0.004, 0.004, 1.5]) * noise(2, 3, seed=n).double()
        rows = tuple((float(a), float(b), float(c)) for a, b, c in wrong)
        base = BaseMap(SIZE, SIZE, rows, searched_wide=True)
        field = base.displacement_of(BaseMap(SIZE, SIZE, TRUE, True), torch.zeros(1, 2, SIZE[0] // CELL, SIZE[1] // CELL), CELL)
        trust = torch.zeros_like(field[:, :1])
        half = slice(0, SIZE[1] // CELL // 2) if n % 2 else slice(SIZE[1] // CELL // 2, None)
        trust[..., half] = 0.9
        precision = in_blocks(torch.cat([trust, 0 * trust, trust], 1) * 30)
        seen.append(
            Observation(base, Fields(field * (trust > 0), trust, precision), CELL, observe(picture, picture, FAST).thumb, 0.45)
        )
    return seen


def test_frames_with_different_homographies_pool_into_one_steady_warp() -> None:
    seen = jittering(8)
    truth = BaseMap(SIZE, SIZE, TRUE, True).positions(torch.zeros(1, 2, *SIZE))
    singles, pooled = [settle([s]) for s in seen], [settle(seen, at) for at in range(8)]
    assert min(float(errors(w, truth).mean()) for w in singles) > 0.2
    assert max(float(errors(w, truth).mean()) for w in pooled) < 0.15
    assert wobble(pooled, [truth] * 8) < 0.1 * wobble(singles, [truth] * 8)


def test_the_homography_that_is_told_is_the_frames_own() -> None:
    seen = jittering(3)
    for at in range(3):
        told = settle(seen, at).homography
        assert told is not None and torch.equal(told, torch.tensor([seen[at].base.homography], dtype=torch.float64))
    lost = replace(seen[1], base=BaseMap(SIZE, SIZE, None, searched_wide=True))
    told = settle([seen[0], lost, seen[2]], 1).homography
    assert told is not None and told.isnan().all()


def test_a_frame_whose_wide_search_failed_takes_its_neighbours_geometry() -> None:
    seen, truth = jittering(9), BaseMap(SIZE, SIZE, TRUE, True).positions(torch.zeros(1, 2, *SIZE))
    own = seen[4].fields
    nothing = Fields(torch.zeros_like(own.displacement), torch.zeros_like(own.trust), torch.zeros_like(own.precision))
    seen[4] = replace(seen[4], base=BaseMap(SIZE, SIZE, None, searched_wide=True), fields=nothing, confidence=0.0)
    assert errors(settle(seen, 4), truth).mean() < 0.3
