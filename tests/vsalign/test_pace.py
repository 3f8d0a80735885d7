"""The rate along a map: known rates are recognised, edits do not disturb it."""

from __future__ import annotations

import numpy as np
import pytest

from vsalign.pace import NTSC, PAL, measured_rate


@pytest.mark.parametrize("rate", [pal * ntsc for pal in PAL for ntsc in NTSC])
def test_a_long_film_tells_all_known_rates_apart(rate: float) -> None:
    ref = np.arange(20_000) / 24
    jitter = np.random.default_rng(0).uniform(-0.02, 0.02, len(ref))
    assert measured_rate(rate * ref + 7.0 + jitter, ref, 0.5) == rate


def test_a_short_film_takes_the_likelier_of_rates_that_it_can_not_tell_apart() -> None:
    ref = np.arange(300) / 24
    assert measured_rate(ref * 1000 / 1001, ref, 0.5) == 1.0
    assert measured_rate(ref * 24 / 25, ref, 0.5) == 24 / 25


@pytest.mark.parametrize("rate", [1.0, 24 / 25])
@pytest.mark.parametrize("at", [50, 110, 150, 200])
@pytest.mark.parametrize("leap", [-1.5, 0.4, 3.75, 60.0])
def test_a_cut_anywhere_does_not_disturb_it(rate: float, at: int, leap: float) -> None:
    ref = np.arange(300) / 24
    assert measured_rate(rate * ref + leap * (np.arange(300) >= at), ref, 0.5) == rate


def test_a_stretch_that_only_the_ref_has_does_not_disturb_it() -> None:
    ref = np.delete(np.arange(400), slice(150, 250)) / 24
    clip = np.arange(300) / 25
    assert measured_rate(clip, ref, 0.5) == 24 / 25


def test_a_rate_without_a_name_is_measured() -> None:
    ref = np.arange(3000) / 24
    assert measured_rate(1.1 * ref, ref, 1.0) == pytest.approx(1.1)


def test_too_few_frames_or_too_many_cuts_say_nothing() -> None:
    ref = np.arange(300) / 24
    assert measured_rate(ref[:30], ref[:30], 0.96) == 0.96
    assert measured_rate(ref[:0], ref[:0], 0.96) == 0.96
    scattered = ref + np.cumsum(np.random.default_rng(1).uniform(0, 1, 300))
    scattered[::7] += 40
    assert measured_rate(np.random.default_rng(2).permutation(scattered), ref, 0.96) == 0.96
