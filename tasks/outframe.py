"""Picture -> FFmpeg frame in another pixel format, matrix and range."""

from __future__ import annotations

from functools import lru_cache

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from tasks.convert import Coding, coding_of, recoded
from tasks.dither import in_depth, lowered
from tasks.formats import planar_format
from tasks.packing import packed
from tasks.pictures import picture_of
from vsalign.picture import ColourTags, Picture, SampleFormat

_EXACT = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
_EXACT |= Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def converted(picture: Picture, pixel_format: str, colour: ColourTags, *, dithered: bool = True) -> Picture:
    """The picture's colours as samples of ``pixel_format`` (a planar one) in the matrix and range of ``colour``; ``dithered``
    False rounds to fewer bits, where samples are compared and not looked at."""
    reformatter = VideoReformatter()
    return picture_of(frame_in(picture, planar_format(pixel_format), colour, reformatter, dithered), colour, reformatter)


def own_frame(
    picture: Picture, layout: SampleFormat, own_format: str, colour: ColourTags, reformatter: VideoReformatter
) -> av.VideoFrame:
    """:func:`frame_in` for an encoder that takes ``layout``'s samples as ``own_format``, "" for as they are."""
    frame = frame_in(picture, layout, colour, reformatter)
    return packed(picture_of(frame, colour, reformatter), own_format) if own_format else frame


def frame_in(
    picture: Picture, layout: SampleFormat, colour: ColourTags, reformatter: VideoReformatter, dithered: bool = True
) -> av.VideoFrame:
    """A frame of its own with the picture's colours in ``layout``, and in the matrix and range of ``colour``."""
    want = coding_of(colour, layout, picture.height)
    if dithered and picture.format.bit_depth > layout.bit_depth:
        picture = _with_fewer_bits(picture, layout, colour, reformatter)
    picture = recoded(picture, layout, want)
    frame = _frame_of(picture)
    if picture.format.name == layout.name:
        return frame
    have = coding_of(picture.colour, picture.format, picture.height)
    return reformatter.reformat(
        frame,
        format=layout.name,
        interpolation=_EXACT,
        src_colorspace=have.matrix,
        dst_colorspace=want.matrix,
        src_color_range=_sws_range(have),
        dst_color_range=_sws_range(want),
        threads=1,
    )


def _with_fewer_bits(picture: Picture, layout: SampleFormat, colour: ColourTags, reformatter: VideoReformatter) -> Picture:
    """All that changes but the depth is done in the picture's own depth, so that what is dithered is seen as it is dithered."""
    deep = in_depth(layout, picture.format.bit_depth)
    whole = recoded(picture, deep, coding_of(colour, layout, picture.height))
    if whole.format.name != deep.name and _is_known(deep.name):
        whole = picture_of(frame_in(whole, deep, colour, reformatter), colour, reformatter)
    is_full = coding_of(whole.colour, whole.format, whole.height).full_range
    return lowered(whole, in_depth(whole.format, layout.bit_depth), is_full)


@lru_cache(maxsize=64)
def _is_known(pixel_format: str) -> bool:
    """FFmpeg has it: 4:1:1 and 4:1:0, say, are of 8 bits alone."""
    try:
        return bool(av.VideoFormat(pixel_format).name)
    except ValueError:
        return False


def _sws_range(coding: Coding) -> ColorRange:
    return ColorRange.JPEG if coding.full_range else ColorRange.MPEG


def _frame_of(picture: Picture) -> av.VideoFrame:
    frame = av.VideoFrame(picture.width, picture.height, picture.format.name)
    for plane, samples in zip(frame.planes, picture.planes, strict=True):
        rows = np.frombuffer(plane, dtype=samples.dtype).reshape(plane.height, plane.line_size // samples.dtype.itemsize)
        rows[:, : plane.width] = samples
    frame.colorspace, frame.color_range = picture.colour.matrix, picture.colour.range
    return frame
