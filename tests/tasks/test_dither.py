"""Fewer bits: means survive, nothing bands, and what loses nothing is left alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tasks.dither import SIZE, in_depth, lowered, ranks
from tasks.encode import SegmentWriter, converted
from tasks.formats import planar_format
from tasks.messages import EncodeSettings
from tests.tasks.test_encode import FULL_709, LIMITED_601, LIMITED_709, VIDEO, encoded, pictures_of, plain, settings
from vsalign.picture import ColourTags, Picture, Plane

RGB = ColourTags(1, 1, 0, 2, 0)
#: Mean distance, in codes, between what an area of 16 x 16 samples should be and what it is on average.
MOST_ERROR = 0.05


def ramp(name: str, colour: ColourTags, width: int = 512, height: int = 64, into_depth: int = 8) -> Picture:
    """A slow gradient from left to right in every plane: some 12 codes of the fewer bits over its width."""
    layout = planar_format(name)
    planes = []
    for number in range(layout.num_planes):
        w, h = layout.plane_size(number, width, height)
        codes = np.linspace(100 + 5 * number, 112 + 7 * number, w) * (1 << (layout.bit_depth - into_depth))
        planes.append(np.tile(np.rint(codes).astype(np.uint16), (h, 1)))
    return Picture(tuple(planes), layout, colour)


def areas(plane: npt.NDArray[np.generic], size: int = 16) -> npt.NDArray[np.float64]:
    """Means of whole squares of a plane."""
    height, width = plane.shape[0] // size * size, plane.shape[1] // size * size
    cut = plane[:height, :width].astype(np.float64)
    return cut.reshape(height // size, size, width // size, size).mean((1, 3))


def wanted_codes(picture: Picture, number: int, depth: int, full_range: bool) -> npt.NDArray[np.float64]:
    """What the fewer bits would be if they could hold fractions."""
    old, plane = picture.format.bit_depth, picture.planes[number].astype(np.float64)
    if not full_range:
        return plane / (1 << (old - depth))
    factor = ((1 << depth) - 1) / ((1 << old) - 1)
    if number and picture.format.family == "yuv":
        return (plane - (1 << (old - 1))) * factor + (1 << (depth - 1))
    return plane * factor


def test_the_pattern_is_the_same_everywhere() -> None:
    assert sorted(ranks().ravel().tolist()) == list(range(SIZE * SIZE))
    found = hashlib.sha256(ranks().astype("<u2").tobytes()).hexdigest()
    assert found == "02ceaff1e9d004d1656f202cc6a72c67faf35c5732a7924c4e1d97871a3c11b8"


def test_the_pattern_is_blue() -> None:
    """Hardly any of its grain is coarse: of the lower eighth of all frequencies it has less than a hundredth of white noise."""
    power = np.abs(np.fft.fft2(ranks() - ranks().mean())) ** 2
    away = np.minimum(np.arange(SIZE), SIZE - np.arange(SIZE))
    coarse = (np.hypot(away[:, None], away[None, :]) < SIZE / 8) & (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) > 0)
    assert power[coarse].mean() < 0.01 * power[power > 0].mean()


@pytest.mark.parametrize(
    ("name", "into"),
    [
        ("yuv420p10le", "yuv420p"),
        ("yuv422p12le", "yuv422p10le"),
        ("yuv444p16le", "yuv444p10le"),
        ("gray10le", "gray"),
        ("gbrp12le", "gbrp10le"),
        ("gbrp10le", "gbrp"),
    ],
)
@pytest.mark.parametrize("full", [False, True])
def test_a_gradient_does_not_band(name: str, into: str, full: bool) -> None:
    full = full or name.startswith("gbrp")
    layout = planar_format(into)
    sent = ramp(name, FULL_709 if full else LIMITED_709, into_depth=layout.bit_depth)
    found = lowered(sent, layout, full)
    assert found.format == layout
    for number, plane in enumerate(found.planes):
        wish = wanted_codes(sent, number, layout.bit_depth, full)
        dithered = np.abs(areas(plane) - areas(wish)).mean()
        rounded = np.abs(areas(np.floor(wish + 0.5)) - areas(wish)).mean()
        assert dithered < MOST_ERROR < rounded and dithered < rounded / 4
        assert np.abs(plane - wish).max() < 1


@pytest.mark.parametrize(
    ("name", "into", "colour", "wanted"),
    [
        ("yuv420p10le", "yuv420p", LIMITED_709, LIMITED_709),
        ("yuv444p10le", "yuv420p", LIMITED_709, LIMITED_709),
        ("yuv420p10le", "yuv420p", LIMITED_709, LIMITED_601),
        ("yuv420p10le", "yuv420p", FULL_709, LIMITED_709),
        ("gray12le", "yuv420p", LIMITED_709, LIMITED_709),
        ("gbrp12le", "yuv444p", RGB, LIMITED_709),
        ("yuv422p10le", "yuv411p", LIMITED_709, LIMITED_709),
    ],
)
def test_whatever_else_changes_a_gradient_does_not_band(name: str, into: str, colour: ColourTags, wanted: ColourTags) -> None:
    """Against the same conversion into 16 bits, which is all but exact; a rounding in the picture's own depth comes first."""
    sent = ramp(name, colour)
    found = converted(sent, into, wanted)
    deep = in_depth(planar_format(into), 16)
    exact = converted(sent, deep.name if into != "yuv411p" else "yuv422p16le", wanted)
    wish = exact.planes[0][:, 8:-8] / 256
    error = np.abs(areas(found.planes[0][:, 8:-8]) - areas(wish)).mean()
    assert error < (0.1 if colour != wanted else MOST_ERROR)


