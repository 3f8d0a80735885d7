"""Signatures: pure per frame, blind to grading, small enough for a feature."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.vsalign.movies import Thumbs, film, graded, noisy, signed
from vsalign.contrast import FLAT_CONTRAST, gaussian_kernel, normalise
from vsalign.signature import DETAIL_HEIGHT, DETAIL_SIGMA, DETAIL_WIDTH, LUMA_HEIGHT, LUMA_WIDTH, MOST_STEPS, STEP, luma, sign
from vsalign.signature import detail as detail_of
from vsalign.thumb import SIGNATURE_BYTES, THUMB_HEIGHT, THUMB_WIDTH

Doubles = npt.NDArray[np.float64]


def correlation(one: Thumbs, other: Thumbs) -> Doubles:
    """Of the details of two films' frames, (B,)."""
    a, b = (detail_of(sign(thumbs)).reshape(len(thumbs), -1).astype(np.float64) for thumbs in (one, other))
    return np.asarray((a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1)))


def test_a_feature_of_signatures_stays_below_a_gigabyte() -> None:
    assert signed(3).shape == (3, SIGNATURE_BYTES) and signed(3).dtype == np.uint8
    assert 172_800 * SIGNATURE_BYTES < 1e9


def test_signatures_of_chunks_equal_those_of_the_whole() -> None:
    thumbs = film(40)
    assert np.array_equal(np.concatenate([sign(thumbs[k : k + 3]) for k in range(0, 40, 3)]), sign(thumbs))
    assert np.array_equal(sign(thumbs[::-1])[::-1], sign(thumbs))
    assert sign(thumbs[:0]).shape == (0, SIGNATURE_BYTES)


@pytest.mark.parametrize("shape", [(2, 72, 128), (2, THUMB_WIDTH, THUMB_HEIGHT), (THUMB_HEIGHT, THUMB_WIDTH)])
def test_thumbs_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"accepted is \(frames, 144, 256\)"):
        sign(np.zeros(shape, np.uint8))


def halved(picture: Doubles) -> Doubles:
    """Both axes by the filter 1 3 3 1, edges repeated."""
    for _ in range(2):
        padded = np.pad(picture, ((1, 1), (0, 0)), mode="edge")
        picture = ((padded[:-3] + 3 * padded[1:-2] + 3 * padded[2:-1] + padded[3:])[::2] / 8).T
    return picture


def test_detail_and_luma_are_what_the_description_says() -> None:
    """Against plain numpy: halve, normalise, round to steps; pixels that lie on the border of two steps may go either way."""
    thumb = film(1)[0]
    small = halved(thumb.astype(np.float64))
    steps = np.clip(normalise(small[None].astype(np.float32), DETAIL_SIGMA)[0] / STEP, -MOST_STEPS, MOST_STEPS)
    found = detail_of(signed(1))[0]
    assert found.shape == (DETAIL_HEIGHT, DETAIL_WIDTH)
    assert np.abs(found - steps).max() < 0.51
    means = small.reshape(LUMA_HEIGHT, 4, LUMA_WIDTH, 4).mean((1, 3))
    assert np.abs(luma(signed(1))[0] - means).max() < 0.51


def test_steps_end_at_seven_both_ways() -> None:
    dots = np.full((1, THUMB_HEIGHT, THUMB_WIDTH), 128, np.uint8)
    dots[0, 20:22, 20:22], dots[0, 80:82, 80:82] = 255, 0
    found = detail_of(sign(dots))
    assert (found.min(), found.max()) == (-7, 7)
    assert MOST_STEPS == 7


@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_constant_frame_has_no_detail_and_keeps_its_luma(level: int) -> None:
    signature = sign(np.full((1, THUMB_HEIGHT, THUMB_WIDTH), level, np.uint8))
    assert not detail_of(signature).any()
    assert (luma(signature) == level).all()


def test_noise_on_black_below_the_flat_contrast_leaves_little_detail() -> None:
    black = noisy(np.full((2, THUMB_HEIGHT, THUMB_WIDTH), 16, np.uint8), noise=1.0)
    assert np.abs(detail_of(sign(black))).mean() < 0.3 * np.abs(detail_of(signed(2))).mean()


@pytest.mark.parametrize(
    ("changed", "least"),
    [
        (lambda thumbs: graded(thumbs, gain=0.5, black=40, gamma=1.0), 0.97),
        (lambda thumbs: graded(thumbs, gain=1.0, black=0, gamma=1.5), 0.95),
        (lambda thumbs: 255 - graded(255 - thumbs, gain=1.0, black=0, gamma=1.5), 0.95),
        (lambda thumbs: noisy(thumbs, 3.0), 0.93),
        (lambda thumbs: np.stack([cv2.GaussianBlur(t, (0, 0), 1.5) for t in thumbs]), 0.95),
    ],
    ids=["half the contrast", "darker", "brighter", "noise", "blur"],
)
def test_another_look_hardly_changes_the_detail(changed, least: float) -> None:  # type: ignore[no-untyped-def]
    thumbs = film(120)[::20]
    assert correlation(changed(thumbs).astype(np.uint8), thumbs).min() > least


def test_neighbours_and_other_shots_are_told_apart() -> None:
    thumbs = film(120)[::20]
    assert correlation(film(121)[1::20][:6], thumbs).max() < 0.95
    assert np.abs(correlation(np.roll(thumbs, 3, axis=0), thumbs)).max() < 0.3


def test_normalisation_is_the_textbook_formula() -> None:
    """Against plain convolution in float64, replicated edges."""
    thumbs = film(1)
    kernel = gaussian_kernel(1.8).astype(np.float64)
    radius = len(kernel) // 2

    def blur(image: Doubles) -> Doubles:
        padded = np.pad(image, radius, mode="edge")
        rows = np.stack([np.convolve(row, kernel, "valid") for row in padded])
        return np.stack([np.convolve(column, kernel, "valid") for column in rows.T]).T

    image = thumbs[0].astype(np.float64)
    mean = blur(image)
    wanted = (image - mean) / np.sqrt(np.maximum(blur(image**2) - mean**2, 0) + FLAT_CONTRAST**2)
    assert np.allclose(normalise(thumbs, 1.8)[0], wanted, atol=2e-3)


def test_the_kernel_is_a_gaussian_that_sums_to_one() -> None:
    for sigma in (0.3, 1.6, 2.7):
        taps = gaussian_kernel(sigma)
        assert len(taps) == 2 * max(1, round(2.3 * sigma)) + 1
        assert taps.sum() == pytest.approx(1, abs=1e-6)
        assert np.array_equal(taps, taps[::-1])
