"""The exact path on hand-made costs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vsalign.band import Band
from vsalign.path import OUTSIDE, UNEVEN_STEP, least_path, row_costs, solve_band, step_tolls, without_lone_detours

Floats = npt.NDArray[np.float32]


def costs_of(truth: list[int], first: npt.NDArray[np.int64], width: int = 9, wrong: float = 5.0) -> Floats:
    frames = first[:, None] + np.arange(width)
    return np.where(frames == np.array(truth)[:, None], 0.0, wrong).astype(np.float32)


def solved(truth: list[int], step: float = 1.0, start: int = -4) -> list[int]:
    first = start + np.rint(np.arange(len(truth)) * step).astype(np.int64)
    steps = np.full(len(truth), step)
    return least_path(costs_of(truth, first), first, steps, np.zeros(len(truth), bool)).clip_frame.tolist()


def test_drops_and_doubles_are_followed() -> None:
    truth = [0, 1, 1, 2, 3, 5, 6, 7, 7, 8, 9, 11]
    assert solved(truth) == truth


def test_telecine_steps_are_followed() -> None:
    truth = [0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14]
    assert solved(truth, 1.25) == truth


def test_rows_without_evidence_go_straight_on() -> None:
    first = np.arange(40, dtype=np.int64) - 4
    cost = costs_of(list(range(40)), first)
    cost[10:30] = 0
    path = least_path(cost, first, np.ones(40), np.zeros(40, bool))
    assert path.clip_frame.tolist() == list(range(40))


def test_one_wild_frame_does_not_bend_the_path() -> None:
    first = np.arange(21, dtype=np.int64) - 4
    cost = costs_of(list(range(21)), first)
    cost[10] = cost[10, ::-1] * 0.3
    assert least_path(cost, first, np.ones(21), np.zeros(21, bool)).clip_frame.tolist() == list(range(21))


def test_a_line_may_begin_anywhere_at_a_restart() -> None:
    first = np.concatenate([np.arange(10), 500 + np.arange(10)]) - 4
    truth = list(range(10)) + list(range(500, 510))
    restart = np.arange(20) == 10
    assert least_path(costs_of(truth, first), first, np.ones(20), restart).clip_frame.tolist() == truth


def test_margin_is_what_a_detour_costs() -> None:
    first = np.arange(9, dtype=np.int64) - 4
    path = least_path(costs_of(list(range(9)), first, wrong=5.0), first, np.ones(9), np.zeros(9, bool))
    assert np.all(path.margin[np.arange(9), path.clip_frame - first] == 0)
    # One frame late in the middle: the wrong frame itself, a frame skipped before and one held after it.
    assert path.margin[4, 5] == 5.0 + 2 * UNEVEN_STEP


def test_the_rarer_of_two_fractional_steps_costs_little_and_any_other_costs_a_unit() -> None:
    tolls = step_tolls(np.array([1.0, 1.25, 2.0, 0.5]), 4)
    assert tolls[0].tolist() == [1, 0, 1, 2, 3]
    assert tolls[1, 0] == 1 and tolls[1, 3] == 1
    assert 0 < tolls[1, 1] < tolls[1, 2] < 0.5
    assert tolls[2].tolist() == [2, 1, 0, 1, 2]
    assert tolls[3, 0] == tolls[3, 1] < 0.5


def test_frames_outside_of_the_clip_cost_less_than_waiting_at_its_end() -> None:
    first = np.arange(6, dtype=np.int64) - 6
    band = Band(first, np.full((6, 9), 0.5, np.float32), np.ones(6, np.float32))
    cost = row_costs(band, 4)
    assert OUTSIDE < UNEVEN_STEP
    assert np.all(cost[0, :6] == np.float32(OUTSIDE))
    assert np.all(cost[0, 6:] == 0)


def test_running_out_of_the_clip_is_extrapolated() -> None:
    """Clip frame = ref frame - 2 over a black start in which all frames look alike."""
    first = np.arange(30, dtype=np.int64) - 2 - 4
    frames = first[:, None] + np.arange(9)
    unlike = np.where(frames == np.arange(30)[:, None] - 2, 0.02, 0.6).astype(np.float32)
    unlike[:10] = 0.9
    band = Band(first, unlike, np.ones(30, np.float32))
    path = solve_band(band, 28, np.ones(30), np.zeros(30, bool))
    assert path.clip_frame.tolist() == list(range(-2, 28))


def test_a_row_that_skips_a_frame_only_to_wait_for_it_takes_the_frame_in_the_middle():
    rows = np.arange(8)
    for detour in ([0, 1, 2, 4, 4, 5, 6, 7], [0, 1, 2, 2, 4, 5, 6, 7]):
        smooth = without_lone_detours(np.array(detour), rows - 3, rows + 3, np.ones(8))
        assert smooth.tolist() == list(range(8))


def test_real_drops_and_doubles_and_telecine_rows_are_left_alone():
    rows = np.arange(8)
    for kept in ([0, 1, 3, 4, 5, 6, 7, 8], [0, 1, 1, 2, 3, 4, 5, 6], [0, 2, 3, 3, 4, 5, 6, 7]):
        assert without_lone_detours(np.array(kept), rows - 3, rows + 3, np.ones(8)).tolist() == kept
    telecine = [0, 1, 2, 4, 4, 6, 7, 8]
    assert without_lone_detours(np.array(telecine), rows - 3, rows + 3, np.full(8, 1.25)).tolist() == telecine


def test_a_detour_is_not_mended_with_a_frame_outside_the_band():
    rows = np.array([0, 1, 2, 4, 4, 5])
    assert without_lone_detours(rows, np.array([0, 1, 2, 4, 4, 5]), np.full(6, 9), np.ones(6)).tolist() == rows.tolist()