@pytest.mark.parametrize("name", ["yuv420p10le", "gray16le", "yuv444p12le"])
@pytest.mark.parametrize("full", [False, True])
def test_what_fewer_bits_can_hold_gets_no_grain(name: str, full: bool) -> None:
    layout = planar_format(name)
    low, high = (0, (1 << layout.bit_depth) - 1) if full else (16 << (layout.bit_depth - 8), 235 << (layout.bit_depth - 8))
    for code, eight in ((low, 0 if full else 16), (high, 255 if full else 235)):
        sent = plain(name, [code, *[1 << (layout.bit_depth - 1)] * (layout.num_planes - 1)], LIMITED_709)
        found = lowered(sent, in_depth(layout, 8), full)
        assert [set(plane.ravel().tolist()) for plane in found.planes] == [{eight}, {128}, {128}][: layout.num_planes]


def test_codes_above_white_are_cut_at_the_highest() -> None:
    found = lowered(plain("gray10le", [1023], LIMITED_709), planar_format("gray"), False)
    assert set(found.planes[0].ravel().tolist()) == {255}


def test_gray_rgb_stays_gray_and_chroma_has_a_grain_of_its_own() -> None:
    gray = lowered(plain("gbrp10le", [514, 514, 514], RGB), planar_format("gbrp"), True)
    assert np.array_equal(gray.planes[0], gray.planes[1]) and np.array_equal(gray.planes[0], gray.planes[2])
    green, blue, red = (
        p.astype(float) for p in lowered(plain("yuv444p10le", [514] * 3, LIMITED_709), planar_format("yuv444p"), False).planes
    )
    for one, other in ((green, blue), (green, red), (blue, red)):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1


def test_the_grain_stands_still_and_is_that_of_the_place(tmp_path: Path) -> None:
    """Every frame gets the same, so it makes no difference where a chunk begins."""
    sent = [ramp("yuv420p10le", VIDEO.colour, 64, 64)] * 3
    encoded(tmp_path / "whole.mkv", sent, settings("ffv1"), name="yuv420p")
    encoded(tmp_path / "chunk.mkv", sent[1:], settings("ffv1"), name="yuv420p")
    whole, chunk = pictures_of(tmp_path / "whole.mkv"), pictures_of(tmp_path / "chunk.mkv")
    assert len({p.tobytes() for p in (*(w.planes[0] for w in whole), *(c.planes[0] for c in chunk))}) == 1
    assert len(np.unique(whole[0].planes[0])) > 1


def test_as_many_bits_or_more_are_not_touched(tmp_path: Path) -> None:
    for name, into in (("yuv420p10le", "yuv420p10le"), ("yuv420p10le", "yuv420p12le")):
        sent = ramp(name, VIDEO.colour, 64, 64)
        encoded(tmp_path / "s.mkv", [sent], settings("ffv1"), name=into)
        for have, want in zip(pictures_of(tmp_path / "s.mkv")[0].planes, sent.planes, strict=True):
            assert np.array_equal(have, want << (planar_format(into).bit_depth - 10))


def test_a_film_of_fewer_bits_is_dithered(tmp_path: Path) -> None:
    video = replace(VIDEO, width=512)
    sent = ramp("yuv420p10le", VIDEO.colour)
    with SegmentWriter(str(tmp_path / "s.mkv"), video, EncodeSettings(codec="libx264", crf=0), "yuv420p") as writer:
        writer.write(sent)
        writer.close()
    plane: Plane = pictures_of(tmp_path / "s.mkv")[0].planes[0]
    assert np.abs(areas(plane) - areas(sent.planes[0] / 4)).mean() < MOST_ERROR
