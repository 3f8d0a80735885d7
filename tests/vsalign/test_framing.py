"""The first idea of how two films are framed: bars and the customary crops."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.vsalign.movies import Thumbs, film, worn
from vsalign.framing import Area, active_area, first_geometry
from vsalign.signature import luma, sign

Lumas = npt.NDArray[np.uint8]
COUNT, SHOT = 40, 5
BAR = 0.744
"""What 2.39:1 leaves of the height of 16:9."""


def source(scale: tuple[float, float] = (1.0, 1.0), shift: tuple[float, float] = (0.0, 0.0)) -> Thumbs:
    return film(COUNT, shot=SHOT, scale=scale, shift=shift)


def letterboxed(thumbs: Thumbs, share: float = BAR, black: int = 0) -> Thumbs:
    """The whole picture squeezed between bars above and below."""
    height, width = thumbs.shape[1:]
    inner = int(height * share) // 2 * 2
    top = (height - inner) // 2
    out = np.full_like(thumbs, black)
    for frame, thumb in zip(out, thumbs, strict=True):
        frame[top : top + inner] = cv2.resize(thumb, (width, inner), interpolation=cv2.INTER_AREA)
    return out


def pillared(thumbs: Thumbs, share: float = 0.75) -> Thumbs:
    return np.swapaxes(letterboxed(np.swapaxes(thumbs, 1, 2), share), 1, 2)


def matted(thumbs: Thumbs, share: float = BAR) -> Thumbs:
    """Bars over the picture, which stays where it is."""
    out = thumbs.copy()
    bar = round(thumbs.shape[1] * (1 - share) / 2)
    out[:, :bar] = 0
    out[:, thumbs.shape[1] - bar :] = 0
    return out


def lumas(thumbs: Thumbs) -> Lumas:
    return luma(sign(thumbs))


def framed(ref: Thumbs, clip: Thumbs) -> npt.NDArray[np.float64]:
    """The 2x3 map found for a worn clip of which the first frames are gone."""
    return first_geometry(lumas(ref), lumas(worn(clip)[3:])).affine()


def scaled(x: float, y: float) -> npt.NDArray[np.float64]:
    return np.array([[x, 0.0, 0.0], [0.0, y, 0.0]])


CASES = {
    "clip letterboxed": (source(), letterboxed(source()), (1, 0.75)),
    "clip letterboxed wide": (source(), letterboxed(source(), 0.6), (1, 86 / 144)),
    "ref letterboxed": (letterboxed(source()), source(), (1, 1 / 0.75)),
    "clip pillared": (source(), pillared(source()), (0.75, 1)),
    "ref pillared": (pillared(source()), source(), (1 / 0.75, 1)),
    "ref 4:3 of clip": (source((0.75, 1)), source(), (0.75, 1)),
    "clip 4:3 of ref": (source(), source((0.75, 1)), (1 / 0.75, 1)),
    "ref 16:9 of clip's 2.39": (source((1, 0.744)), source(), (1, 0.75)),
    "clip 16:9 of ref's 2.39": (source(), source((1, 0.744)), (1, 1 / 0.75)),
    "both letterboxed": (letterboxed(source()), letterboxed(source()), (1, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_bars_and_crops_are_recognised(case: str) -> None:
    ref, clip, truth = CASES[case]
    # What is left is for the search around it, some per cent.
    assert framed(ref, clip) == pytest.approx(scaled(*truth), abs=0.04)


@pytest.mark.parametrize(
    ("ref", "clip"),
    [
        (source(), source()),
        (source(), source((0.95, 0.95), (0.03, 0.0))),
        (source(), matted(source())),
        (matted(source()), source()),
    ],
    ids=["same", "zoomed", "clip matted", "ref matted"],
)
def test_films_framed_alike_are_left_alone(ref: Thumbs, clip: Thumbs) -> None:
    assert framed(ref, clip) == pytest.approx(scaled(1, 1), abs=1e-9)


def test_films_without_a_picture_are_left_alone() -> None:
    flat = lumas(np.full((5, 144, 256), 30, np.uint8))
    for ref, clip in ((flat, flat), (flat, lumas(source())), (lumas(source()), flat), (lumas(source()[:1]), flat[:1])):
        assert first_geometry(ref, clip).affine() == pytest.approx(scaled(1, 1))


# --- bars


def test_a_film_without_bars_is_all_picture() -> None:
    assert active_area(lumas(source())) == Area(-1, 1, -1, 1)


@pytest.mark.parametrize("black", [0, 16, 30])
@pytest.mark.parametrize("share", [0.9, 0.82, BAR, 0.6])
def test_bars_are_measured_finer_than_a_pixel(share: float, black: int) -> None:
    height = int(144 * share) // 2 * 2 / 144
    area = active_area(lumas(letterboxed(source(), share, black)))
    assert (area.left, area.right) == (-1, 1)
    assert area.top == pytest.approx(-height, abs=0.04) and area.bottom == pytest.approx(height, abs=0.04)


def test_a_bar_may_be_on_one_side_only() -> None:
    thumbs = source().copy()
    thumbs[:, :, :40] = 0
    area = active_area(lumas(thumbs))
    assert (area.right, area.top, area.bottom) == (1, -1, 1)
    assert area.left == pytest.approx(-1 + 2 * 40 / 256, abs=0.03)


def test_dark_scenes_and_edges_are_no_bars() -> None:
    """Bars are dark all film long; a fade, a vignette or a grey border are not."""
    dark = source().copy()
    dark[: COUNT // 2, :30] = 0
    assert active_area(lumas(dark)).top == -1
    grey = letterboxed(source(), BAR, black=60)
    assert active_area(lumas(grey)).top == -1
    thin = letterboxed(source(), 0.96)
    assert active_area(lumas(thin)).top == -1
    assert active_area(lumas((source() * 0.08).astype(np.uint8))) == Area(-1, 1, -1, 1)
