"""One pair: what the warp does to a picture, and what happens where pictures tell nothing."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tasks.align import align_pair
from tasks.messages import AlignSettings, VideoFormat
from tasks.work import SAME_PICTURE
from tests.films import GRAY, texture
from vsalign.picture import ColourTags, Picture

WIDTH, HEIGHT = 128, 96
VIDEO = VideoFormat(WIDTH, HEIGHT, Fraction(24), Fraction(1), ColourTags())
#: Four pixels to the right, two down, of 128 x 96, in units of half the picture.
MOVED = (1.0, 0.0, 4 * 2 / WIDTH, 0.0, 1.0, 2 * 2 / HEIGHT)


def picture(samples: np.ndarray) -> Picture:
    return Picture((np.ascontiguousarray(samples, np.uint8),), GRAY)


@pytest.fixture
def scene() -> np.ndarray:
    return texture(3, WIDTH + 8, HEIGHT + 8)


def test_a_moved_clip_comes_to_lie_on_its_ref(scene: np.ndarray):
    clip, ref = picture(scene[2 : 2 + HEIGHT, 4 : 4 + WIDTH]), picture(scene[:HEIGHT, :WIDTH])
    aligned, confidence = align_pair(clip, ref, VIDEO, AlignSettings(), SAME_PICTURE)
    inner = (slice(12, -12), slice(12, -12))
    difference = aligned.planes[0][inner].astype(float) - ref.planes[0][inner]
    assert np.abs(difference).mean() < 1.5 and confidence > 0.5


def test_a_pair_that_tells_nothing_gets_the_films_geometry(scene: np.ndarray):
    clip, black = picture(scene[:HEIGHT, :WIDTH]), picture(np.full((HEIGHT, WIDTH), 16))
    aligned, confidence = align_pair(clip, black, VIDEO, AlignSettings(), MOVED)
    assert confidence == 0.0
    assert np.array_equal(aligned.planes[0][:-2, :-4], clip.planes[0][2:, 4:])


def test_a_pair_that_tells_something_does_not_need_the_films_geometry(scene: np.ndarray):
    clip, ref = picture(scene[2 : 2 + HEIGHT, 4 : 4 + WIDTH]), picture(scene[:HEIGHT, :WIDTH])
    plain = align_pair(clip, ref, VIDEO, AlignSettings(), SAME_PICTURE)[0]
    told = align_pair(clip, ref, VIDEO, AlignSettings(), MOVED)[0]
    assert np.array_equal(plain.planes[0], told.planes[0])


def test_without_warp_the_clip_is_only_scaled(scene: np.ndarray):
    clip = picture(scene[:HEIGHT, :WIDTH])
    same, confidence = align_pair(clip, None, VIDEO, AlignSettings(warp=False), MOVED)
    assert np.array_equal(same.planes[0], clip.planes[0]) and confidence == 1.0
