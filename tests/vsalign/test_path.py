"""The exact path on hand-made costs, and against an exhaustive search."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from vsalign.path import (
    GAP,
    GAP_FRAME,
    JUMP,
    NO_GAPS,
    REACH,
    UNEVEN_STEP,
    ExactPath,
    least_path,
    step_tolls,
    without_lone_detours,
)
from vsalign.rowcost import RowCosts

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
NOTHING = 10**6
"""In place of a row's true clip frame: the row has none."""


def costs_of(truth: list[int], first: Ints, width: int = 9, wrong: float = 5.0, strange: float = 6.0) -> RowCosts:
    """0 for the true frame of a row and ``wrong`` for all others; rows without one find all frames nearly alike."""
    frames = first[:, None] + np.arange(width)
    match = np.where(frames == np.array(truth)[:, None], 0.0, wrong)
    none = np.array(truth) == NOTHING
    return RowCosts(np.where(none[:, None], 0.1, match).astype(np.float32), np.where(none, strange, 0.0).astype(np.float32))


def path_of(truth: list[int], step: float = 1.0, gap: np.float32 = GAP, width: int = 9, **costs: float) -> ExactPath:
    first = np.rint(np.arange(len(truth)) * step).astype(np.int64) - width // 2
    steps, restart = np.full(len(truth), step), np.zeros(len(truth), bool)
    return least_path(costs_of(truth, first, width, **costs), first, steps, restart, gap)


def test_drops_and_doubles_are_followed() -> None:
    truth = [0, 1, 1, 2, 3, 5, 6, 7, 7, 8, 9, 11]
    path = path_of(truth)
    assert path.clip_frame.tolist() == truth and not path.missing.any()


def test_telecine_steps_are_followed() -> None:
    truth = [0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14]
    assert path_of(truth, 1.25).clip_frame.tolist() == truth


def test_rows_without_evidence_go_straight_on() -> None:
    truth = [*range(10), *[NOTHING] * 20, *range(30, 40)]
    path = path_of(truth, strange=0.0)
    assert path.clip_frame.tolist() == list(range(40)) and not path.missing.any()


def test_one_wild_frame_does_not_bend_the_path() -> None:
    first = np.arange(21, dtype=np.int64) - 4
    costs = costs_of(list(range(21)), first)
    costs.match[10] = costs.match[10, ::-1] * 0.3
    assert least_path(costs, first, np.ones(21), np.zeros(21, bool)).clip_frame.tolist() == list(range(21))


def test_a_line_may_begin_anywhere_at_a_restart() -> None:
    first = np.concatenate([np.arange(10), 500 + np.arange(10)]) - 4
    truth = list(range(10)) + list(range(500, 510))
    at = np.arange(20) == 10
    assert least_path(costs_of(truth, first), first, np.ones(20), at).clip_frame.tolist() == truth


def test_without_a_restart_a_leap_costs_a_jump() -> None:
    first = np.arange(30, dtype=np.int64) - 15
    for rows, leaps in ((12, True), (27, False)):  # 18 right rows are worth a leap, three are not
        shown = [*range(rows), *range(rows + 14, 44)]
        path = least_path(costs_of(shown, first, 31, wrong=3.0), first, np.ones(30), np.zeros(30, bool), NO_GAPS)
        assert path.clip_frame.tolist() == (shown if leaps else list(range(30)))


# --- gaps


@pytest.mark.parametrize("length", [2, 3, 5])
def test_rows_that_the_clip_lacks_are_found_to_the_frame(length: int) -> None:
    """Clip frames go on after the gap where they stopped before it."""
    before = 10
    path = path_of([*range(before), *[NOTHING] * length, *range(before, 30)], width=15)
    assert np.flatnonzero(path.missing).tolist() == list(range(before, before + length))
    assert path.clip_frame.tolist() == [*range(before), *[before - 1] * length, *range(before, 30)]


def test_what_follows_a_gap_is_not_shown_again() -> None:
    """The row after the gap likes the last frame before it as much as the one that follows."""
    truth = [*range(10), NOTHING, NOTHING, *range(10, 20)]
    first = np.arange(len(truth), dtype=np.int64) - 6
    costs = costs_of(truth, first, 13)
    costs.match[12, 9 - first[12]] = 0.0
    path = least_path(costs, first, np.ones(len(truth)), np.zeros(len(truth), bool))
    assert path.clip_frame[12:14].tolist() == [10, 11] and path.missing.sum() == 2


