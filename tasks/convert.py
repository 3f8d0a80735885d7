"""What samples mean, and the same colours in another matrix or range: arithmetic on planes, no I/O and no FFmpeg.

swscale is not used for this. Between two YUV matrices it goes through RGB, which cuts codes above white and blurs the chroma
of subsampled pictures; from 10 bits and full range it is 3 codes off; and it takes all gray for full range.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vsalign.picture import (
    CHROMA_CENTER,
    CHROMA_TOP,
    CHROMA_TOPLEFT,
    LUMA_WEIGHTS,
    MATRIX_BT601,
    MATRIX_BT709,
    MATRIX_UNSPECIFIED,
    RANGE_FULL,
    RANGE_LIMITED,
    ColourTags,
    Picture,
    Plane,
    SampleFormat,
)

_Samples = npt.NDArray[np.float32] | npt.NDArray[np.float64]

MATRIX_RGB = 0
#: Numbers that share their weights with another one.
_SAME_WEIGHTS = {MATRIX_BT601: 5, 10: 9}
_CHROMA_BOTTOMLEFT, _CHROMA_BOTTOM = 5, 6


@dataclass(frozen=True, slots=True)
class Coding:
    """How samples are read, nothing left open; ``matrix`` is AVColorSpace, 5 for all of BT.601 and 9 for all of BT.2020
    (where both agree with swscale's own numbers)."""

    matrix: int
    full_range: bool


def coding_of(colour: ColourTags, layout: SampleFormat, height: int) -> Coding:
    """What players make of the tags: an unspecified matrix is BT.709 from 720 lines on, else BT.601, and YUV and gray are
    limited; RGB is full."""
    if layout.family == "rgb":
        return Coding(MATRIX_RGB, True)
    matrix = colour.matrix
    if matrix in (MATRIX_RGB, MATRIX_UNSPECIFIED):
        matrix = MATRIX_BT709 if height >= 720 else MATRIX_BT601
    return Coding(_SAME_WEIGHTS.get(matrix, matrix), colour.range == RANGE_FULL or layout.name.startswith("yuvj"))


def recoded(picture: Picture, layout: SampleFormat, coding: Coding) -> Picture:
    """The picture's colours as ``coding`` writes them, every sample to the nearest code; itself where nothing differs.

    To or from gray it comes back in ``layout``; YUV for YUV comes back with the chroma resolution it has, in ``layout`` where
    that has the same. RGB for YUV, or YUV for RGB, is left as it is.
    """
    have = coding_of(picture.colour, picture.format, picture.height)
    families = (picture.format.family, layout.family)
    if "gray" in families:
        kept = picture.format.name == layout.name and have.full_range == coding.full_range
        return picture if kept else _by_luma(picture, have, layout, coding)
    return picture if families != ("yuv", "yuv") or have == coding else _yuv(picture, have, layout, coding)


def _tagged(planes: tuple[Plane, ...], layout: SampleFormat, colour: ColourTags, coding: Coding) -> Picture:
    tags = replace(colour, matrix=coding.matrix, range=RANGE_FULL if coding.full_range else RANGE_LIMITED)
    return Picture(planes, layout, tags)


# --- gray on one side: only luma counts


def _by_luma(picture: Picture, have: Coding, layout: SampleFormat, want: Coding) -> Picture:
    old, new = picture.format.bit_depth, layout.bit_depth
    if picture.format.family == "rgb":
        luma = _rounded(_scaled_luma(_luma_of_rgb(picture, want.matrix), old, have, new, want), new)
    else:
        luma = _rounded(_scaled_luma(_all_codes(old), old, have, new, want), new)[picture.planes[0]]
    return _tagged(_around(luma, layout), layout, picture.colour, want)


def _luma_of_rgb(picture: Picture, matrix: int) -> npt.NDArray[np.float64]:
    red_weight, blue_weight = LUMA_WEIGHTS.get(matrix, LUMA_WEIGHTS[MATRIX_BT709])
    green, blue, red = (plane.astype(np.float64) for plane in picture.planes)
    return np.asarray(green + red_weight * (red - green) + blue_weight * (blue - green), dtype=np.float64)


def _around(luma: Plane, layout: SampleFormat) -> tuple[Plane, ...]:
    """``luma`` as a colourless picture of any family."""
    if layout.family != "yuv":
        return (luma,) * layout.num_planes
    width, height = layout.plane_size(1, luma.shape[1], luma.shape[0])
    neutral = np.full((height, width), 1 << (layout.bit_depth - 1), dtype=luma.dtype)
    return luma, neutral, neutral


# --- YUV in another matrix or range


def _yuv(picture: Picture, have: Coding, layout: SampleFormat, want: Coding) -> Picture:
    old, new = picture.format, layout if _chroma_shifts(layout) == _chroma_shifts(picture.format) else picture.format
    codes = _scaled_luma(_all_codes(old.bit_depth), old.bit_depth, have, new.bit_depth, want)
    luma: _Samples = codes.astype(np.float32)[picture.planes[0]]
    zero, span = 1 << (old.bit_depth - 1), _chroma_span(old.bit_depth, have)
    blue, red = (_centred(plane, zero, span) for plane in picture.planes[1:3])
    if have.matrix != want.matrix and {have.matrix, want.matrix} <= LUMA_WEIGHTS.keys():
        lift, blue, red = _other_weights(blue, red, LUMA_WEIGHTS[have.matrix], LUMA_WEIGHTS[want.matrix])
        luma = luma + _at_luma(lift, picture) * _luma_span(new.bit_depth, want)[1]
    zero, span = 1 << (new.bit_depth - 1), _chroma_span(new.bit_depth, want)
    planes = (luma, blue * span + zero, red * span + zero)
    return _tagged(tuple(_rounded(plane, new.bit_depth) for plane in planes), new, picture.colour, want)


def _centred(chroma: Plane, zero: int, span: int) -> _Samples:
    return np.asarray((chroma.astype(np.float32) - zero) / span, dtype=np.float32)


def _chroma_shifts(layout: SampleFormat) -> tuple[int, int]:
    return layout.log2_chroma_w, layout.log2_chroma_h


def _other_weights(
    blue: _Samples, red: _Samples, old: tuple[float, float], new: tuple[float, float]
) -> tuple[_Samples, _Samples, _Samples]:
    """(what is added to luma, Cb, Cr) for Cb and Cr of other weights, all with white 1 and chroma within 0.5 of 0.

    No luma is needed: R, G and B are its own value plus what chroma says, and all weights sum to 1.
    """
    red_above, blue_above = 2 * (1 - old[0]) * red, 2 * (1 - old[1]) * blue
    green_above = -(old[0] * red_above + old[1] * blue_above) / (1 - old[0] - old[1])
    lift = new[0] * red_above + new[1] * blue_above + (1 - new[0] - new[1]) * green_above
    return lift, (blue_above - lift) / (2 * (1 - new[1])), (red_above - lift) / (2 * (1 - new[0]))


def _at_luma(field: _Samples, picture: Picture) -> _Samples:
    """A field known at the chroma samples, linear between them, at every luma sample; untagged chroma lies left."""
    location = picture.colour.chroma_location
    across = 0.5 if location in (CHROMA_CENTER, CHROMA_TOP, _CHROMA_BOTTOM) else 0.0
    down = {CHROMA_TOPLEFT: 0.0, CHROMA_TOP: 0.0, _CHROMA_BOTTOMLEFT: 1.0, _CHROMA_BOTTOM: 1.0}.get(location, 0.5)
    wide = _spread(field, picture.width, 1 << picture.format.log2_chroma_w, across, axis=1)
    return _spread(wide, picture.height, 1 << picture.format.log2_chroma_h, down, axis=0)


def _spread(field: _Samples, length: int, step: int, siting: float, axis: int) -> _Samples:
    if step == 1:
        return field
    last = field.shape[axis] - 1
    where = np.clip((np.arange(length) - siting * (step - 1)) / step, 0, last)
    first = where.astype(np.intp)
    fraction = (where - first).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
    low, high = field.take(first, axis), field.take(np.minimum(first + 1, last), axis)
    return np.asarray(low + (high - low) * fraction, dtype=np.float32)


# --- codes


def _all_codes(depth: int) -> npt.NDArray[np.float64]:
    return np.arange(1 << depth, dtype=np.float64)


def _luma_span(depth: int, coding: Coding) -> tuple[int, int]:
    """(code of black, codes from black to white)."""
    step = 1 << (depth - 8)
    return (0, (1 << depth) - 1) if coding.full_range else (16 * step, 219 * step)


def _chroma_span(depth: int, coding: Coding) -> int:
    return (1 << depth) - 1 if coding.full_range else 224 << (depth - 8)


def _scaled_luma(
    codes: npt.NDArray[np.float64], depth: int, have: Coding, new_depth: int, want: Coding
) -> npt.NDArray[np.float64]:
    """Luma codes on another scale, not yet rounded: between limited depths a shift, between full ones white stays white."""
    (black, span), (new_black, new_span) = _luma_span(depth, have), _luma_span(new_depth, want)
    return np.asarray((codes - black) * new_span / span + new_black, dtype=np.float64)


def _rounded(codes: _Samples, depth: int) -> Plane:
    nearest = np.clip(np.floor(codes + 0.5), 0, (1 << depth) - 1)
    return nearest.astype(np.uint8) if depth <= 8 else nearest.astype(np.uint16)
