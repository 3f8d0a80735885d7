"""Rough descriptors: unit vectors that forgive a small misalignment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tests.vsalign.movies import film, graded, signed
from vsalign.rough import describe
from vsalign.signature import LUMA_HEIGHT, LUMA_WIDTH, luma, sign

EVERYWHERE = np.ones((LUMA_HEIGHT, LUMA_WIDTH), np.float32)


def lumas(count: int = 180) -> npt.NDArray[np.uint8]:
    """One frame of each shot."""
    return luma(signed(count))[::60]


def test_descriptors_of_chunks_equal_those_of_the_whole() -> None:
    film_luma = luma(signed(20))
    whole, texture = describe(film_luma, EVERYWHERE)
    parts = [describe(film_luma[k : k + 3], EVERYWHERE) for k in range(0, 20, 3)]
    assert np.array_equal(whole, np.concatenate([p[0] for p in parts]))
    assert np.array_equal(texture, np.concatenate([p[1] for p in parts]))


def test_descriptors_are_unit_vectors_and_see_texture() -> None:
    described, texture = describe(lumas(), EVERYWHERE)
    assert np.allclose(np.linalg.norm(described, axis=1), 1, atol=1e-5)
    assert np.abs(described.sum(1)).max() < 1e-3
    assert (texture > 0.3).all() and (texture <= 1).all()


def test_a_constant_frame_has_no_texture_and_a_zero_descriptor() -> None:
    described, texture = describe(np.full((2, LUMA_HEIGHT, LUMA_WIDTH), 90, np.uint8), EVERYWHERE)
    assert not described.any()
    assert not texture.any()


def test_ripples_of_a_hundredth_of_a_grey_level_describe_nothing() -> None:
    ripples = 90 + 0.01 * np.random.default_rng(0).uniform(-1, 1, (2, LUMA_HEIGHT, LUMA_WIDTH)).astype(np.float32)
    assert not describe(ripples, EVERYWHERE)[0].any()


def test_a_picture_seen_nowhere_has_a_zero_descriptor() -> None:
    described, texture = describe(lumas(), 0 * EVERYWHERE)
    assert not described.any() and not texture.any()


def test_another_look_or_a_small_shift_hardly_changes_a_descriptor_but_another_shot_does() -> None:
    ours, _ = describe(lumas(), EVERYWHERE)
    moved = luma(sign(graded(film(180, shift=(0.02, 0.02))[::60])))
    theirs, _ = describe(moved, EVERYWHERE)
    assert (ours * theirs).sum(1).min() > 0.8
    assert np.abs((ours * np.roll(theirs, 1, axis=0)).sum(1)).max() < 0.5


def test_pixels_without_weight_do_not_count() -> None:
    spoilt = lumas().copy()
    spoilt[:, :, 24:] = 255
    weight = EVERYWHERE.copy()
    weight[:, 14:] = 0
    assert np.allclose(describe(lumas(), weight)[0], describe(spoilt, weight)[0], atol=1e-5)