def test_rows_unlike_all_others_are_missing_where_rows_like_their_neighbours_are_held() -> None:
    truth = [*range(10), NOTHING, NOTHING, *range(10, 20)]
    held, gone = path_of(truth, strange=0.0, width=13), path_of(truth, strange=6.0, width=13)
    assert set(held.clip_frame[10:12]) <= {9, 10} and not held.missing.any()
    assert np.flatnonzero(gone.missing).tolist() == [10, 11]


def test_frames_held_by_a_slower_clip_are_no_gaps() -> None:
    """Two ref frames per clip frame: every second one repeats, strange or not."""
    truth = [n // 2 for n in range(40)]
    first = np.array(truth) - 4
    costs = replace(costs_of(truth, first), strange=np.full(40, 6.0, np.float32))
    path = least_path(costs, first, np.full(40, 0.5), np.zeros(40, bool))
    assert path.clip_frame.tolist() == truth and not path.missing.any()


def test_without_gaps_every_row_shows_a_frame() -> None:
    truth = [*range(10), *[NOTHING] * 4, *range(10, 20)]
    path = path_of(truth, gap=NO_GAPS, width=13)
    assert not path.missing.any()
    assert path.clip_frame[:10].tolist() == list(range(10)) and path.clip_frame[16:].tolist() == list(range(12, 20))


# --- margins


def test_margin_is_what_a_detour_costs() -> None:
    path = path_of(list(range(9)))
    first = np.arange(9) - 4
    assert np.all(path.margin[np.arange(9), path.clip_frame - first] == 0)
    # One frame late in the middle: the wrong frame itself, a frame skipped before and one held after it.
    assert path.margin[4, 5] == 5.0 + 2 * UNEVEN_STEP


def exhaustive(
    costs: RowCosts, first: Ints, step: Doubles, restart: npt.NDArray[np.bool_], gap: float
) -> tuple[float, npt.NDArray[np.float64]]:
    """The least cost of all sequences of states, and of those through each shown state (N,K), by trying every one."""
    rows, width = costs.match.shape
    tolls = step_tolls(step, int(np.ceil(step.max(initial=1.0))) + REACH).astype(np.float64)
    tolls[:, 0] += np.where(step > 0.9, costs.strange, 0.0)
    through = np.full((rows, width), np.inf)
    least = np.inf

    def go(trail: list[tuple[int, bool]], total: float) -> None:
        nonlocal least
        i = len(trail)
        if i == rows:
            least = min(least, total)
            for row, (k, gone) in enumerate(trail):
                if not gone:
                    through[row, k] = min(through[row, k], total)
            return
        for k in range(width):
            if i == 0:
                go([(k, False)], float(costs.match[0, k]))
                go([(k, True)], gap + float(GAP_FRAME))
                continue
            before, was_gone = trail[-1]
            shift = int(first[i] - first[i - 1])
            ahead = k + shift - before
            toll = 0.0 if restart[i] else JUMP
            if (1 if was_gone else 0) <= ahead < tolls.shape[1]:
                toll = min(toll, tolls[i, ahead])
            go([*trail, (k, False)], total + toll + float(costs.match[i, k]))
            if min(max(k + shift, 0), width - 1) == before:
                go([*trail, (k, True)], total + (0.0 if was_gone else gap) + float(GAP_FRAME))

    go([], 0.0)
    return least, through


def cost_of(path: ExactPath, costs: RowCosts, first: Ints, step: Doubles, restart: npt.NDArray[np.bool_], gap: float) -> float:
    """What a path with its gaps costs, by the rules."""
    tolls = step_tolls(step, int(np.ceil(step.max(initial=1.0))) + REACH)
    tolls[:, 0] += np.where(step > 0.9, costs.strange, 0.0)
    total = 0.0
    for i, (frame, gone) in enumerate(zip(path.clip_frame.tolist(), path.missing.tolist(), strict=True)):
        was_gone = i > 0 and bool(path.missing[i - 1])
        if gone:
            total += float(GAP_FRAME) + (0.0 if was_gone else gap)
            continue
        total += float(costs.match[i, frame - first[i]])
        if i:
            ahead = frame - int(path.clip_frame[i - 1])
            toll = 0.0 if restart[i] else JUMP
            total += min(toll, float(tolls[i, ahead])) if (1 if was_gone else 0) <= ahead < tolls.shape[1] else toll
    return total


@pytest.mark.parametrize("seed", range(24))
def test_path_and_margins_are_those_of_an_exhaustive_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, width = 5, 3
    first = np.cumsum(rng.integers(-1, 3, rows)) - 2
    step = rng.choice([1.0, 1.0, 1.25, 0.5, 2.0], rows)
    restart = rng.random(rows) < 0.15
    gap = float(rng.choice([float(GAP), float(NO_GAPS)], p=[0.8, 0.2]))
    costs = RowCosts(rng.uniform(0, 5, (rows, width)).astype(np.float32), rng.uniform(0, 6, rows).astype(np.float32))
    path = least_path(costs, first, step, restart, np.float32(gap))
    least, through = exhaustive(costs, first, step, restart, gap)
    assert path.margin == pytest.approx(through - least, abs=1e-4)
    if np.isinf(gap):
        assert not path.missing.any()
    # A gap's frame may have left the band, where the exhaustive search takes it for the band's outermost one.
    if np.all((path.clip_frame >= first) & (path.clip_frame < first + width)) and not path.missing.any():
        assert cost_of(path, costs, first, step, restart, gap) == pytest.approx(least, abs=1e-4)


# --- tolls and detours


def test_the_rarer_of_two_fractional_steps_costs_little_and_any_other_costs_a_unit() -> None:
    tolls = step_tolls(np.array([1.0, 1.25, 2.0, 0.5, 0.96, 1.04]), 4)
    assert tolls[0].tolist() == [1, 0, 1, 2, 3]
    assert tolls[1, 0] == 1 and tolls[1, 3] == 1
    assert 0 < tolls[1, 1] < tolls[1, 2] < 0.5
    assert tolls[2].tolist() == [2, 1, 0, 1, 2]
    assert tolls[3, 0] == tolls[3, 1] < 0.5
    assert np.array_equal(tolls[4], tolls[0]) and np.array_equal(tolls[5], tolls[0])  # rounded time stamps


def mended(clip_frame: list[int], first: Ints, width: int, step: Doubles, missing: tuple[int, ...] = ()) -> list[int]:
    gone = np.isin(np.arange(len(clip_frame)), missing)
    path = ExactPath(np.array(clip_frame), gone, np.zeros((len(clip_frame), width), np.float32))
    return without_lone_detours(path, first, width, step).tolist()


ROWS = np.arange(8)


@pytest.mark.parametrize("detour", [[0, 1, 2, 4, 4, 5, 6, 7], [0, 1, 2, 2, 4, 5, 6, 7]])
def test_a_row_that_skips_a_frame_only_to_wait_for_it_takes_the_frame_in_the_middle(detour: list[int]) -> None:
    assert mended(detour, ROWS - 3, 7, np.ones(8)) == list(range(8))


def test_real_drops_and_doubles_and_telecine_rows_and_gaps_are_left_alone() -> None:
    for kept in ([0, 1, 3, 4, 5, 6, 7, 8], [0, 1, 1, 2, 3, 4, 5, 6], [0, 2, 3, 3, 4, 5, 6, 7]):
        assert mended(kept, ROWS - 3, 7, np.ones(8)) == kept
    telecine = [0, 1, 2, 4, 4, 6, 7, 8]
    assert mended(telecine, ROWS - 3, 7, np.full(8, 1.25)) == telecine
    gap = [0, 1, 2, 2, 4, 5, 6, 7]
    assert mended(gap, ROWS - 3, 7, np.ones(8), missing=(3,)) == gap


def test_a_detour_is_not_mended_with_a_frame_outside_the_band() -> None:
    rows = [0, 1, 2, 4, 4, 5]
    assert mended(rows, np.array([0, 1, 2, 4, 4, 5]), 9, np.ones(6)) == rows
    assert mended(rows, np.array([0, 1, 2, 2, 4, 5]), 1, np.ones(6)) == rows
