import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
import torch

from vsalign.picture import CHROMA_CENTER, CHROMA_LEFT, CHROMA_TOPLEFT, ColourTags, Picture, SampleFormat
from vsalign.planes import chroma_positions, warp_picture, warp_plane
from vsalign.warp import Warp, apply_warp, scale_positions

HEIGHT, WIDTH = 48, 64


def sample_format(log2_w: int = 1, log2_h: int = 1, bits: int = 8) -> SampleFormat:
    return SampleFormat(f"yuv{log2_w}{log2_h}p{bits}", "yuv", bits, 3, log2_w, log2_h)


def samples(values: npt.NDArray[np.float64], bits: int) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    codes = np.round(values * ((1 << bits) - 1))
    return codes.astype(np.uint8) if bits == 8 else codes.astype(np.uint16)


def scene(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], phase: float = 0.0) -> npt.NDArray[np.float64]:
    """A smooth picture, in [0, 1], known at every position in luma pixels."""
    return 0.5 + 0.22 * np.sin(x / 4.1 + phase) * np.cos(y / 5.3) + 0.2 * np.sin((x + 2 * y) / 9 + phase)


def picture(format: SampleFormat, location: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Picture:
    """The scene sampled where ``location`` puts the chroma samples."""
    planes = []
    for index in range(3):
        w, h = format.plane_size(index, width, height)
        step_x, step_y = (1 << format.log2_chroma_w, 1 << format.log2_chroma_h) if index else (1, 1)
        x = np.arange(w) * step_x + ((step_x - 1) / 2 if location == CHROMA_CENTER else 0)
        y = np.arange(h) * step_y + (0 if location == CHROMA_TOPLEFT else (step_y - 1) / 2)
        planes.append(samples(scene(x[None, :], y[:, None], index), format.bit_depth))
    return Picture(tuple(planes), format, ColourTags(chroma_location=location))


def warp_by(dx: float, dy: float, height: int = HEIGHT, width: int = WIDTH) -> Warp:
    positions = scale_positions((height, width), (height, width)) + torch.tensor([dx, dy]).view(1, 2, 1, 1)
    return Warp(positions, torch.ones(1, 1, height, width))


def curved_warp() -> Warp:
    positions = scale_positions((HEIGHT, WIDTH), (HEIGHT, WIDTH))
    bend = torch.sin(positions[:, 1:] / 11) * 1.7 + 0.02 * positions[:, :1]
    return Warp(positions + torch.cat([bend, -0.6 * bend], 1), torch.ones(1, 1, HEIGHT, WIDTH))


def largest_difference(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic], margin: int = 4) -> float:
    inner = slice(margin, -margin)
    return float(np.abs(a[inner, inner].astype(np.float64) - b[inner, inner]).max())


@pytest.mark.parametrize("bits", [8, 10, 16])
@pytest.mark.parametrize("log2", [(0, 0), (1, 0), (1, 1), (2, 0)])
@pytest.mark.parametrize("location", [0, CHROMA_CENTER, CHROMA_TOPLEFT])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (47, 63)])
def test_the_identity_warp_returns_the_very_samples(
    bits: int, log2: tuple[int, int], location: int, size: tuple[int, int]
) -> None:
    format, random = sample_format(*log2, bits), np.random.default_rng(1)
    planes = []
    for index in range(3):
        w, h = format.plane_size(index, size[1], size[0])
        planes.append(random.integers(0, 1 << bits, (h, w)).astype(np.uint8 if bits == 8 else np.uint16))
    before = Picture(tuple(planes), format, ColourTags(chroma_location=location))
    after = warp_picture(before, warp_by(0, 0, *size), size[1], size[0])
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(after.planes, before.planes, strict=True))
    assert (after.format, after.colour) == (before.format, before.colour)


def test_no_warp_and_the_same_size_is_the_picture_itself() -> None:
    before = picture(sample_format())
    assert warp_picture(before, None, WIDTH, HEIGHT) is before


