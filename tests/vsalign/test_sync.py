"""Sync on synthetic films: moving textures with cuts, edited and spoilt in ways whose answer is known."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from vsalign.framemap import Source
from vsalign.sync import MIN_SCORE, SyncResult, solve
from vsalign.thumb import THUMB_HEIGHT, THUMB_WIDTH

Thumbs = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]


@cache
def film(count: int, seed: int = 0, shot: int = 60, scale: float = 1.0, dx: float = 0.0) -> Thumbs:
    """Sums of drifting sinusoids, new ones every ``shot`` frames; ``scale`` and ``dx`` (pixels) misalign the picture."""
    y, x = np.mgrid[0:THUMB_HEIGHT, 0:THUMB_WIDTH].astype(np.float64)
    x, y = (x - 35.5) * scale + 35.5 + dx, (y - 19.5) * scale + 19.5
    frames = []
    for n in range(count):
        rng = np.random.default_rng(1000 * seed + n // shot)
        picture = np.zeros_like(x)
        for _ in range(8):
            fx, fy, phase, speed = rng.uniform(-0.7, 0.7), rng.uniform(-0.7, 0.7), rng.uniform(0, 7), rng.uniform(-0.5, 0.5)
            picture += np.sin(fx * x + fy * y + phase + speed * n)
        frames.append(np.clip(128 + 22 * picture, 0, 255))
    return np.stack(frames).astype(np.uint8)


def spoilt(thumbs: Thumbs, noise: float = 4.0, gamma: float = 1.3) -> Thumbs:
    graded = 12 + 205 * (thumbs / 255.0) ** gamma
    return np.clip(graded + np.random.default_rng(7).normal(0, noise, thumbs.shape), 0, 255).astype(np.uint8)


def seconds(thumbs: Thumbs, rate: float = 24.0) -> Doubles:
    return np.arange(len(thumbs)) / rate


def solved(clip: Thumbs, ref: Thumbs, clip_rate: float = 24.0, ref_rate: float = 24.0, temporal_radius: int = 20) -> SyncResult:
    return solve(clip, ref, seconds(clip, clip_rate), seconds(ref, ref_rate), temporal_radius)


def frames(result: SyncResult) -> list[int]:
    return result.frame_map.clip_frame.tolist()


def test_a_film_matches_itself_frame_by_frame() -> None:
    result = solved(film(150), film(150))
    assert frames(result) == list(range(150))
    assert result.score > 0.95
    assert np.median(result.frame_map.confidence) > 0.9
    assert (result.frame_map.cost < 0.01).all()
    assert np.allclose(result.found.clip_from_ref, [[1, 0, 0], [0, 1, 0]], atol=2e-3)


def test_an_offset_larger_than_the_radius_is_found() -> None:
    source = film(260)
    assert frames(solved(source[90:], source, temporal_radius=8)) == [-1] * 90 + list(range(170))
    result = solved(source, source[90:], temporal_radius=8)
    assert frames(result) == list(range(90, 260))
    assert result.found.offset_seconds == pytest.approx(90 / 24)


def test_drops_and_doubles_are_followed_exactly() -> None:
    source = film(200)
    index = np.array(sorted([*(set(range(200)) - {17, 58, 93, 150}), 30, 31, 110, 171]))
    clip = spoilt(source[index])
    shown = solved(clip, source).frame_map
    present = np.isin(np.arange(200), index)
    assert np.array_equal(index[shown.clip_frame[present]], np.flatnonzero(present))


def test_five_frames_for_four_are_followed() -> None:
    source = film(160)
    index = np.array([i for n in range(160) for i in ([n, n] if n % 4 == 3 else [n])])
    found = np.array(frames(solved(spoilt(source[index]), source, clip_rate=30.0)))
    assert np.array_equal(index[found], np.arange(160))


def test_frame_times_not_numbers_decide_the_pace() -> None:
    """The clip's second half runs at 12 frames per second: half of ref's moments have no frame of their own there."""
    source = film(200)
    index = np.concatenate([np.arange(100), np.arange(100, 200, 2)])
    result = solve(source[index], source, index / 24.0, seconds(source))
    found = np.array(frames(result))
    assert np.array_equal(found[:100], np.arange(100))
    assert np.array_equal(index[found[100::2]], np.arange(100, 200, 2))
    assert result.found.rate == 1.0


def test_pal_speed_up_is_recognised() -> None:
    result = solved(spoilt(film(500)), film(500), clip_rate=25.0)
    assert frames(result) == list(range(500))
    assert result.found.rate == pytest.approx(24 / 25)


def test_a_long_stretch_cut_from_the_clip_is_unmatched_and_the_rest_exact() -> None:
    source = film(420, shot=40)
    clip = spoilt(np.concatenate([source[:150], source[250:]]))
    found = np.array(frames(solved(clip, source)))
    assert np.array_equal(found[:150], np.arange(150))
    assert np.array_equal(found[250:], np.arange(150, 320))
    assert (found[150:250] < 0).mean() > 0.9


def test_a_short_cut_within_a_shot_is_unmatched() -> None:
    source = film(180)
    clip = np.concatenate([source[:80], source[88:]])
    found = np.array(frames(solved(clip, source)))
    assert np.array_equal(found[:80], np.arange(80))
    assert np.array_equal(found[88:], np.arange(80, 172))
    assert (found[80:88] < 0).sum() >= 6


def test_a_scene_that_only_the_clip_has_is_skipped() -> None:
    source = film(300, shot=50)
    clip = np.concatenate([source[:110], film(90, seed=5), source[110:]])
    assert frames(solved(clip, source)) == list(range(110)) + list(range(200, 390))


def test_grading_noise_and_a_slight_crop_change_nothing() -> None:
    clip = spoilt(film(200, scale=0.96, dx=1.5))
    result = solved(clip, film(200))
    assert frames(result) == list(range(200))
    # The clip shows at x what the ref shows at 0.96 x + ...: the ref's points are found by the inverse.
    assert result.found.clip_from_ref[0][0] == pytest.approx(1 / 0.96, abs=0.005)
    assert result.found.clip_from_ref[0][2] == pytest.approx(-1.5 / 36 / 0.96, abs=0.005)
    assert result.score > 2 * MIN_SCORE


def test_ref_frames_before_the_clip_begins_are_unmatched_even_when_black() -> None:
    source = film(160).copy()
    fade = np.clip(np.arange(160) / 40.0, 0, 1)[:, None, None]
    source = (source * fade).astype(np.uint8)
    source[:8] = 0
    found = solved(source[2:], source).frame_map
    assert found.clip_frame.tolist() == [-1, -1, *range(158)]
    assert found.source[:3].tolist() == [Source.UNMATCHED, Source.UNMATCHED, Source.MATCH]


def test_ref_frames_after_the_clip_ends_are_unmatched() -> None:
    assert frames(solved(film(160)[:120], film(160))) == list(range(120)) + [-1] * 40


def test_a_still_scene_goes_straight_on() -> None:
    source = film(160).copy()
    source[50:110] = source[50]
    clip = spoilt(source, noise=2.0)
    assert frames(solved(clip, source)) == list(range(160))


def test_frames_that_differ_visibly_are_surer_than_a_still_scene() -> None:
    source = film(160).copy()
    source[60:120] = source[60]
    confidence = solved(source, source).frame_map.confidence
    assert confidence[80:100].max() < confidence[10:40].min()


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_unrelated_films_score_clearly_below_the_threshold(seed: int) -> None:
    result = solved(film(150, seed=seed), film(150))
    assert result.score < MIN_SCORE / 2
    assert result.frame_map.confidence.max() < 0.5


def test_related_films_score_clearly_above_the_threshold_even_when_grainy() -> None:
    assert solved(spoilt(film(150, scale=1.03), noise=20.0), film(150)).score > 2 * MIN_SCORE


@pytest.mark.parametrize(("num_clip", "num_ref"), [(1, 1), (1, 3), (3, 1), (3, 3), (2, 90), (90, 2), (7, 12)])
def test_very_short_films_do_not_fail(num_clip: int, num_ref: int) -> None:
    result = solved(film(num_clip), film(num_ref))
    assert len(result.frame_map) == num_ref
    assert max(frames(result)) < num_clip
    assert 0 <= result.score <= 1


def test_three_equal_frames_match() -> None:
    assert frames(solved(film(3), film(3))) == [0, 1, 2]


@pytest.mark.parametrize("num_clip", [0, 40])
def test_constant_or_empty_films_have_no_score_and_no_confidence(num_clip: int) -> None:
    flat = np.full((40, THUMB_HEIGHT, THUMB_WIDTH), 16, np.uint8)
    for result in (solved(flat[:num_clip], flat), solved(flat[:num_clip], film(40)), solved(film(40), flat[:num_clip])):
        assert result.score == 0
        assert not result.frame_map.confidence.any()


def test_the_answer_is_the_same_every_time_and_from_a_memory_map(tmp_path: Path) -> None:
    clip, ref = spoilt(film(160)), film(160)
    np.save(tmp_path / "clip.npy", clip)
    mapped = np.load(tmp_path / "clip.npy", mmap_mode="r")
    first, again, third = solved(clip, ref), solved(clip, ref), solved(mapped, ref)
    assert first.frame_map == again.frame_map == third.frame_map
    assert first.score == again.score == third.score
    assert first.found == again.found == third.found


def test_lengths_and_sizes_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        solve(film(9), film(9), np.arange(8.0), np.arange(9.0))
    with pytest.raises(ValueError, match="one size"):
        solve(film(9), film(9)[:, ::2], np.arange(9.0), np.arange(9.0))
    with pytest.raises(ValueError, match="temporal_radius"):
        solve(film(9), film(9), np.arange(9.0), np.arange(9.0), 0)
