"""The demo's truth is true: what it prints results against."""

from __future__ import annotations

from itertools import islice, pairwise

import cv2
import numpy as np

from orchestrator.demofilm import (
    HEIGHT,
    NUM_FRAMES,
    OFFSET_FRAMES,
    SHOT_STARTS,
    WIDTH,
    audio_samples,
    copy_frames,
    film_frames,
    make_truth,
)
from tasks.messages import SyncSettings


def test_the_copy_starts_later_than_the_temporal_radius_reaches_and_has_drops_and_doubles():
    source_of = make_truth().source_of
    assert source_of[0] >= OFFSET_FRAMES > SyncSettings().temporal_radius
    steps = np.diff(source_of)
    assert (steps == 0).sum() >= 3 and (steps > 1).sum() >= 3 and steps.min() == 0


def test_the_copys_frames_lie_where_the_truth_says():
    truth = make_truth()
    film = list(islice(film_frames(), OFFSET_FRAMES + 1))
    first = next(copy_frames(truth))
    back = cv2.remap(first, truth.clip_from_ref, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    source = film[int(truth.source_of[0])]
    inner = (slice(30, HEIGHT - 30), slice(30, WIDTH - 30))
    moved, still = (np.corrcoef(f[inner][..., 1].ravel(), source[inner][..., 1].ravel())[0, 1] for f in (back, first))
    assert moved > 0.98 > still


def test_the_film_moves_within_shots_and_cuts_between_them():
    frames = [f.astype(np.int16) for f in islice(film_frames(), SHOT_STARTS[1] + 2)]
    steps = [np.abs(a - b).mean() for a, b in pairwise(frames)]
    cut = SHOT_STARTS[1] - 1
    assert steps[cut] > 3 * np.median(steps) and min(steps) > 0.2


def test_the_sound_is_as_long_as_the_film():
    assert len(audio_samples(48000)) == NUM_FRAMES * 2000
