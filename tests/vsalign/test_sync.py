"""Sync of whole films that were edited, regraded and reframed in ways whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.vsalign.movies import Thumbs, film, frames, noisy, seconds, signed, solved, worn
from tests.vsalign.test_framing import letterboxed
from vsalign.framemap import Source
from vsalign.signature import Signatures, sign
from vsalign.sync import MIN_SCORE, solve
from vsalign.thumb import SIGNATURE_BYTES, THUMB_HEIGHT, THUMB_WIDTH

FLAT = sign(np.full((40, THUMB_HEIGHT, THUMB_WIDTH), 16, np.uint8))
SHOT = 40


@pytest.fixture(scope="module")
def print_() -> Signatures:
    """Another print of the film ``signed(400, shot=SHOT)``."""
    return sign(worn(film(400, shot=SHOT)))


def test_a_film_matches_itself_frame_by_frame() -> None:
    result = solved(signed(150), signed(150))
    assert frames(result) == list(range(150))
    assert result.score > 0.99
    assert np.median(result.frame_map.confidence) > 0.9
    assert (result.frame_map.cost < 1e-3).all()
    assert np.allclose(result.found.clip_from_ref, [[1, 0, 0], [0, 1, 0]], atol=1e-3)


def test_an_offset_larger_than_the_radius_is_found() -> None:
    source = signed(200)
    assert frames(solved(source[90:], source)) == [-1] * 90 + list(range(110))
    result = solved(source, source[90:])
    assert frames(result) == list(range(90, 200))
    assert result.found.offset_seconds == pytest.approx(90 / 24)


@pytest.mark.parametrize("radius", [1, 60])
def test_the_radius_may_be_one_frame_or_longer_than_the_film(radius: int, print_: Signatures) -> None:
    assert frames(solved(print_[:50], signed(400, shot=SHOT)[:50], radius=radius)) == list(range(50))


def test_films_as_long_as_grids_are_thinned_are_exact() -> None:
    """More ref frames than the coarse path looks at."""
    source = signed(1900, seed=3, shot=47)
    assert frames(solved(source[333:], source)) == [-1] * 333 + list(range(1567))


# --- edits; whole shots, whose frames are unlike those around them


def test_a_scene_that_the_clip_lacks_is_unmatched_to_the_frame(print_: Signatures) -> None:
    found = frames(solved(np.concatenate([print_[:160], print_[240:]]), signed(400, shot=SHOT)))
    assert found == [*range(160), *[-1] * 80, *range(160, 320)]


def test_a_scene_that_only_the_clip_has_is_skipped(print_: Signatures) -> None:
    clip = np.concatenate([print_[:110], signed(90, seed=5), print_[110:300]])
    result = solved(clip, signed(400, shot=SHOT)[:300])
    assert frames(result) == list(range(110)) + list(range(200, 390))


def test_a_missing_a_new_and_a_replaced_scene_in_one_film(print_: Signatures) -> None:
    new = signed(150, seed=5, shot=SHOT)
    clip = np.concatenate([print_[:80], print_[160:240], new[:50], print_[240:280], new[80:120], print_[320:]])
    wanted = [*range(80), *[-1] * 80, *range(80, 160), *range(210, 250), *[-1] * 40, *range(290, 370)]
    assert frames(solved(clip, signed(400, shot=SHOT))) == wanted


def test_scenes_that_changed_places_are_each_found(print_: Signatures) -> None:
    clip = np.concatenate([print_[200:300], print_[:200]])
    assert frames(solved(clip, signed(400, shot=SHOT)[:300])) == [*range(100, 300), *range(100)]


def test_a_cut_within_a_shot_is_unmatched_but_for_frames_that_look_like_their_neighbours(print_: Signatures) -> None:
    found = np.array(frames(solved(np.concatenate([print_[:90], print_[98:200]]), signed(400, shot=SHOT)[:200])))
    assert np.array_equal(found[:90], np.arange(90))
    assert np.array_equal(found[98:], np.arange(90, 192))
    gone = found[90:98] < 0
    assert gone.sum() >= 6 and gone[1:-1].all()


def test_ref_frames_before_the_clip_begins_are_unmatched_even_when_black() -> None:
    thumbs = (film(160) * np.clip(np.arange(160) / 40.0, 0, 1)[:, None, None]).astype(np.uint8)
    thumbs[:8] = 0
    source = sign(thumbs)
    found = solved(source[2:], source).frame_map
    assert found.clip_frame.tolist() == [-1, -1, *range(158)]
    assert found.source[:3].tolist() == [Source.UNMATCHED, Source.UNMATCHED, Source.MATCH]


def test_ref_frames_after_the_clip_ends_are_unmatched() -> None:
    assert frames(solved(signed(160)[:120], signed(160))) == list(range(120)) + [-1] * 40


# --- pictures


@pytest.mark.parametrize("case", ["shifted and zoomed", "letterboxed", "4:3 of the clip's 16:9"])
def test_grading_noise_and_framing_change_nothing(case: str) -> None:
    ref, clip, truth = REFRAMED[case]
    result = solved(sign(worn(clip)[5:]), sign(ref))
    assert frames(result) == [-1] * 5 + list(range(len(ref) - 5))
    assert np.allclose(result.found.clip_from_ref, truth, atol=0.01)
    assert result.score > 2 * MIN_SCORE


def _reframed() -> dict[str, tuple[Thumbs, Thumbs, object]]:
    source = film(120)
    moved = film(120, scale=(0.96, 0.96), shift=(0.03, 0.0))
    inner = int(THUMB_HEIGHT * 0.744) // 2 * 2 / THUMB_HEIGHT
    return {
        # The clip shows at x what the ref shows at 0.96 x + 0.03: the ref's points are found by the inverse.
        "shifted and zoomed": (source, moved, [[1 / 0.96, 0, -0.03 / 0.96], [0, 1 / 0.96, 0]]),
        "letterboxed": (source, letterboxed(source), [[1, 0, 0], [0, inner, 0]]),
        "4:3 of the clip's 16:9": (film(120, scale=(0.75, 1.0)), source, [[0.75, 0, 0], [0, 1, 0]]),
    }


REFRAMED = _reframed()


def test_a_still_scene_goes_straight_on_and_is_less_sure() -> None:
    thumbs = film(160).copy()
    thumbs[50:110] = thumbs[50]
    result = solved(sign(noisy(thumbs, 2.0)), sign(thumbs))
    assert frames(result) == list(range(160))
    assert result.frame_map.confidence[70:90].max() < result.frame_map.confidence[10:40].min()


# --- films that do not match


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_unrelated_films_score_clearly_below_the_threshold(seed: int) -> None:
    result = solved(signed(150, seed=seed), signed(150))
    assert result.score < MIN_SCORE / 2
    assert result.frame_map.confidence.max(initial=0) < 0.5


def test_related_films_score_clearly_above_the_threshold_even_when_grainy() -> None:
    assert solved(sign(noisy(film(120), 20.0)), signed(120)).score > 2 * MIN_SCORE


@pytest.mark.parametrize(("num_clip", "num_ref"), [(1, 1), (1, 3), (3, 1), (3, 3), (2, 90), (90, 2), (7, 12)])
def test_very_short_films_do_not_fail(num_clip: int, num_ref: int) -> None:
    result = solved(signed(num_clip), signed(num_ref))
    assert len(result.frame_map) == num_ref
    assert max(frames(result)) < num_clip
    assert 0 <= result.score <= 1


def test_three_equal_frames_match() -> None:
    assert frames(solved(signed(3), signed(3))) == [0, 1, 2]
    assert frames(solved(signed(1), signed(1))) == [0]


@pytest.mark.parametrize("num_clip", [0, 1, 40])
def test_constant_or_empty_films_have_no_score_and_no_confidence(num_clip: int) -> None:
    for clip, ref in ((FLAT[:num_clip], FLAT), (FLAT[:num_clip], signed(40)), (signed(40), FLAT[:num_clip])):
        result = solved(clip, ref)
        assert result.score == 0 and len(result.frame_map) == len(ref)
        assert not result.frame_map.confidence.any()


# --- interface


def test_the_answer_is_the_same_every_time_and_from_a_memory_map(tmp_path: Path, print_: Signatures) -> None:
    clip, ref = print_[:50], signed(400, shot=SHOT)[:50]
    np.save(tmp_path / "clip.npy", clip)
    mapped = np.load(tmp_path / "clip.npy", mmap_mode="r")
    first, again, third = solved(clip, ref), solved(clip, ref), solved(mapped, ref)
    assert first.frame_map == again.frame_map == third.frame_map
    assert first.score == again.score == third.score
    assert first.found == again.found == third.found


def test_lengths_and_sizes_that_disagree_are_refused() -> None:
    source = signed(9)
    with pytest.raises(ValueError, match="length: clip 9, 8"):
        solve(source, source, seconds(8), seconds(9))
    with pytest.raises(ValueError, match=str(SIGNATURE_BYTES)):
        solve(source, source[:, 1:], seconds(9), seconds(9))
    with pytest.raises(ValueError, match=str(SIGNATURE_BYTES)):
        solve(film(9), film(9), seconds(9), seconds(9))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="temporal_radius is 0"):
        solve(source, source, seconds(9), seconds(9), 0)