def test_an_even_shift_moves_luma_and_subsampled_chroma_together_untouched() -> None:
    before = picture(sample_format())
    after = warp_picture(before, warp_by(4, -2), WIDTH, HEIGHT)
    assert np.array_equal(after.planes[0][2:, :-4], before.planes[0][:-2, 4:])
    assert np.array_equal(after.planes[1][1:, :-2], before.planes[1][:-1, 2:])


@pytest.mark.parametrize("location", [0, CHROMA_LEFT, CHROMA_CENTER, CHROMA_TOPLEFT])
@pytest.mark.parametrize("log2", [(1, 1), (1, 0)])
def test_warping_subsampled_chroma_equals_warping_full_chroma_and_then_subsampling(
    location: int, log2: tuple[int, int]
) -> None:
    warp = curved_warp()
    full = warp_picture(picture(sample_format(0, 0, 16)), warp, WIDTH, HEIGHT)
    sub = warp_picture(picture(sample_format(*log2, 16), location), warp, WIDTH, HEIGHT)
    plane = full.planes[1].astype(np.float64)
    if log2[1]:
        plane = plane[::2] if location == CHROMA_TOPLEFT else (plane[::2] + plane[1::2]) / 2
    plane = (plane[:, ::2] + plane[:, 1::2]) / 2 if location == CHROMA_CENTER else plane[:, ::2]
    # A quarter of a pixel of wrong siting is 3 to 5 % of the range here.
    assert largest_difference(sub.planes[1], plane) < 0.01 * 65535


def test_untagged_chroma_is_left_sited() -> None:
    untagged = picture(sample_format(bits=16))
    left = dataclasses.replace(untagged, colour=ColourTags(chroma_location=CHROMA_LEFT))
    center = dataclasses.replace(untagged, colour=ColourTags(chroma_location=CHROMA_CENTER))
    seen = [warp_picture(p, None, WIDTH * 2, HEIGHT * 2).planes[1] for p in (untagged, left, center)]
    assert np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])


def test_bit_depths_agree() -> None:
    warp = curved_warp()
    outputs = [warp_picture(picture(sample_format(bits=bits)), warp, WIDTH, HEIGHT) for bits in (8, 10, 16)]
    for plane in range(3):
        unit = [
            out.planes[plane].astype(np.float64) / ((1 << bits) - 1) for out, bits in zip(outputs, (8, 10, 16), strict=True)
        ]
        assert np.abs(unit[0] - unit[2]).max() < 1.6 / 255
        assert np.abs(unit[1] - unit[2]).max() < 1.6 / 1023


