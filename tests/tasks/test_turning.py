"""Turned films: what is read lies as the ref does, sample for sample, and says so."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tasks.formats import planar_format
from tasks.messages import Probe, Source
from tasks.probe import probe
from tasks.reading import open_reader
from tasks.turning import as_stored, turned, turned_to
from tests.factories import inputs_of
from tests.synth import LOSSLESS_H264, Video, make_film, painted
from vsalign.errors import InputError
from vsalign.frames import FrameRange
from vsalign.picture import ColourTags, Picture
from vsalign.planes import chroma_at_luma

QUARTERS = {90: 3, 180: 2, 270: 1}
LEFT, CENTER, TOPLEFT, TOP, BOTTOMLEFT, BOTTOM = range(1, 7)


def film_of(pixel_format: str, location: int = 0, rotation: int = 0, width: int = 64, height: int = 48) -> Probe:
    found = inputs_of().clip
    info = replace(
        found.info,
        pixel_format=pixel_format,
        width=width,
        height=height,
        sample_aspect_ratio=Fraction(16, 11),
        rotation_degrees=rotation,
        colour=ColourTags(chroma_location=location),
    )
    return replace(found, info=info)


@pytest.mark.parametrize("degrees", QUARTERS)
@pytest.mark.parametrize("name", ["yuv444p", "gray12le", "gbrp10le", "yuv410p", "yuv420p"])
def test_samples_are_moved_and_never_mixed(name: str, degrees: int) -> None:
    colour = ColourTags(chroma_location=CENTER)
    picture = replace(painted(7, 64, 48, name), colour=colour)
    found = turned(picture, degrees)
    for before, after in zip(picture.planes, found.planes, strict=True):
        assert np.array_equal(after, np.rot90(before, QUARTERS[degrees])) and after.flags.c_contiguous
    assert (found.format, found.colour) == (picture.format, colour)


def test_clockwise_is_clockwise() -> None:
    picture = Picture((np.array([[1, 2], [3, 4]], np.uint8),), planar_format("gray"))
    assert turned(picture, 90).planes[0].tolist() == [[3, 1], [4, 2]]
    assert turned(picture, 0) is picture


def test_a_ref_that_is_turned_itself_needs_no_turn() -> None:
    for rotation in (0, 90, 180, 270):
        found = film_of("yuv420p", rotation=rotation)
        assert turned_to(found, rotation) is found


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("location", range(7))
@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "yuv444p", "gray"])
def test_a_turned_description_leads_back_to_the_file_s(name: str, location: int, degrees: int) -> None:
    found = film_of(name, location, rotation=degrees)
    there = turned_to(found, 0)
    swapped = degrees != 180
    assert (there.info.width, there.info.height) == ((48, 64) if swapped else (64, 48))
    assert there.info.sample_aspect_ratio == (Fraction(11, 16) if swapped else Fraction(16, 11))
    assert (there.info.turned_degrees, there.info.rotation_degrees) == (degrees, 0)
    assert turned_to(there, 0) is there
    back = as_stored(there).info
    assert replace(back, rotation_degrees=degrees) == found.info
    assert turned_to(there, degrees).info == found.info


@pytest.mark.parametrize("bits", ["", "10le", "12le"])
def test_halved_columns_become_halved_rows(bits: str) -> None:
    picture = painted(3, 64, 48, f"yuv422p{bits}")
    found = turned(picture, 90)
    assert found.format.name == f"yuv440p{bits}" and found.planes[1].shape == (32, 48)
    assert turned(found, 270).format == picture.format
    assert turned_to(film_of("uyvy422", rotation=90), 0).info.pixel_format == "yuv440p"


@pytest.mark.parametrize("name", ["yuv411p", "yuv422p16le"])
def test_what_has_no_turned_counterpart_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"pixel format {name} cannot be turned by 90 degrees; accepted: 4:2:0"):
        turned_to(film_of(name, rotation=90), 0)
    assert turned_to(film_of(name, rotation=180), 0).info.pixel_format == name


SITES = [
    ("yuv420p", 0, 90, TOP),
    ("yuv420p", LEFT, 90, TOP),
    ("yuv420p", LEFT, 270, BOTTOM),
    ("yuv420p", LEFT, 180, LEFT),
    ("yuv420p", 0, 180, 0),
    ("yuv420p", CENTER, 90, CENTER),
    ("yuv420p", TOPLEFT, 270, BOTTOMLEFT),
    ("yuv420p", TOPLEFT, 90, TOPLEFT),
    ("yuv420p", TOP, 270, LEFT),
    ("yuv422p", LEFT, 180, LEFT),
    ("yuv444p", LEFT, 90, LEFT),
]


@pytest.mark.parametrize(("name", "location", "degrees", "there"), SITES)
def test_where_chroma_lies_is_turned_with_it(name: str, location: int, degrees: int, there: int) -> None:
    picture = replace(painted(1, 64, 48, name), colour=ColourTags(chroma_location=location))
    assert turned(picture, degrees).colour.chroma_location == there
    assert turned_to(film_of(name, location, rotation=degrees), 0).info.colour.chroma_location == there


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("location", range(7))
@pytest.mark.parametrize(("name", "size"), [("yuv420p", (64, 48)), ("yuv422p", (64, 48)), ("yuv420p", (63, 47))])
def test_chroma_stays_on_the_luma_that_it_belongs_to(name: str, size: tuple[int, int], location: int, degrees: int) -> None:
    """Luma and chroma of a ramp: read at luma's samples by the tags, chroma says where it is."""
    if size[0] % 2 and location != TOPLEFT:
        return  # chroma between or behind the luma of an odd picture has no place of its own when turned
    width, height = size
    layout, colour = planar_format(name), ColourTags(chroma_location=location)
    ramp_x, ramp_y = np.arange(width)[None].repeat(height, 0), np.arange(height)[:, None].repeat(width, 1)
    picture = Picture(tuple(np.zeros(layout.plane_size(n, width, height)[::-1], np.uint8) for n in range(3)), layout, colour)
    at = positions(picture)
    for plane, ramp in ((1, at[0]), (2, at[1])):
        picture.planes[plane][:] = np.round(2 * ramp + 20)
    found = turned(picture, degrees)
    where = positions(found)
    rows, columns = np.rot90(ramp_y, QUARTERS[degrees]), np.rot90(ramp_x, QUARTERS[degrees])
    inner = (slice(3, -3), slice(3, -3))
    for plane, truth in ((1, columns), (2, rows)):
        expected = sampled(truth, where) * 2 + 20
        assert np.abs(found.planes[plane][inner] - expected[inner]).max() <= 0.51


