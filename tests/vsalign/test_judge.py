"""What a path is worth: rows without a counterpart, confidence, the film's score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from vsalign.band import Band
from vsalign.framemap import FrameMap, Source
from vsalign.judge import FULL_TEXTURE, judge, usual_cost
from vsalign.path import ExactPath

Ints = npt.NDArray[np.int64]
RADIUS = 10
ROWS = 200


def band_of(right: float = 0.06, neighbours: float = 0.3, wrong: float = 0.95, rows: int = ROWS) -> Band:
    """Ref frame i and clip frame i match; clip frames up to three away are ``neighbours``, others ``wrong``."""
    away = np.abs(np.arange(2 * RADIUS + 1) - RADIUS)
    unlike = np.tile(np.where(away == 0, right, np.where(away <= 3, neighbours, wrong)), (rows, 1)).astype(np.float32)
    return Band(np.arange(rows, dtype=np.int64) - RADIUS, unlike, np.full(rows, 0.4, np.float32))


def straight(band: Band, margin: float = 50.0, delay: int = 0) -> ExactPath:
    """The path through the middle of the band, sure everywhere."""
    rows = len(band.first)
    margins = np.full(band.unlike.shape, margin, np.float32)
    margins[:, RADIUS + delay] = 0
    return ExactPath(np.arange(rows) + delay, np.zeros(rows, bool), margins)


def judged(band: Band, num_clip: int = ROWS) -> tuple[FrameMap, float]:
    return judge(straight(band), band, num_clip)


def unmatched(frame_map: FrameMap) -> list[int]:
    return np.flatnonzero(~frame_map.matched).tolist()


def test_a_film_that_matches_is_matched_throughout_at_its_cost() -> None:
    frame_map, score = judged(band_of())
    assert frame_map.clip_frame.tolist() == list(range(ROWS))
    assert (frame_map.cost == np.float32(0.06)).all() and (frame_map.confidence > 0.95).all()
    assert score == pytest.approx((1 - 0.06 - 0.25) / 0.75, abs=1e-4)


@pytest.mark.parametrize("length", [1, 2])
def test_a_frame_or_two_that_are_spoilt_stay(length: int) -> None:
    band = band_of()
    band.unlike[100 : 100 + length] = 0.97
    assert unmatched(judged(band)[0]) == []


@pytest.mark.parametrize("length", [3, 8, 60])
def test_a_scene_that_has_nothing_in_common_is_unmatched_to_the_frame(length: int) -> None:
    band = band_of()
    band.unlike[100 : 100 + length] = 0.97
    frame_map, _ = judged(band)
    assert unmatched(frame_map) == list(range(100, 100 + length))
    assert (frame_map.source[100 : 100 + length] == Source.UNMATCHED).all()
    assert not frame_map.confidence[100 : 100 + length].any()


@pytest.mark.parametrize(("cost", "gone"), [(0.55, True), (0.30, False)])
def test_a_scene_that_costs_far_more_and_is_as_good_elsewhere_is_unmatched_to_the_frame(cost: float, gone: bool) -> None:
    """Another take of the scene: alike everywhere, and nowhere right."""
    band = band_of()
    band.unlike[80:130] = cost
    assert unmatched(judged(band)[0]) == (list(range(80, 130)) if gone else [])


def test_frames_that_match_amid_another_take_stay() -> None:
    band = band_of()
    band.unlike[80:130] = 0.55
    band.unlike[100:105, RADIUS] = 0.1
    assert unmatched(judged(band)[0]) == [*range(80, 100), *range(105, 130)]


def test_a_scene_that_is_only_hard_to_see_stays_where_its_frames_are_better_than_others() -> None:
    band = band_of()
    band.unlike[80:130] = 0.65
    band.unlike[80:130, RADIUS] = 0.55
    assert unmatched(judged(band)[0]) == []


def test_a_frame_or_two_that_hardly_resemble_anything_are_no_match_amid_frames_without_one() -> None:
    band = band_of()
    band.unlike[80:130] = 0.97
    band.unlike[100:102], band.unlike[110:112, RADIUS] = 0.6, 0.1
    band.texture[100:102] = 0.12  # too dim to be judged by themselves
    assert unmatched(judged(band)[0]) == [*range(80, 110), *range(112, 130)]


def test_black_and_dim_frames_are_never_called_missing() -> None:
    band = band_of()
    band.unlike[100:120] = 1.0
    band.texture[100:110] = 0.0
    band.texture[110:120] = 0.09
    assert unmatched(judged(band)[0]) == []


def test_rows_that_the_path_calls_missing_or_that_lie_beyond_the_clip_are_unmatched() -> None:
    band = band_of()
    path = straight(band, delay=-3)
    path.missing[50] = True
    frame_map, _ = judge(path, band, 150)
    assert unmatched(frame_map) == [0, 1, 2, 50, *range(153, ROWS)]
    assert (frame_map.cost[[0, 199]] == 1).all()
    assert frame_map.clip_frame[60] == 57


def test_confidence_grows_with_the_margin_of_what_looks_different() -> None:
    band = band_of()
    path = straight(band)
    path.margin[20, RADIUS + 1] = 2.0
    path.margin[30, RADIUS + 1] = 12.0
    band.unlike[40, RADIUS + 1] = band.unlike[40, RADIUS] + 0.003  # can't be told apart: no rival, whatever it costs
    path.margin[40, RADIUS + 1] = 0.1
    sure = judge(path, band, ROWS)[0].confidence
    assert sure[20] < sure[30] < sure[10] == sure[40]


def test_a_still_scene_is_matched_but_can_not_be_sure() -> None:
    band = band_of()
    band.unlike[80:120] = 0.06
    frame_map, _ = judged(band)
    assert frame_map.matched.all()
    assert frame_map.confidence[90:110].max() < 0.5 < frame_map.confidence[:70].min()


def test_the_score_is_the_share_of_the_shorter_film_that_matches() -> None:
    whole = judged(band_of(0.0))[1]
    assert whole == pytest.approx(1)
    half = band_of(0.0)
    half.unlike[100:] = 0.97
    assert judged(half)[1] == pytest.approx(0.5, abs=0.01)
    # A clip of half the length can not match more than that.
    assert judged(band_of(0.0), 100)[1] == pytest.approx(1)


def test_frames_count_for_the_score_by_what_they_show() -> None:
    band = band_of(0.0)
    band.unlike[:50] = 1.0
    band.texture[:50] = 0.0
    assert judged(band)[1] == pytest.approx(1)
    band.texture[:50] = FULL_TEXTURE / 2
    assert judged(band)[1] == pytest.approx(150 / 175, abs=0.01)


def test_correlation_as_chance_gives_it_scores_nothing() -> None:
    assert judged(band_of(0.76, 0.8, 0.9))[1] == 0
    black = band_of()
    black.texture[:] = 0
    assert judged(black)[1] == 0


def test_what_is_usual_is_a_matter_of_frames_that_show_something() -> None:
    band = band_of()
    cost = np.full(ROWS, 0.2, np.float32)
    cost[:120] = 0.7
    band.texture[:120] = 0.01
    assert usual_cost(cost, band) == pytest.approx(0.2)
    band.texture[:] = 0
    assert usual_cost(cost, band) == 1