@pytest.mark.parametrize("target", [(96, 128), (33, 40)])
def test_a_change_of_size_shows_the_same_scene_in_every_plane(target: tuple[int, int]) -> None:
    height, width = target
    before = picture(sample_format(bits=16))
    after = warp_picture(before, None, width, height)
    assert [p.shape for p in after.planes] == [(height, width), *[((height + 1) // 2, (width + 1) // 2)] * 2]
    for index in range(3):
        step = 2 if index else 1
        h, w = after.planes[index].shape
        x = (np.arange(w) * step + 0.5) * WIDTH / width - 0.5
        y = (np.arange(h) * step + (step - 1) / 2 + 0.5) * HEIGHT / height - 0.5
        expected = np.round(scene(x[None, :], y[:, None], index) * 65535)
        assert largest_difference(after.planes[index], expected) < 0.03 * 65535


def test_results_are_rounded_to_nearest_and_stay_within_the_codes() -> None:
    format = SampleFormat("gray10le", "gray", 10, 1)
    ramp = np.tile((np.arange(WIDTH) * 4).astype(np.uint16), (HEIGHT, 1))
    after = warp_picture(Picture((ramp,), format), warp_by(0.4, 0), WIDTH, HEIGHT)
    assert np.array_equal(after.planes[0][5, 4:-4], ramp[5, 4:-4] + 2), "4 x 0.4 = 1.6 rounds up"
    extremes = np.where(np.indices((HEIGHT, WIDTH)).sum(0) % 7 < 3, 0, 1023).astype(np.uint16)
    moved = warp_picture(Picture((extremes,), format), warp_by(0.5, 0.5), WIDTH, HEIGHT).planes[0]
    assert moved.min() >= 0
    assert moved.max() <= 1023


def test_rgb_planes_all_move_like_luma() -> None:
    plane = picture(sample_format()).planes[0]
    after = warp_picture(Picture((plane,) * 3, SampleFormat("gbrp", "rgb", 8, 3)), curved_warp(), WIDTH, HEIGHT)
    assert np.array_equal(after.planes[0], after.planes[1])
    assert np.array_equal(after.planes[0], after.planes[2])


def test_a_warp_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"32x32"):
        warp_picture(picture(sample_format()), warp_by(0, 0), 32, 32)
    double = warp_by(0, 0)
    double = Warp(double.clip_from_ref.repeat(2, 1, 1, 1), double.confidence.repeat(2, 1, 1, 1))
    with pytest.raises(ValueError, match="warp has shape"):
        warp_picture(picture(sample_format()), double, WIDTH, HEIGHT)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_float_planes_are_neither_rounded_nor_held_in_a_range(kind: type[np.floating]) -> None:
    plane = np.random.default_rng(2).normal(0.5, 3, (HEIGHT, WIDTH)).astype(kind)
    still = warp_plane(plane, warp_by(0, 0).clip_from_ref[0])
    assert still.dtype == np.float32
    assert np.array_equal(still.astype(kind), plane)
    flat = warp_plane(np.full((HEIGHT, WIDTH), -0.37, kind), curved_warp().clip_from_ref[0])
    assert np.abs(flat - float(kind(-0.37))).max() < 1e-6
    moved = warp_plane(plane, warp_by(0.5, 0).clip_from_ref[0])
    assert moved.min() < -2
    assert moved.max() > 3


def test_full_chroma_lies_where_luma_lies() -> None:
    positions = curved_warp().clip_from_ref[0]
    assert chroma_positions(positions, (0, 0), CHROMA_CENTER) is positions
    assert chroma_positions(positions, (1, 0), CHROMA_LEFT).shape == (2, HEIGHT, WIDTH // 2)


@pytest.mark.parametrize("rows", [1, 7, 32, 33, 64])
@pytest.mark.parametrize(("name", "depth"), [("yuv420p", 8), ("yuv444p10le", 10), ("gray", 8)])
@pytest.mark.parametrize("scale", [1.0, 0.37, 2.6])
def test_resampling_in_bands_gives_the_very_samples(rows: int, name: str, depth: int, scale: float):
    """Whatever the height of the bands, also where the clip is low-passed first and where positions lie outside of it."""
    random, (height, width) = np.random.default_rng(rows), (64, 50)
    shifts = (1, 1) if "420" in name else (0, 0)
    family, planes = ("gray", 1) if name == "gray" else ("yuv", 3)
    layout = SampleFormat(name, family, depth, planes, *shifts)
    size = (round(height * scale) + 4, round(width * scale) + 2)
    dtype = np.uint8 if depth == 8 else np.uint16

    def plane(index: int) -> np.ndarray:
        h, w = (
            -(-side >> 0) if index == 0 else -(-side // (1 << shift)) for side, shift in zip(size, shifts[::-1], strict=True)
        )
        return random.integers(0, 1 << depth, (h, w)).astype(dtype)

    picture = Picture(tuple(plane(n) for n in range(planes)), layout, ColourTags())
    positions = scale_positions(size, (height, width)) + torch.from_numpy(random.normal(0, 3, (1, 2, height, width))).float()
    warp = Warp(positions, torch.ones(1, 1, height, width))
    whole, banded = warp_picture(picture, warp, width, height), warp_picture(picture, warp, width, height, rows)
    for one, other in zip(whole.planes, banded.planes, strict=True):
        assert one.dtype == other.dtype and np.array_equal(one, other)
    image = torch.rand(1, 3, *size)
    for one, other in zip(apply_warp(image, warp), apply_warp(image, warp, rows), strict=True):
        assert torch.equal(one, other)
