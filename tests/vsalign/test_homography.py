from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from vsalign.homography import Pairs, doubt, fit_homography, jacobian, log10_chance, move, obeying
from vsalign.keypoints import Features, find_features, match

Array = npt.NDArray[np.float64]
SIZE = (270, 480)


def blots(size: tuple[int, int], *circles: tuple[float, float, float]) -> Tensor:
    """(1,1,*size) luma: a bright spot per (x, y, radius)."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    spots = [np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * radius**2)) for at_x, at_y, radius in circles]
    return torch.from_numpy(0.1 + 0.8 * np.max(spots, axis=0)).float()[None, None]


def nearest(picture: Tensor, x: float, y: float) -> float:
    """Distance in pixels of the nearest feature."""
    return float(np.linalg.norm(find_features(picture).points - [x, y], axis=1).min())


def test_points_lie_where_the_blots_are() -> None:
    circles = ((200.0, 100.0, 4.0), (101.25, 80.5, 9.0), (60.75, 150.25, 2.5), (250.0, 50.0, 16.0))
    for x, y, radius in circles:
        assert nearest(blots((200, 300), *circles), x, y) < 0.03 + 0.015 * radius


@pytest.mark.parametrize("times", [1.5, 2.5])
def test_points_of_a_picture_larger_than_searched_lie_in_its_own_pixels(times: float) -> None:
    circles = ((120 * times, 99 * times, 5 * times), (300 * times, 200 * times, 20 * times))
    for x, y, radius in circles:
        assert nearest(blots((round(300 * times), round(380 * times)), *circles), x, y) < 0.03 + 0.015 * radius


def test_masked_points_are_left_out() -> None:
    picture, mask = blots((200, 300), (60, 100, 6), (220, 100, 6)), torch.zeros(1, 1, 200, 300, dtype=torch.bool)
    mask[..., :150] = True
    assert find_features(picture).points[:, 0].min() < 100
    assert find_features(picture, mask).points[:, 0].min() > 150


def test_no_features_match_nothing() -> None:
    none = find_features(torch.full((1, 1, 90, 90), 0.5))
    assert len(none) == 0 and match(none, none).shape == (0, 2)


def test_a_match_is_best_both_ways_and_clearly_better_than_the_next() -> None:
    e = np.eye(128, dtype=np.float32) * 512
    doubtful, wanted_by_two = (e[4] + e[5]) / 2**0.5, e[1]
    first, second = np.stack([e[0], e[1], doubtful, wanted_by_two * 0.9]), np.stack([e[1], e[0], e[4], e[5]])
    assert match(described(first), described(second)).tolist() == [[0, 1], [1, 0]]


def described(descriptors: npt.NDArray[np.float32]) -> Features:
    count = len(descriptors)
    return Features(np.zeros((count, 2)), np.ones(count), np.zeros(count), descriptors)


def random_pairs(count: int, seed: int, truth: Array | None = None) -> Pairs:
    """Matches that fall anywhere, or obey ``truth``."""
    random = np.random.default_rng(seed)
    ref, clip = random.random((2, count, 2)) * [480, 270]
    return Pairs(ref, clip if truth is None else move(truth, ref), np.full(count, 6.0), np.full(count, 6.0), np.zeros(count))


def test_chance_explains_random_matches_and_not_twenty_that_obey() -> None:
    for seed in range(20):
        fit = fit_homography(random_pairs(300, seed), SIZE, SIZE)
        assert fit is None or log10_chance(fit, 300, SIZE, SIZE) > 0
    true = fit_homography(random_pairs(20, 0, np.eye(3)), SIZE, SIZE)
    assert true is not None and log10_chance(true, 60, SIZE, SIZE) < -8


def test_matches_on_one_spot_count_once() -> None:
    pairs = random_pairs(12, 0, np.eye(3))
    fit = fit_homography(pairs, SIZE, SIZE)
    crowd = Pairs(
        *(np.concatenate([v, v, v, v]) for v in (pairs.ref, pairs.clip, pairs.ref_sizes, pairs.clip_sizes, pairs.turn))
    )
    crowded = fit_homography(crowd, SIZE, SIZE)
    assert fit is not None and crowded is not None
    assert log10_chance(crowded, 48, SIZE, SIZE) == pytest.approx(log10_chance(fit, 12, SIZE, SIZE))


def test_matches_that_come_from_one_spot_prove_nothing() -> None:
    truth = np.array([[24.0, 0, -2400], [0, 14, -1400], [0, 0, 1]])
    crowd = random_pairs(200, 0)
    ref = 100 + crowd.ref / [480, 270] * 19
    pairs = Pairs(ref, move(truth, ref), np.full(200, 6 / 18.3), np.full(200, 6.0), np.zeros(200))
    fit = fit_homography(pairs, SIZE, SIZE)
    assert fit is not None and log10_chance(fit, 200, SIZE, SIZE) == math.inf


def test_chance_is_the_number_of_choices_times_the_luck_of_all_but_four() -> None:
    pairs = random_pairs(12, 0, np.eye(3))
    fit = fit_homography(pairs, SIZE, SIZE)
    assert fit is not None and len(fit.inliers) == 12
    luck = math.pi * 1.5**2 / (270 * 480) / 6
    expected = math.log10(30 * math.comb(30, 12) * math.comb(12, 4)) + 8 * math.log10(luck)
    assert log10_chance(fit, 30, SIZE, SIZE) == pytest.approx(expected)


def test_a_few_matches_that_are_a_little_off_hardly_count() -> None:
    pairs = random_pairs(60, 3, np.eye(3))
    pairs.clip[:12] += [5, 0]
    large = Pairs(pairs.ref, pairs.clip, np.full(60, 24.0), np.full(60, 24.0), pairs.turn)
    fit = fit_homography(large, SIZE, SIZE)
    assert fit is not None and len(fit.inliers) == 60
    assert np.abs(move(fit.clip_from_ref, pairs.ref) - pairs.ref).mean() < 0.35


def test_features_turned_or_sized_otherwise_do_not_obey() -> None:
    pairs = Pairs(
        np.full((4, 2), 50.0), np.full((4, 2), 50.0), np.full(4, 6.0), np.array([6, 6, 12, 6.0]), np.array([0, 2, 0, 6.2])
    )
    assert obeying(np.eye(3), pairs).tolist() == [True, False, False, True]


def test_the_jacobian_is_the_slope_of_the_map() -> None:
    matrix, points = np.array([[1.2, 0.3, 5], [-0.2, 0.9, -7], [1e-4, -2e-4, 1]]), np.array([[30.0, 40], [200, 10]])
    for axis in (0, 1):
        step = np.eye(2)[axis] * 1e-4
        slope = (move(matrix, points + step) - move(matrix, points - step)) / 2e-4
        assert jacobian(matrix, points)[..., axis] == pytest.approx(slope, abs=1e-6)


def test_noise_of_the_points_averages_out_as_far_as_the_doubt_says() -> None:
    truth, random = np.array([[1.1, 0.2, 5], [-0.2, 0.9, 20], [1e-4, 0, 1]]), np.random.default_rng(0)
    grid, ratios = np.stack(np.meshgrid(np.arange(0, 480, 20.0), np.arange(0, 270, 20.0)), -1).reshape(-1, 2), []
    for seed in range(10):
        pairs = random_pairs(80, seed, truth)
        pairs.clip[:] += random.normal(0, 0.3, pairs.clip.shape)
        fit = fit_homography(pairs, SIZE, SIZE)
        assert fit is not None
        error = np.sqrt(((move(fit.clip_from_ref, grid) - move(truth, grid)) ** 2).sum(1).mean())
        ratios.append(error / doubt(fit, grid, SIZE, SIZE))
    assert 0.4 < np.mean(ratios) < 1.2
