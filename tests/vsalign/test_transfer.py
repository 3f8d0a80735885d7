"""HDR codes as SDR has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.comparable import Comparable
from tasks.formats import planar_format
from tasks.messages import MediaInfo
from tasks.work import SAME_PICTURE
from tests.factories import inputs_of
from tests.films import film
from tests.hdrfilm import hlg_codes, pq_codes
from vsalign.picture import ColourTags, Picture
from vsalign.transfer import TRANSFER_HLG, TRANSFER_PQ, as_sdr, is_hdr, sdr_picture

SDR, PQ, HLG = ColourTags(1, 1, 1, 1, 1), ColourTags(9, TRANSFER_PQ, 9, 1, 1), ColourTags(9, TRANSFER_HLG, 9, 1, 1)
CODES = {TRANSFER_PQ: pq_codes, TRANSFER_HLG: hlg_codes}


def coded(light: np.ndarray, colour: ColourTags) -> Picture:
    """A gray picture of ``light`` (white of SDR 1) as 10-bit YUV."""
    values = light ** (1 / 2.4) if not is_hdr(colour.transfer) else CODES[colour.transfer](203 * light)
    luma = np.round(64 + 876 * values).astype(np.uint16)
    chroma = np.full((luma.shape[0] // 2, luma.shape[1] // 2), 512, np.uint16)
    return Picture((luma, chroma, chroma), planar_format("yuv420p10le"), colour)


@pytest.mark.parametrize("transfer", [TRANSFER_PQ, TRANSFER_HLG])
def test_the_curve_rises_from_black_to_white(transfer: int) -> None:
    values = as_sdr(np.linspace(-0.1, 1.1, 500), transfer)
    assert (np.diff(values) >= -1e-12).all() and values[0] == 0 and values[-1] == pytest.approx(1)


@pytest.mark.parametrize("transfer", [TRANSFER_PQ, TRANSFER_HLG])
def test_shadows_and_middle_tones_are_what_sdr_codes(transfer: int) -> None:
    light = np.linspace(0.001, 0.4, 50)
    assert as_sdr(CODES[transfer](203 * light), transfer) == pytest.approx(light ** (1 / 2.4), abs=0.01)


def test_light_above_white_is_bent_and_not_cut() -> None:
    bright = as_sdr(pq_codes(np.array([203.0, 400, 700, 1000])), TRANSFER_PQ)
    assert bright[0] > 0.85 and (np.diff(bright) > 0.001).all() and bright[-1] == pytest.approx(1)


def test_sdr_is_left_alone() -> None:
    values = np.array([-0.5, 0.5, 1.5])
    assert as_sdr(values, 1) is values
    picture = coded(np.full((4, 4), 0.3), SDR)
    assert sdr_picture(picture) is picture


@pytest.mark.parametrize(("name", "range_"), [("yuv420p10le", 1), ("gray12le", 2), ("gbrp10le", 2), ("gray", 1)])
def test_pictures_of_every_kind_keep_black_and_get_darker_nowhere_else_than_above(name: str, range_: int) -> None:
    layout = planar_format(name)
    peak, step = (1 << layout.bit_depth) - 1, 1 << (layout.bit_depth - 8)
    black, white = (0, peak) if range_ == 2 else (16 * step, 235 * step)
    dtype = np.uint8 if layout.bit_depth == 8 else np.uint16
    planes = [np.full(layout.plane_size(n, 4, 4)[::-1], black, dtype) for n in range(layout.num_planes)]
    planes[0][0] = black, (black + white) // 2, white, peak
    found = sdr_picture(Picture(tuple(planes), layout, ColourTags(9, TRANSFER_PQ, 9, range_)))
    assert found.planes[0].dtype == dtype and found.colour.transfer == 1
    row = found.planes[0][0].astype(int)
    assert row[0] == black and (black + white) // 2 < row[1] < white and row[2] == row[3] == white
    if layout.family == "yuv":
        assert np.array_equal(found.planes[1], planes[1])


@pytest.mark.parametrize("colour", [PQ, HLG])
def test_metrics_compare_hdr_with_sdr_on_one_scale(colour: ColourTags) -> None:
    light = 0.5 * (film(1)[0] / 255.0) ** 2.4
    hdr, sdr = coded(light, colour), coded(light, SDR)
    both = Comparable(info(colour), info(SDR), SAME_PICTURE)
    turned = Comparable(info(SDR), info(colour), SAME_PICTURE)
    same = Comparable(info(colour), info(colour), SAME_PICTURE)
    before = apart(hdr, sdr)
    for found in (apart(both.of_clip(hdr), both.of_ref(sdr)), apart(turned.of_clip(sdr), turned.of_ref(hdr))):
        assert found < 0.02 and found < before / 2
    assert same.of_clip(hdr) is hdr or np.array_equal(same.of_clip(hdr).planes[0], hdr.planes[0])


def info(colour: ColourTags) -> MediaInfo:
    return replace(inputs_of().clip.info, width=96, height=64, pixel_format="yuv420p10le", colour=colour)


def apart(one: Picture, other: Picture) -> float:
    return float(np.abs(one.planes[0].astype(float) - other.planes[0]).mean()) / 876
