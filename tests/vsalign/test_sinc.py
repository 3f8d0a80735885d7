"""Resampled sound: right values at exact places."""

import numpy as np
import pytest

from vsalign.sinc import HALF, sample_at

RATE = 48000


@pytest.mark.parametrize("step", [1.0, 24 / 25, 25025 / 24000, 1.0003])
@pytest.mark.parametrize("hertz", [100, 1000, 15000])
def test_a_tone_is_the_same_tone_at_the_new_places(step: float, hertz: int):
    wave = np.sin(2 * np.pi * hertz / RATE * np.arange(20000)).astype(np.float32)
    places = 100.3 + step * np.arange(15000)
    out = sample_at(np.stack([wave, -wave]), 100.3, step, 15000)
    assert np.abs(out[0] - np.sin(2 * np.pi * hertz / RATE * places)).max() < 1e-4
    assert np.array_equal(out[1], -out[0])


def test_what_the_new_rate_cannot_hold_is_taken_out():
    wave = np.sin(2 * np.pi * 23900 / RATE * np.arange(20000)).astype(np.float32)[None]
    assert np.abs(sample_at(wave, 100.0, 25 / 24, 15000)).max() < 1e-2


def test_places_do_not_drift_over_two_hours():
    step, far = 25025 / 24000, 2 * 3600 * RATE
    wave = np.zeros((1, 4 * HALF), np.float32)
    base = int(far * step) - 2 * HALF
    wave[0, 2 * HALF] = 1.0
    around = np.arange(far - 20, far + 20)
    out = np.concatenate([sample_at(wave, float(n * step - base), step, 1)[0] for n in around])
    assert abs(around[out.argmax()] * step - (base + 2 * HALF)) <= step / 2 + 1e-3
