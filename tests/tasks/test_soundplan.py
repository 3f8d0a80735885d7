"""Which of the clip's sound is heard when."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tasks.soundplan import SoundPiece, SoundPlan, plan_sound
from vsalign.framemap import FrameMap

RATE = 24.0
N = np.arange(2400)


def plan(clip_frame: npt.NDArray[np.int64], num_clip: int = 5000, clip_rate: float = RATE) -> SoundPlan:
    made = plan_sound(
        FrameMap.of_clip_frames(clip_frame, num_clip),
        np.arange(num_clip) / clip_rate,
        np.arange(len(clip_frame)) / RATE,
        num_clip / clip_rate,
        len(clip_frame) / RATE,
    )
    assert made is not None
    return made


def frames(made: SoundPlan) -> list[tuple[float, float, float]]:
    """(ref start, ref stop, clip start) in frames."""
    spans = [(p.ref_start, p.ref_stop, p.clip_start) for p in made.pieces]
    return [tuple(round(seconds * RATE, 4) for seconds in span) for span in spans]  # type: ignore[misc]


def test_an_offset_is_one_plain_piece_over_the_whole_film():
    made = plan(N + 7)
    assert made.is_shift(0.0, 5000 / RATE) and frames(made) == [(0, 2400, 7)] and made.silent_seconds == 0


def test_a_clip_that_starts_late_and_ends_early_is_silent_there():
    made = plan(np.where((N >= 100) & (N < 2000), N - 100, -1), num_clip=1900)
    assert made.is_shift(0.0, 1900 / RATE) and frames(made) == [(100, 2000, 0)]
    assert not made.is_shift(-1.0, 1900 / RATE) and not made.is_shift(0.0, 1901 / RATE), "it has more than is wanted"
    assert made.silent_seconds == pytest.approx(500 / RATE)


def test_sound_cut_from_the_clip_is_silence_from_frame_to_frame():
    made = plan(np.where(N < 1000, N, np.where(N < 1240, -1, N - 240)))
    assert frames(made) == [(0, 1000, 0), (1240, 2400, 1000)] and made.num_fades == 0
    assert made.describe() == "2 pieces, 10.0 s silence"


def test_a_scene_that_only_the_clip_has_is_a_cross_fade_at_the_first_frame_after_it():
    made = plan(N + 300 * (N >= 1000))
    assert frames(made) == [(0, 1000, 0), (1000, 2400, 1300)] and made.num_fades == 1
    assert made.describe() == "2 pieces, 1 cross-fade"


def test_frames_unmatched_at_a_cut_are_bridged_by_sound_that_is_not_heard_again():
    hole = (N >= 1000) & (N < 1004)
    assert frames(plan(np.where(hole, -1, N + 300 * (N >= 1000)))) == [(0, 1004, 0), (1004, 2400, 1304)]
    lost = plan(np.where(hole, -1, N - 4 * (N >= 1000)))
    assert frames(lost) == [(0, 1000, 0), (1004, 2400, 1000)], "the clip has nothing there: no sound twice"


def test_short_gaps_in_one_line_are_bridged_and_long_ones_are_silent():
    assert frames(plan(np.where((N >= 500) & (N < 520), -1, N + 5))) == [(0, 2400, 5)]
    assert frames(plan(np.where((N >= 500) & (N < 600), -1, N + 5))) == [(0, 500, 5), (600, 2400, 605)]
    assert frames(plan(np.where(N < 20, -1, N + 5))) == [(0, 2400, 5)]
    assert frames(plan(np.where(N < 20, -1, N - 8))) == [(8, 2400, 0)], "not before the clip has sound"
    assert frames(plan(np.where(N >= 2380, -1, N), num_clip=2390)) == [(0, 2390, 0)]


def test_lone_matches_in_a_silence_are_left_out():
    clip_frame = np.where((N >= 500) & (N < 1000), -1, N)
    clip_frame[700:703] = [4000, 4001, 4002]
    assert frames(plan(clip_frame)) == [(0, 500, 0), (1000, 2400, 1000)]


@pytest.mark.parametrize("kind", ["random", "telecine", "single"])
def test_a_noisy_map_is_one_piece(kind: str):
    random = np.random.default_rng(0)
    clip_frame = {
        "random": N + 5 + random.integers(-1, 2, len(N)),
        "telecine": N + 5 + (N % 4 == 0),
        "single": np.where(random.random(len(N)) < 0.3, -1, N + 5),
    }[kind]
    assert len(plan(clip_frame).pieces) == 1


def test_rates_are_said():
    made = plan(N, clip_rate=25.0)
    assert made.pieces == (SoundPiece(0.0, 100.0, pytest.approx(0, abs=1e-9), 0.96),) and not made.is_shift(0.0, 200.0)
    assert made.describe() == "1 piece, rate 0.960000 resampled"


def test_nothing_matched_is_no_plan():
    assert plan_sound(FrameMap.of_clip_frames(np.full(5, -1), 3), np.arange(3) / 24, np.arange(5) / 24, 3 / 24, 5 / 24) is None
