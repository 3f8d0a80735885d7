"""Pictures as RGB, held against VapourSynth's own conversion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs

from tests.vsalign.vsnodes import node_of
from vsalign.picture import ColourTags, Picture, SampleFormat
from vsalign.rgb import to_rgb

CPU = torch.device("cpu")
HEIGHT, WIDTH = 48, 64
LAYOUTS = {"yuv444p": vs.YUV444P8, "yuv444p10le": vs.YUV444P10, "yuv444p16le": vs.YUV444P16, "yuv444pf32le": vs.YUV444PS}


def layout(name: str, shifts: tuple[int, int] = (0, 0)) -> SampleFormat:
    depth = next((bits for mark, bits in (("10", 10), ("16", 16), ("f32", 32)) if mark in name), 8)
    family = "yuv" if name.startswith("yuv") else "gray" if name.startswith("gray") else "rgb"
    return SampleFormat(name, family, depth, 1 if family == "gray" else 3, *shifts)


def vapoursynth_rgb(planes: list[Any], format: int, **how: Any) -> np.ndarray:
    node = node_of([planes], format).resize.Bilinear(format=vs.RGBS, transfer_in_s="709", transfer_s="709", **how)
    with node.get_frame(0) as frame:
        return np.stack([np.asarray(frame[index]) for index in range(3)]).clip(0, 1)


def noise(bits: int, shape: tuple[int, int] = (HEIGHT, WIDTH), count: int = 3) -> list[Any]:
    random = np.random.default_rng(0)
    if bits == 32:
        return [random.normal(0.4 if i == 0 else 0, 0.3, shape).astype(np.float32) for i in range(count)]
    return [random.integers(0, 1 << bits, shape).astype(np.uint8 if bits == 8 else np.uint16) for _ in range(count)]


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 9])
@pytest.mark.parametrize("name", LAYOUTS)
def test_yuv_of_any_matrix_range_and_depth(name: str, matrix: int, full: bool):
    planes = noise(layout(name).bit_depth)
    seen = to_rgb(Picture(tuple(planes), layout(name), ColourTags(matrix=matrix, range=2 if full else 1)), CPU)
    wanted = vapoursynth_rgb(planes, LAYOUTS[name], matrix_in=matrix, range_in=1 if full else 0)
    assert seen.shape == (1, 3, HEIGHT, WIDTH) and seen.dtype == torch.float32
    assert np.abs(seen[0].numpy() - wanted).max() < 1e-4


@pytest.mark.parametrize("height, matrix", [(576, 6), (720, 1)])
def test_untagged_yuv_is_read_by_its_height(height: int, matrix: int):
    planes = noise(8, (height, 16))
    plain, tagged = (Picture(tuple(planes), layout("yuv444p"), ColourTags(matrix=m)) for m in (2, matrix))
    other = Picture(tuple(planes), layout("yuv444p"), ColourTags(matrix=7 - matrix))
    assert torch.equal(to_rgb(plain, CPU), to_rgb(tagged, CPU)) and not torch.equal(to_rgb(plain, CPU), to_rgb(other, CPU))


@pytest.mark.parametrize("shifts, format", [((1, 1), vs.YUV420P8), ((1, 0), vs.YUV422P8), ((2, 0), vs.YUV411P8)])
@pytest.mark.parametrize("location, theirs", [(1, 0), (2, 1), (3, 2), (0, 0)], ids=["left", "center", "topleft", "untagged"])
def test_chroma_is_brought_to_luma_from_where_it_lies(shifts: tuple[int, int], format: int, location: int, theirs: int):
    chroma_height, chroma_width = HEIGHT >> shifts[1], WIDTH >> shifts[0]
    y, x = np.mgrid[:chroma_height, :chroma_width]
    slope = (60 + 120 * x / chroma_width + 40 * y / chroma_height).astype(np.uint8)
    planes = [np.full((HEIGHT, WIDTH), 120, np.uint8), slope, 255 - slope]
    name = {(1, 1): "yuv420p", (1, 0): "yuv422p", (2, 0): "yuv411p"}[shifts]
    picture = Picture(tuple(planes), layout(name, shifts), ColourTags(matrix=1, range=1, chroma_location=location))
    seen = to_rgb(picture, CPU)[0].numpy()
    errors = [
        np.abs(seen - vapoursynth_rgb(planes, format, matrix_in=1, range_in=0, chromaloc_in=at))[:, 8:-8, 8:-8].mean()
        for at in range(3)
    ]
    assert errors[theirs] < 2e-3 and errors[theirs] == min(errors)


def test_odd_sizes_have_chroma_up_to_their_last_column():
    planes = (np.full((47, 63), 81, np.uint8), np.full((24, 32), 90, np.uint8), np.full((24, 32), 240, np.uint8))
    rgb = to_rgb(Picture(planes, layout("yuv420p", (1, 1)), ColourTags(matrix=6, range=1)), CPU)
    assert rgb.shape == (1, 3, 47, 63)
    assert (rgb - torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)).abs().max() < 0.01


def test_rgb_planes_come_in_the_order_green_blue_red():
    green, blue, red = noise(8)
    rgb = to_rgb(Picture((green, blue, red), layout("gbrp")), CPU)[0]
    assert torch.equal(rgb * 255, torch.from_numpy(np.stack([red, green, blue]).astype(np.float32)) / 255 * 255)


@pytest.mark.parametrize("full, black, white", [(False, 64, 940), (True, 0, 1023)])
def test_gray_is_three_equal_channels_cut_at_black_and_white(full: bool, black: int, white: int):
    codes = np.array([[0, black, (black + white) // 2, white, 1023]], np.uint16)
    rgb = to_rgb(Picture((codes,), layout("gray10le"), ColourTags(range=2 if full else 1)), CPU)
    assert rgb[0, 0, 0].tolist() == pytest.approx([0, 0, 0.5, 1, 1], abs=1e-3)
    assert torch.equal(rgb[:, 0], rgb[:, 1]) and torch.equal(rgb[:, 0], rgb[:, 2])


def test_samples_that_are_no_numbers_are_black():
    plane = np.array([[np.nan, -np.inf, np.inf, 0.5]], np.float32)
    rgb = to_rgb(Picture((plane, plane, plane), layout("gbrpf32le")), CPU)
    assert rgb[0, 1, 0].tolist() == [0, 0, 1, 0.5]
