"""The same samples in another layout: planes <-> the packed and high-aligned formats of GPUs and some encoders.

A GPU keeps chroma interleaved (NV12) and more than 8 bits at the upper end of 16 (P010, P016, 4:4:4 of 16 bits): what FFmpeg
calls 16 bits then has zeros in its lowest ones. No sample changes.
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt

from tasks.formats import planar_format
from vsalign.picture import Picture

#: Formats that a GPU's decoder hands out, and how many planes they have.
_FROM_GPU = {
    **dict.fromkeys(("nv12", "p010le", "p012le", "p016le"), 2),
    **dict.fromkeys(("yuv444p", "yuv444p16le", "yuv444p10msble", "yuv444p12msble"), 3),
}


def packed(picture: Picture, own_format: str) -> av.VideoFrame:
    """``picture`` as a frame of the encoder's own format (bgr0, p010le or yuv444p16le)."""
    frame = av.VideoFrame(picture.width, picture.height, own_format)
    shift = 16 - picture.format.bit_depth
    if own_format == "bgr0":
        green, blue, red = picture.planes
        pixels = _rows(frame.planes[0], np.uint8)[:, : 4 * picture.width].reshape(picture.height, picture.width, 4)
        pixels[..., 0], pixels[..., 1], pixels[..., 2], pixels[..., 3] = blue, green, red, 0
    elif own_format == "p010le":
        luma, blue, red = (np.left_shift(plane, shift, dtype=np.uint16) for plane in picture.planes)
        _rows(frame.planes[0], np.uint16)[:, : picture.width] = luma
        chroma = _rows(frame.planes[1], np.uint16)
        chroma[:, 0 : 2 * blue.shape[1] : 2], chroma[:, 1 : 2 * red.shape[1] : 2] = blue, red
    else:
        for plane, samples in zip(frame.planes, picture.planes, strict=True):
            _rows(plane, np.uint16)[:, : samples.shape[1]] = np.left_shift(samples, shift, dtype=np.uint16)
    frame.colorspace, frame.color_range = picture.colour.matrix, picture.colour.range
    return frame


def planar(frame: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
    """A frame as a GPU gave it in ``pixel_format``, the planar one that a software decoder gives for this stream; time and tags
    are the frame's, flags of damage are lost. Raises ValueError where the GPU's format is none that holds those samples."""
    wanted, name = planar_format(pixel_format), frame.format.name
    if name == pixel_format:
        return frame
    if name not in _FROM_GPU or (_FROM_GPU[name] == 2) != ((wanted.log2_chroma_w, wanted.log2_chroma_h) == (1, 1)):
        raise ValueError(f"frames came as {name}, expected {pixel_format}")
    made = av.VideoFrame(frame.width, frame.height, pixel_format)
    deep = wanted.bit_depth > 8
    if deep != (name not in ("nv12", "yuv444p")):
        raise ValueError(f"frames came as {name}, expected {pixel_format}")
    dtype: npt.DTypeLike = np.uint16 if deep else np.uint8
    shift = 16 - wanted.bit_depth if deep else 0
    planes = [_rows(plane, dtype) for plane in frame.planes]
    if len(planes) == 2:
        planes = [planes[0], planes[1][:, 0::2], planes[1][:, 1::2]]
    for number, (into, samples) in enumerate(zip(made.planes, planes, strict=True)):
        width, height = wanted.plane_size(number, frame.width, frame.height)
        _rows(into, dtype)[:height, :width] = samples[:height, :width] >> shift
    made.pts = frame.pts
    if frame.time_base is not None:
        made.time_base = frame.time_base
    made.colorspace, made.color_range = frame.colorspace, frame.color_range
    made.color_primaries, made.color_trc = frame.color_primaries, frame.color_trc
    return made


def _rows(plane: Any, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """All of a plane's memory, row by row, padding included."""
    size = np.dtype(dtype).itemsize
    return np.frombuffer(plane, dtype=dtype).reshape(-1, plane.line_size // size)
