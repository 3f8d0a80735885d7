"""Decoded frames -> arrays: planes with every sample unchanged, or a small luma."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from tasks.formats import is_planar_name, planar_format
from vsalign.picture import RANGE_FULL, ColourTags, Picture, Plane, SampleFormat

#: Every flag that makes swscale give the same samples on every machine.
_EXACT = Interpolation.ACCURATE_RND | Interpolation.BITEXACT
#: Limited-range luma -> full range.
_EXPANDED = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)


def picture_of(
    frame: av.VideoFrame, stream_colour: ColourTags, reformatter: VideoReformatter, layout: SampleFormat | None = None
) -> Picture:
    """A decoded frame as planar arrays that share its memory, not to be written to; every sample unchanged, alpha dropped; in
    another ``layout`` than its own if that is asked for. Raises InputError for float formats."""
    own, colour = planar_format(frame.format.name), _colour_of(frame, stream_colour)
    layout = layout or own
    if not is_planar_name(frame.format.name) or own != layout:
        frame = reformatter.reformat(frame, format=layout.name, interpolation=_EXACT, threads=1)
    return Picture(tuple(_plane(frame, i, layout) for i in range(layout.num_planes)), layout, colour)


def thumb_of(
    frame: av.VideoFrame, stream_colour: ColourTags, reformatter: VideoReformatter, width: int, height: int
) -> npt.NDArray[np.uint8]:
    """Luma (height, width) uint8, 0 black to 255 white, of a decoded frame, averaged down by area."""
    small = reformatter.reformat(
        frame,
        width=width,
        height=height,
        format="gray",
        interpolation=Interpolation.AREA | _EXACT,
        dst_color_range=ColorRange.JPEG,
        threads=1,
    )
    thumb = np.ascontiguousarray(_plane(small, 0, planar_format("gray")), np.uint8)
    layout, colour = planar_format(frame.format.name), _colour_of(frame, stream_colour)
    # swscale takes all gray for full range; here untagged gray is limited, as everywhere in this project
    return _EXPANDED[thumb] if layout.family == "gray" and colour.range != RANGE_FULL else thumb


def _plane(frame: av.VideoFrame, number: int, layout: SampleFormat) -> Plane:
    """One plane where it lies, kept alive by the array; not to be written to, for the decoder may predict other frames from it.
    Rows are contiguous, and may have a gap between them."""
    plane = frame.planes[number]
    dtype = np.dtype("<u2" if layout.bit_depth > 8 else np.uint8)
    rows: npt.NDArray[Any] = np.frombuffer(plane, dtype=dtype).reshape(plane.height, abs(plane.line_size) // dtype.itemsize)
    if plane.line_size < 0:  # upside down in memory, which torch does not take
        rows = rows[::-1].copy()
    return rows[:, : plane.width]


def _colour_of(frame: av.VideoFrame, stream: ColourTags) -> ColourTags:
    """The frame's own tags; what it leaves open is taken from the stream."""
    full = frame.format.name.startswith("yuvj")
    return ColourTags(
        primaries=_either(frame.color_primaries, stream.primaries, 2),
        transfer=_either(frame.color_trc, stream.transfer, 2),
        matrix=_either(frame.colorspace, stream.matrix, 2),
        range=RANGE_FULL if full else _either(frame.color_range, stream.range, 0),
        chroma_location=stream.chroma_location,
    )


def _either(own: int, otherwise: int, unspecified: int) -> int:
    return int(own) if own != unspecified else otherwise
