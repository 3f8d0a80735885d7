"""What is laid over mismatched pixels: where, in which codes, and that nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tasks.paint import cover_of, painted
from tests.films import GRAY
from vsalign.picture import (
    MATRIX_BT601,
    MATRIX_BT709,
    RANGE_FULL,
    RANGE_LIMITED,
    ColourTags,
    Picture,
    SampleFormat,
    luma,
)

YUV420 = SampleFormat("yuv420p", "yuv", 8, 3, 1, 1)
YUV444_10 = SampleFormat("yuv444p10le", "yuv", 10, 3)
RGB = SampleFormat("gbrp", "rgb", 8, 3)
HD = ColourTags(matrix=MATRIX_BT709, range=RANGE_LIMITED)
SD_FULL = ColourTags(matrix=MATRIX_BT601, range=RANGE_FULL)
WIDTH, HEIGHT = 48, 32
#: Rows 8 to 16, columns 16 to 32 do not match.
INSIDE, OUTSIDE = (slice(8, 16), slice(16, 32)), (slice(22, None), slice(None))


def flat(layout: SampleFormat, colour: ColourTags, *codes: int) -> Picture:
    planes = []
    for index, code in enumerate(codes):
        width, height = layout.plane_size(index, WIDTH, HEIGHT)
        planes.append(np.full((height, width), code, np.uint8 if layout.bit_depth == 8 else np.uint16))
    return Picture(tuple(planes), layout, colour)


def cover() -> np.ndarray:
    mismatched = torch.zeros((1, 1, HEIGHT, WIDTH), dtype=torch.bool)
    mismatched[..., INSIDE[0], INSIDE[1]] = True
    return cover_of(mismatched)


def test_the_cover_is_whole_on_all_that_mismatches_and_fades_within_a_few_pixels():
    found = cover()
    assert (found[INSIDE] == 1).all() and found[8, 11] < 0.5 and (found[:, :11] == 0).all() and (found[21:] == 0).all()
    assert ((found > 0) & (found < 1)).any()


def test_nothing_mismatched_covers_nothing():
    assert not cover_of(torch.zeros((1, 1, HEIGHT, WIDTH), dtype=torch.bool)).any()


@pytest.mark.parametrize(
    ("layout", "colour", "codes"),
    [
        (YUV420, HD, (90, 110, 140)),
        (YUV444_10, HD, (360, 440, 560)),
        (YUV420, SD_FULL, (90, 110, 140)),
        (RGB, HD, (9, 99, 200)),
    ],
)
@pytest.mark.parametrize("show", ["black", "white"])
def test_black_and_white_are_those_of_the_pictures_own_format_and_range(layout, colour, codes, show):
    clip = flat(layout, colour, *codes)
    out = painted(clip, clip, cover(), show)
    assert np.allclose(luma(out)[INSIDE], {"black": 0, "white": 1}[show], atol=1e-3)
    if layout.family == "yuv":
        assert {int(plane[plane.shape[0] * 12 // HEIGHT, plane.shape[1] // 2]) for plane in out.planes[1:]} == {
            1 << (layout.bit_depth - 1)
        }
    for before, after in zip(clip.planes, out.planes, strict=True):
        rows = before.shape[0] * 22 // HEIGHT
        assert np.array_equal(before[rows:], after[rows:]) and before.dtype == after.dtype
    assert out.colour == clip.colour


def test_refs_pixels_come_in_the_pictures_depth_chroma_resolution_matrix_and_range():
    clip = flat(YUV444_10, HD, 300, 512, 512)
    # Red in full-range BT.601: R 200, G B 40.
    red = np.array([200, 40, 40]) / 255
    y = red @ [0.299, 0.587, 0.114]
    ref = flat(
        YUV420, SD_FULL, round(255 * y), round(128 + 255 * (red[2] - y) / 1.772), round(128 + 255 * (red[0] - y) / 1.402)
    )
    out = painted(clip, ref, cover(), "ref")
    y = red @ [0.2126, 0.7152, 0.0722]
    wanted = (64 + 876 * y, 512 + 896 * (red[2] - y) / 1.8556, 512 + 896 * (red[0] - y) / 1.5748)
    for plane, code in zip(out.planes, wanted, strict=True):
        assert abs(float(plane[INSIDE].mean()) - code) < 4
    assert all(np.array_equal(a[OUTSIDE], b[OUTSIDE]) for a, b in zip(clip.planes, out.planes, strict=True))


def test_a_gray_clip_gets_refs_luma():
    out = painted(flat(GRAY, HD, 50), flat(YUV420, HD, 200, 30, 60), cover(), "ref")
    assert (out.planes[0][INSIDE] == 200).all() and (out.planes[0][OUTSIDE] == 50).all()


def test_odd_sizes_keep_their_chroma_size():
    clip = Picture((np.full((5, 7), 90, np.uint8), *(np.full((3, 4), 100, np.uint8),) * 2), YUV420, HD)
    out = painted(clip, clip, np.ones((5, 7), np.float32), "black")
    assert [plane.shape for plane in out.planes] == [(5, 7), (3, 4), (3, 4)] and (out.planes[1] == 128).all()


def test_keep_is_the_picture_itself():
    clip = flat(YUV420, HD, 90, 110, 140)
    assert painted(clip, clip, cover(), "keep") is clip
