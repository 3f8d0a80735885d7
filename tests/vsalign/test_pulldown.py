"""Pull-down patterns: their length from the films' times, their phase from many frames together."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from vsalign.guide import clip_position
from vsalign.pulldown import LONGEST, pattern_length, regular_steps
from vsalign.rowcost import RowCosts

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
RADIUS = 8
PATTERNS = [Fraction(5, 4), Fraction(5, 2), Fraction(25, 24), Fraction(4, 5), Fraction(24, 25)]
NAMES = ["4:5", "2:3", "24->25", "5:4", "25->24"]


@pytest.mark.parametrize(
    ("ratio", "length"),
    [(r, r.denominator) for r in PATTERNS]
    + [(Fraction(1), 1), (Fraction(2), 1), (Fraction(1, 2), 2), (Fraction(1001, 1000), 1), (Fraction(100, 101), 0)],
)
def test_a_pattern_is_as_long_as_the_rates_say(ratio: Fraction, length: int) -> None:
    assert pattern_length(np.full(500, float(ratio))) == length
    assert length <= LONGEST


@pytest.mark.parametrize("rates", [(24, 30), (24, 60), (24, 25), (25, 24), (30, 24), (24, 24)])
def test_times_in_whole_milliseconds_make_no_difference(rates: tuple[int, int]) -> None:
    ref_rate, clip_rate = rates
    ref, clip = (np.rint(np.arange(600) * 1000 / rate) / 1000 for rate in rates)
    at = clip_position(ref[ref < clip[-1]], clip)
    assert pattern_length(np.diff(at)) == Fraction(clip_rate, ref_rate).denominator


def test_a_film_whose_pace_changes_has_no_pattern() -> None:
    assert pattern_length(np.repeat([1.0, 1.25], 200)) == 0
    assert pattern_length(np.random.default_rng(0).uniform(0.5, 1.5, 400)) == 0
    # A few odd steps, as where a line ends, leave it one.
    assert pattern_length(np.where(np.arange(400) % 40 == 0, 3.0, 1.25)) == 4


def test_a_film_without_frames_has_a_pattern_of_one() -> None:
    assert pattern_length(np.empty(0)) == 1


def costs_of(truth: Ints, first: Ints, evidence: float = 0.3, noise: float = 0.25, seed: int = 0) -> RowCosts:
    """True frames cost less than others, but less so than the noise of a single row."""
    frames = first[:, None] + np.arange(2 * RADIUS + 1)
    match = np.where(frames == truth[:, None], 0.0, evidence) + np.random.default_rng(seed).uniform(0, noise, frames.shape)
    return RowCosts(match.astype(np.float32), np.zeros(len(truth), np.float32))


def steps_for(truth: Ints, ratio: Fraction, delay: float = 0.0, restart: npt.NDArray[np.bool_] | None = None) -> Doubles:
    """The regular steps when the films' times put the pattern ``delay`` clip frames off its place."""
    expected = np.arange(len(truth)) * float(ratio) + delay
    first = np.rint(expected).astype(np.int64) - RADIUS
    none = np.zeros(len(truth), bool) if restart is None else restart
    rough = np.rint(expected).astype(np.int64)
    return regular_steps(costs_of(truth, first), first, expected, none, rough, ratio.denominator)


def staircase(ratio: Fraction, phase: int, rows: int = 400) -> Ints:
    return np.array([(ratio.numerator * n + phase) // ratio.denominator for n in range(rows)])


@pytest.mark.parametrize("ratio", PATTERNS, ids=NAMES)
def test_every_phase_is_found(ratio: Fraction) -> None:
    for phase in range(0, ratio.denominator, 1 if ratio.denominator < 10 else 7):
        truth = staircase(ratio, phase)
        for delay in (0.0, 1.3):
            assert np.array_equal(steps_for(truth, ratio, delay)[1:], np.diff(truth))


@pytest.mark.parametrize("phase", range(4))
def test_a_place_that_the_times_do_not_know_is_found_around_the_path(phase: int) -> None:
    """The clip runs five frames later than its times say, ten from row 300 on; the path without pattern knows."""
    late = np.where(np.arange(600) < 300, 5, 10)
    truth = staircase(Fraction(5, 4), phase, 600) + late
    expected = np.arange(600) * 1.25
    first = np.rint(expected).astype(np.int64) + 7 - RADIUS
    rough = truth + np.arange(600) % 2
    steps = regular_steps(costs_of(truth, first), first, expected, np.zeros(600, bool), rough, 4)
    wrong = np.flatnonzero(steps[1:] != np.diff(truth)) + 1
    assert np.abs(wrong - 300).max(initial=0) < 80  # while the place is averaged over the leap


@pytest.mark.parametrize("ratio", PATTERNS[:2], ids=NAMES[:2])
def test_a_slip_of_the_pattern_is_found_within_a_few_frames(ratio: Fraction) -> None:
    """An edit after the pull-down: another phase from row 200 on."""
    truth = np.concatenate([staircase(ratio, 0)[:200], staircase(ratio, ratio.denominator - 1)[200:]])
    steps = steps_for(truth, ratio)
    wrong = np.flatnonzero(steps[1:] != np.diff(truth)) + 1
    assert len(wrong) <= 2 * ratio.denominator and np.abs(wrong - 200).max(initial=0) <= 2 * ratio.denominator


def test_a_pattern_that_hardly_shows_does_not_slip() -> None:
    ratio = Fraction(5, 4)
    truth = staircase(ratio, 1)
    truth[100:106] = staircase(ratio, 3)[100:106]  # six odd rows, as a flash makes them, are no edit
    assert np.array_equal(steps_for(truth, ratio)[1:], np.diff(staircase(ratio, 1)))


def test_a_new_line_may_have_a_phase_of_its_own() -> None:
    """Six rows would never pay for a slip."""
    ratio = Fraction(5, 4)
    truth = staircase(ratio, 0, 60)
    truth[54:] = staircase(ratio, 3, 60)[54:]
    steps = steps_for(truth, ratio, restart=np.arange(60) == 54)
    assert np.array_equal(steps[1:], np.diff(truth))


def test_a_long_film_keeps_the_precision_of_its_first_frames() -> None:
    ratio = Fraction(5, 4)
    truth = staircase(ratio, 1, 60_000)
    truth[50_000:] = staircase(ratio, 3, 60_000)[50_000:]
    wrong = np.flatnonzero(steps_for(truth, ratio)[1:] != np.diff(truth))
    assert len(wrong) <= 8 and np.abs(wrong - 50_000).max(initial=0) <= 8
