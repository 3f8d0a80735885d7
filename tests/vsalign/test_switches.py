"""Where one stretch of the clip ends and another begins, to the frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from vsalign.contrast import Floats
from vsalign.guide import Alike, Guide
from vsalign.switches import sharpen

Ints = npt.NDArray[np.int64]
NOTHING = -(10**6)
GOOD, BAD = 0.06, 0.9


def truth_of(*stretches: tuple[int, int], rows: int = 0) -> Ints:
    """Clip frames: each (from row, delay) holds until the next; delay NOTHING where the clip has nothing."""
    total = rows or 300
    out = np.full(total, NOTHING)
    for start, delay in stretches:
        out[start:] = np.arange(start, total) + delay if delay != NOTHING else NOTHING
    return out


def alike_of(truth: Ints, right: float = 1 - GOOD, wrong: float = 1 - BAD) -> Alike:
    def alike(rows: Ints, frames: Ints) -> Floats:
        return np.where(truth[rows] == frames, right, wrong).astype(np.float32)

    return alike


def guide_of(*stretches: tuple[int, int], rows: int = 300) -> Guide:
    """Lines as the coarse path lays them, each (from row, delay)."""
    restart = np.isin(np.arange(rows), [start for start, _ in stretches if start])
    return Guide(truth_of(*stretches, rows=rows).astype(np.float64), np.ones(rows), restart)


def sharpened(guide: Guide, truth: Ints) -> Guide:
    path = np.rint(guide.expected).astype(np.int64)
    cost = np.where(path == truth, GOOD, BAD).astype(np.float32)
    return sharpen(guide, path, cost, GOOD, alike_of(truth))


def restarts(guide: Guide) -> Sequence[int]:
    return np.flatnonzero(guide.restart).tolist()


@pytest.mark.parametrize("laid", [91, 97, 100, 104, 109])
@pytest.mark.parametrize("delay", [40, -30, 5])
def test_a_border_is_moved_to_the_frame_where_the_other_stretch_begins(laid: int, delay: int) -> None:
    found = sharpened(guide_of((0, 0), (laid, delay)), truth_of((0, 0), (100, delay)))
    assert restarts(found) == [100]
    assert np.array_equal(found.expected, truth_of((0, 0), (100, delay)))


def test_a_guide_without_restarts_stays_as_it_is() -> None:
    guide = guide_of((0, 3))
    assert sharpened(guide, truth_of((0, 3))) is guide


def test_several_borders_are_each_found_and_the_stretches_run_as_they_did() -> None:
    truth = truth_of((0, 0), (80, 50), (150, -20), (222, 5))
    found = sharpened(guide_of((0, 0), (74, 50), (157, -20), (220, 5)), truth)
    assert restarts(found) == [80, 150, 222]
    assert np.array_equal(found.expected, truth)


def test_where_the_clip_has_neither_the_other_begins_with_its_own_frames() -> None:
    """Rows 100 to 160 have no counterpart: what they show pulls no border, what follows is exact."""
    truth = truth_of((0, 0), (100, NOTHING), (160, 40))
    for laid in (102, 130, 158, 166):
        found = sharpened(guide_of((0, 0), (laid, 40)), truth)
        assert restarts(found) == [160]
        assert np.array_equal(found.expected[160:], truth[160:])
        assert np.array_equal(found.expected[:100], truth[:100])


def test_a_stretch_without_any_good_match_is_dropped() -> None:
    truth = truth_of((0, 0), (140, 70))
    found = sharpened(guide_of((0, 0), (120, -300), (145, 70)), truth)
    assert restarts(found) == [140]
    assert np.array_equal(found.expected, truth)


def test_a_long_stretch_that_only_the_ref_has_is_bordered_exactly() -> None:
    rows = 4000
    truth = truth_of((0, 0), (300, NOTHING), (3800, -3500), rows=rows)
    found = sharpened(guide_of((0, 0), (2000, -3500), rows=rows), truth)
    assert restarts(found) == [3800]


def test_frames_that_only_look_a_little_alike_pull_no_border() -> None:
    """A stretch of neither, alike to the second stretch's frames by 0.5, as another take of it is."""
    truth = truth_of((0, 0), (100, NOTHING), (120, 40))
    guide = guide_of((0, 0), (110, 40))
    exact = alike_of(truth)

    def alike(rows: Ints, frames: Ints) -> Floats:
        between = (rows >= 100) & (rows < 120) & (frames == rows + 40)
        return np.where(between, 0.5, exact(rows, frames)).astype(np.float32)

    path = np.rint(guide.expected).astype(np.int64)
    cost = (1 - alike(np.arange(300), path)).astype(np.float32)
    assert restarts(sharpen(guide, path, cost, GOOD, alike)) == [120]


def test_the_place_of_a_stretch_is_measured_on_the_path_not_on_its_guide() -> None:
    """The second line lies three frames beside what the path found along it."""
    truth = truth_of((0, 0), (100, 40))
    guide = guide_of((0, 0), (95, 43))
    path = np.where(np.arange(300) < 95, np.arange(300), np.arange(300) + 40)
    cost = np.where(path == truth, GOOD, BAD).astype(np.float32)
    assert restarts(sharpen(guide, path, cost, GOOD, alike_of(truth))) == [100]


# --- where the path leaves its line


@pytest.mark.parametrize("delay", [15, -15])
def test_a_path_that_leaves_its_line_for_good_is_given_a_new_one(delay: int) -> None:
    """One line; from row 100 on the path was found 15 frames beside it."""
    truth = truth_of((0, 0), (100, delay))
    cost = np.full(300, GOOD, np.float32)
    found = sharpen(guide_of((0, 0)), truth, cost, GOOD, alike_of(truth))
    assert restarts(found) == [100]
    assert np.array_equal(found.expected, truth)


def test_a_path_that_stays_near_its_line_or_leaves_it_for_a_moment_keeps_it() -> None:
    for delay, until in ((6, 300), (30, 108)):
        truth = truth_of((0, 0), (100, delay), (until, 0)) if until < 300 else truth_of((0, 0), (100, delay))
        guide = guide_of((0, 0))
        assert sharpen(guide, truth, np.full(300, GOOD, np.float32), GOOD, alike_of(truth)) is guide
