"""Signatures: pure per frame, blind to grading, small enough for a feature."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from vsalign.signature import describe, gaussian_kernel, normalise
from vsalign.thumb import THUMB_HEIGHT, THUMB_WIDTH


def thumbs(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:THUMB_HEIGHT, 0:THUMB_WIDTH]
    waves = [np.sin(x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1) + rng.uniform(0, 7)) for _ in range(count * 5)]
    return np.stack([np.clip(128 + 25 * sum(waves[k::count]), 0, 255) for k in range(count)]).astype(np.uint8)


def test_a_feature_of_thumbs_stays_below_500_megabytes() -> None:
    assert 172_800 * THUMB_WIDTH * THUMB_HEIGHT < 500e6


@pytest.mark.parametrize(("sigma", "pool"), [(1.8, 1), (6.0, 4)])
def test_descriptors_of_chunks_equal_those_of_the_whole(sigma: float, pool: int) -> None:
    film = thumbs(20)
    whole, texture = describe(film, sigma, None, pool)
    parts = [describe(film[k : k + 3], sigma, None, pool) for k in range(0, 20, 3)]
    assert np.array_equal(whole, np.concatenate([p[0] for p in parts]))
    assert np.array_equal(texture, np.concatenate([p[1] for p in parts]))


def test_descriptors_are_unit_vectors_and_see_texture() -> None:
    described, texture = describe(thumbs(3), 1.8)
    assert np.allclose(np.linalg.norm(described, axis=1), 1, atol=1e-5)
    assert (texture > 0.3).all() and (texture <= 1).all()


def test_a_constant_frame_has_no_texture_and_a_zero_descriptor() -> None:
    described, texture = describe(np.full((2, THUMB_HEIGHT, THUMB_WIDTH), 90, np.uint8), 1.8)
    assert not described.any()
    assert not texture.any()


def test_grading_hardly_changes_a_descriptor_but_another_picture_does() -> None:
    film = thumbs(2)
    graded = np.clip(20 + 200 * (film / 255.0) ** 1.4, 0, 255).astype(np.uint8)
    one, _ = describe(film, 1.8)
    other, _ = describe(graded, 1.8)
    assert float(one[0] @ other[0]) > 0.9
    assert abs(float(one[0] @ other[1])) < 0.5


def test_pixels_without_weight_do_not_count() -> None:
    film = thumbs(1)
    spoilt = film.copy()
    spoilt[:, :, 60:] = 255
    weight = np.ones((THUMB_HEIGHT, THUMB_WIDTH), np.float32)
    weight[:, 50:] = 0
    assert np.allclose(describe(film, 1.8, weight)[0], describe(spoilt, 1.8, weight)[0], atol=1e-5)


def test_normalisation_is_the_textbook_formula() -> None:
    """Against plain convolution in float64, replicated edges."""
    film = thumbs(1)
    kernel = gaussian_kernel(1.8).astype(np.float64)
    radius = len(kernel) // 2

    def blur(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        padded = np.pad(image, radius, mode="edge")
        rows = np.stack([np.convolve(row, kernel, "valid") for row in padded])
        return np.stack([np.convolve(column, kernel, "valid") for column in rows.T]).T

    image = film[0].astype(np.float64)
    mean = blur(image)
    wanted = (image - mean) / np.sqrt(np.maximum(blur(image**2) - mean**2, 0) + 4)
    assert np.allclose(normalise(film, 1.8)[0], wanted, atol=2e-3)