def positions(picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) among the luma samples of every chroma sample, by the tags."""
    import torch

    shifts = picture.format.log2_chroma_w, picture.format.log2_chroma_h
    origin = chroma_at_luma((picture.height, picture.width), shifts, picture.colour.chroma_location, torch.device("cpu"))
    h, w = picture.planes[1].shape
    x = (np.arange(w) - float(origin[0, 0, 0])) * (1 << shifts[0])
    y = (np.arange(h) - float(origin[1, 0, 0])) * (1 << shifts[1])
    return np.broadcast_to(x, (h, w)), np.broadcast_to(y[:, None], (h, w))


def sampled(field: np.ndarray, where: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A linear field at (x, y)."""
    slope_x, slope_y = field[0, 1] - field[0, 0], field[1, 0] - field[0, 0]
    return np.asarray(field[0, 0] + slope_x * where[0] + slope_y * where[1])


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_reader_gives_what_a_player_shows(tmp_path: Path, rotation: int) -> None:
    name = "yuv444p"  # of which no chroma is moved
    path = make_film(tmp_path / "film.mp4", Video(num_frames=6, pixel_format=name, options=LOSSLESS_H264, rotation=-rotation))
    plain = make_film(tmp_path / "plain.mp4", Video(num_frames=6, pixel_format=name, options=LOSSLESS_H264))
    upright = turned_to(probe(Source(str(path))), 0)
    stored = probe(Source(str(plain)))
    with open_reader(upright) as reader, open_reader(stored) as other:
        pairs = zip(reader.pictures([4, 1]), other.pictures([4, 1]), strict=True)
        for (frame, found), (number, picture) in pairs:
            assert frame == number
            assert (found.width, found.height) == (upright.info.width, upright.info.height)
            for plane, before in zip(found.planes, picture.planes, strict=True):
                assert np.array_equal(plane, np.rot90(before, QUARTERS[rotation]))
        assert reader.replaced == {}
    with open_reader(upright, only_thumbs=True) as reader, open_reader(stored, only_thumbs=True) as other:
        swapped = (16, 12) if rotation == 180 else (12, 16)
        thumbs = zip(reader.thumbs(FrameRange(0, 3), 16, 12), other.thumbs(FrameRange(0, 3), *swapped), strict=True)
        for (_, thumb), (_, before) in thumbs:
            assert thumb.shape == (12, 16) and np.array_equal(thumb, np.rot90(before, QUARTERS[rotation]))
