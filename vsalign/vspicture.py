"""A VapourSynth frame as a :class:`vsalign.picture.Picture`, whose samples are its own, and back.

Frames come in as objects of that package, which is not imported here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vsalign.picture import (
    MATRIX_UNSPECIFIED,
    RANGE_FULL,
    RANGE_LIMITED,
    ColourTags,
    Picture,
    SampleFormat,
)
from vsalign.vsframe import Frame, is_float

#: A picture has its RGB planes in FFmpeg's order G, B, R.
_GBR = (1, 2, 0)
_SUBSAMPLING = {(0, 0): "444", (1, 0): "422", (1, 1): "420", (2, 0): "411", (2, 2): "410", (0, 1): "440"}


def picture_of(frame: Frame, copied: bool = True) -> Picture:
    """``frame``'s planes, floats as float32 (black 0, white 1, chroma about 0), with what its props tell.

    Unless ``copied`` they may be views, which must not be kept longer than the frame.
    """
    order = _GBR if frame.format.color_family.name == "RGB" else range(frame.format.num_planes)
    planes = tuple(_plane(np.asarray(frame[index]), copied) for index in order)
    return Picture(planes, sample_format_of(frame.format), _colour_of(frame))


def sample_format_of(format: Any) -> SampleFormat:
    """The layout of ``format`` (vapoursynth.VideoFormat); floats have a bit depth of 32 whatever the frame's."""
    family = {"RGB": "rgb", "YUV": "yuv", "GRAY": "gray"}[format.color_family.name]
    shifts = (format.subsampling_w, format.subsampling_h)
    floats = is_float(format)
    bits = 32 if floats else format.bits_per_sample
    depth = "f32le" if floats else f"{bits}le" if bits > 8 else ""
    stem = {"rgb": "gbrp", "gray": "gray", "yuv": f"yuv{_SUBSAMPLING.get(shifts, '4xx')}p"}[family]
    return SampleFormat(stem + depth, family, bits, format.num_planes, *shifts)


def put(picture: Picture, frame: Frame) -> None:
    """Copy the planes of ``picture`` into a writable ``frame`` of the same layout."""
    for index, plane in zip(_GBR if picture.format.family == "rgb" else range(3), picture.planes, strict=False):
        np.copyto(np.asarray(frame[index]), plane)


def _plane(plane: Any, copied: bool) -> Any:
    if plane.dtype.kind == "f":
        return plane.astype(np.float32)
    return np.array(plane, order="C") if copied else plane


def _colour_of(frame: Frame) -> ColourTags:
    props = frame.props
    full = props.get("_Range")
    return ColourTags(
        primaries=int(props.get("_Primaries", 2)),
        transfer=int(props.get("_Transfer", 2)),
        matrix=int(props.get("_Matrix", MATRIX_UNSPECIFIED)),
        range=0 if full is None else RANGE_FULL if int(full) == 1 else RANGE_LIMITED,
        chroma_location=int(props.get("_ChromaLocation", -1)) + 1,  # FFmpeg counts from 1, 0 is not said
    )
