"""What being unlike is worth as evidence: best of row and column, misfit, rows without a counterpart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from vsalign.band import Band
from vsalign.path import UNEVEN_STEP, least_path
from vsalign.rowcost import CLEAR_TEXTURE, OUTSIDE, STRANGEST, USUAL_RADIUS, WORST, row_costs, running_median

Floats = npt.NDArray[np.float32]


def band_of(rows: int = 60, radius: int = 4, right: float = 0.05, wrong: float = 0.3) -> Band:
    """Ref frame i and clip frame i are alike, all others are not."""
    unlike = np.full((rows, 2 * radius + 1), wrong, np.float32)
    unlike[:, radius] = right
    return Band(np.arange(rows, dtype=np.int64) - radius, unlike, np.ones(rows, np.float32))


def test_the_best_of_each_row_costs_nothing_and_others_at_most_the_worst() -> None:
    band = band_of(wrong=1.0)
    match = row_costs(band, 60).match
    assert (match.min(1) == 0).all() and match.max() == WORST
    assert (match[4:-4].argmin(1) == 4).all()


def test_frames_outside_of_the_clip_cost_less_than_waiting_at_its_end() -> None:
    first = np.arange(6, dtype=np.int64) - 6
    costs = row_costs(Band(first, np.full((6, 9), 0.5, np.float32), np.ones(6, np.float32)), 4)
    assert OUTSIDE < UNEVEN_STEP
    assert np.all(costs.match[0, :6] == np.float32(OUTSIDE))
    assert np.all(costs.match[0, 6:] == 0)


def test_rows_that_reach_no_clip_frame_say_nothing() -> None:
    costs = row_costs(Band(np.full(5, 100), np.ones((5, 3), np.float32), np.ones(5, np.float32)), 4)
    assert (costs.match == np.float32(OUTSIDE)).all() and not costs.strange.any()


def test_a_sharp_clip_frame_that_all_rows_like_does_not_draw_them() -> None:
    band = band_of(right=0.05, wrong=0.058)
    liked = 30
    for i in range(26, 35):  # every row finds frame 30 a little better than its own, row 30 much better
        band.unlike[i, liked - band.first[i]] = 0.045 if i != liked else 0.030
    assert band.unlike[29].argmin() == 5
    assert (row_costs(band, 60).match[20:40].argmin(1) == 4).all()


def test_the_same_difference_says_less_where_more_is_left_over_than_usual() -> None:
    band = band_of()
    faded = band_of()
    for hard, times in ((0.10, 2), (0.20, 12)):
        faded.unlike[20:40] = band.unlike[20:40] + np.float32(hard)
        clear, dull = row_costs(band, 60).match[30, 0], row_costs(faded, 60).match[30, 0]
        assert dull < clear / times


def test_black_frames_do_not_say_what_is_usual() -> None:
    clear, faded = band_of(200), band_of(200)
    faded.unlike[150:170] += 0.2
    for band in (clear, faded):
        band.unlike[:120], band.texture[:120] = 1.0, 0.0
    assert row_costs(faded, 200).match[160, 0] < row_costs(clear, 200).match[160, 0] / 12


def test_a_single_spoilt_row_says_less_than_its_neighbours() -> None:
    band = band_of()
    band.unlike[30] += 0.4
    match = row_costs(band, 60).match
    assert match[30, 0] < 0.1 * match[29, 0]


def test_a_row_whose_best_is_no_match_is_strange_by_how_much_more_it_leaves() -> None:
    band = band_of()
    for row, unlike in ((20, 0.1), (30, 0.2), (40, 0.9)):
        band.unlike[row] = unlike
    strange = row_costs(band, 60).strange
    assert not strange[[5, 19, 21, 29, 31]].any()
    assert strange[20] == pytest.approx(2 * np.log2(0.1 / (1.5 * 0.051)), abs=0.01)
    assert strange[30] == pytest.approx(strange[20] + 2, abs=0.01)
    assert strange[40] == STRANGEST


def test_in_fades_and_black_no_row_is_strange() -> None:
    band = band_of()
    band.unlike[30] = 0.9
    band.texture[30] = CLEAR_TEXTURE * 0.9
    assert not row_costs(band, 60).strange.any()


def test_in_a_film_that_never_matches_well_a_poor_match_is_not_strange() -> None:
    band = band_of(right=0.4, wrong=0.8)
    band.unlike[30, 4] = 0.5
    assert not row_costs(band, 60).strange.any()


def test_a_long_stretch_without_a_match_does_not_become_usual() -> None:
    band = band_of(200)
    band.unlike[80:140] = 0.9
    assert row_costs(band, 200).strange[110] > 3


def test_running_out_of_the_clip_is_extrapolated() -> None:
    """Clip frame = ref frame - 2 over a black start in which all frames look alike."""
    first = np.arange(30, dtype=np.int64) - 2 - 4
    frames = first[:, None] + np.arange(9)
    unlike = np.where(frames == np.arange(30)[:, None] - 2, 0.02, 0.6).astype(np.float32)
    unlike[:10] = 0.9
    texture = np.where(np.arange(30) < 10, 0.0, 1.0).astype(np.float32)
    path = least_path(row_costs(Band(first, unlike, texture), 28), first, np.ones(30), np.zeros(30, bool))
    assert path.clip_frame.tolist() == list(range(-2, 28))


def test_the_running_median_forgets_what_is_rare_and_repeats_the_ends() -> None:
    values = np.ones(100, np.float32)
    values[40:50] = 9
    assert (running_median(values) == 1).all()
    values[40:80] = 9
    found = running_median(values)
    assert (found[45:75] == 9).all() and (found[:39] == 1).all() and (found[81:] == 1).all()
    rising = np.arange(50, dtype=np.float32)
    assert running_median(rising)[25] == 25
    assert running_median(rising)[0] == 0 and running_median(rising)[-1] == 49
    assert running_median(np.float32([3.0])).tolist() == [3.0]
    assert USUAL_RADIUS > 10
