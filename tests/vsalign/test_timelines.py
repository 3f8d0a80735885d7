"""Straight lines through a frame map's times: what is a cut, what is noise, what rate is it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from vsalign.timelines import Stretch, follow

Ints = npt.NDArray[np.int64]
N = np.arange(6000)


def lines_of(clip_frame: Ints, clip_rate: float = 24.0, ref_rate: float = 24.0) -> list[Stretch]:
    """Both films with times rounded to milliseconds, as Matroska has them."""
    at = np.flatnonzero(clip_frame >= 0)
    ref, clip = np.round(at / ref_rate, 3), np.round(clip_frame[at] / clip_rate, 3)
    return follow(ref, clip, np.ones(len(at)), 1 / min(clip_rate, ref_rate))


def wobble(seed: int = 0, count: int = len(N)) -> Ints:
    return np.random.default_rng(seed).integers(-1, 2, count)


@pytest.mark.parametrize(
    ("clip_rate", "ref_rate", "rate"),
    [
        (24, 24, 1.0),
        (25, 24, 24 / 25),
        (24, 25, 25 / 24),
        (24, 24000 / 1001, 1000 / 1001),
        (25, 24000 / 1001, 24000 / 25025),
        (24000 / 1001, 25, 25025 / 24000),
    ],
)
@pytest.mark.parametrize("noise", [0, 1])
def test_a_known_rate_is_found_exactly(clip_rate: float, ref_rate: float, rate: float, noise: int):
    (only,) = lines_of(N + 10 + noise * wobble(), clip_rate, ref_rate)
    assert only.line.rate == rate
    assert only.line.clip_seconds(100.0) == pytest.approx(100 * rate + 10 / clip_rate, abs=0.003 if noise else 0.001)


def test_a_rate_of_its_own_is_kept():
    (only,) = lines_of(N, 24 * 1.0037)
    assert only.line.rate == pytest.approx(1 / 1.0037, abs=1e-6)


def test_a_rate_that_no_film_shows_is_one():
    (only,) = lines_of(np.arange(170_000), 24 * 1.0000002)
    assert only.line.rate == 1.0


@pytest.mark.parametrize(
    "clip_frame",
    [
        N + 10 + wobble(),
        N + 10 + wobble() + 2 * ((N > 2000) & (N < 2060)),
        np.where(wobble(1) == 0, N, -1),
        np.where(N % 7 == 3, N + 9, N),
        np.minimum(N, 3000) + np.maximum(N - 3100, 0) + 100 * (N > 3100),
    ],
    ids=["a frame off at random", "two frames off for a while", "most unmatched", "single far off", "held for four seconds"],
)
def test_noise_is_no_cut(clip_frame: Ints):
    assert [stretch.line.rate for stretch in lines_of(clip_frame)] == [1.0]


def test_telecine_either_way_is_no_cut():
    assert [s.line.rate for s in lines_of(N * 4 // 5, 24, 30)] == [1.0]
    assert [s.line.rate for s in lines_of(N * 5 // 4, 30, 24)] == [1.0]


@pytest.mark.parametrize("jump", [1, 2, 5, 240, -500])
@pytest.mark.parametrize("clip_rate", [24, 25])
def test_a_lasting_jump_is_a_cut_at_its_exact_row(jump: int, clip_rate: int):
    one, other = lines_of(1000 + N + jump * (N >= 2345), clip_rate)
    assert (one.start, one.stop, other.start, other.stop) == (0, 2345, 2345, 6000)
    assert one.line.rate == other.line.rate == 24 / clip_rate
    assert other.line.delay - one.line.delay == pytest.approx(jump / clip_rate, abs=0.001)


def test_cuts_are_found_through_noise():
    found = lines_of(1000 + N + 40 * (N >= 2000) + 3 * (N >= 4000) + wobble())
    assert [stretch.start for stretch in found] == pytest.approx([0, 2000, 4000], abs=3)
    assert [s.line.delay * 24 for s in found] == pytest.approx([1000, 1040, 1043], abs=0.02)


def test_parts_may_run_at_rates_of_their_own():
    one, other = lines_of(np.round(N + 300 * (N >= 3000) + 0.04 * np.maximum(N - 3000, 0)).astype(np.int64))
    assert abs(other.start - 3000) <= 1
    assert (one.line.rate, other.line.rate) == pytest.approx((1, 1.04), abs=1e-4)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_hardly_any_rows_are_one_line(count: int):
    found = follow(np.arange(count) / 24, np.arange(count) / 24 + 3, np.ones(count), 1 / 24)
    assert len(found) == min(count, 1)
    assert all(s.line.rate == 1.0 and s.line.delay == pytest.approx(3) for s in found)
