"""Interlaced and telecined films made of progressive ones, flagged truly or falsely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from tests.films import film

Frames = npt.NDArray[np.uint8]
NTSC = Fraction(30000, 1001)

FFV1: dict[str, str] = {"g": "1"}
X264 = {"preset": "veryfast", "crf": "18", "x264-params": "open-gop=1:bframes=3:keyint=12:scenecut=0:threads=1"}
X264_TFF = {"preset": "veryfast", "crf": "18", "x264-params": "tff=1:keyint=12:threads=1"}
X264_BFF = {"preset": "veryfast", "crf": "18", "x264-params": "bff=1:keyint=12:threads=1"}
MPEG2 = {"b": "4M", "g": "12", "bf": "2"}
MPEG2_FIELDS = MPEG2 | {"flags": "+ildct+ilme"}


def moving(num_frames: int, width: int = 160, height: int = 128, seed: int = 0, shot: int = 40) -> Frames:
    """(N, H, W): shots with a drift of about two pixels a frame."""
    return film(num_frames, width, height, shot, seed)


def woven(frames: Frames, top_first: bool = True) -> Frames:
    """(N // 2, H, W): each frame's lines from two consecutive pictures, as a camera gives them that scans fields."""
    first, second = frames[0 : len(frames) // 2 * 2 : 2], frames[1::2]
    return _mixed(first, second, top_first)


def pulled_down(frames: Frames, top_first: bool = True, phase: int = 0) -> Frames:
    """24 to 30 frames by 3:2 pull-down, fields of two moments in two of five frames; begins ``phase`` frames into the cycle."""
    shown = fields_of(len(frames), phase)
    return _mixed(frames[shown[0::2][: len(shown) // 2]], frames[shown[1::2]], top_first)


def fields_of(num_frames: int, phase: int = 0) -> npt.NDArray[np.int64]:
    """The picture that each field of :func:`pulled_down` is of."""
    times = np.where(np.arange(num_frames) % 2, 3, 2)
    return np.repeat(np.arange(num_frames), times)[2 * phase :]


def _mixed(first: Frames, second: Frames, top_first: bool) -> Frames:
    mixed = np.empty_like(first)
    mixed[:, 0::2] = (first if top_first else second)[:, 0::2]
    mixed[:, 1::2] = (second if top_first else first)[:, 1::2]
    return mixed


def write(
    path: Path,
    frames: Frames,
    codec: str = "ffv1",
    options: Mapping[str, str] = FFV1,
    *,
    rate: Fraction = NTSC,
    pixel_format: str = "yuv420p",
    pts: Sequence[int] | None = None,
) -> Path:
    """``frames`` as luma; every chroma line shows its field too, being the luma line's mean over two columns."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, options=dict(options))
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        context.height, context.width = frames.shape[1:]
        context.pix_fmt, context.thread_count = pixel_format, 1
        context.time_base = 1 / rate
        for n, luma in enumerate(frames):
            frame = _coloured(luma, pixel_format)
            frame.pts = n if pts is None else pts[n]
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def write_packed(path: Path, frames: Frames) -> Path:
    """``frames`` as luma of packed 4:2:2 without compression, gray."""
    with av.open(str(path), "w", format="nut") as out:
        stream = out.add_stream("rawvideo", rate=NTSC)
        assert isinstance(stream, av.VideoStream)
        stream.codec_context.height, stream.codec_context.width = frames.shape[1:]
        stream.codec_context.pix_fmt = "yuyv422"
        for n, luma in enumerate(frames):
            packed = np.stack([luma, np.full_like(luma, 128)], axis=-1)
            frame = av.VideoFrame.from_ndarray(packed, format="yuyv422")
            frame.pts = n
            out.mux(stream.encode(frame))
    return path


def _coloured(luma: npt.NDArray[np.uint8], pixel_format: str) -> av.VideoFrame:
    height, width = luma.shape
    frame = av.VideoFrame(width, height, pixel_format)
    # chroma line n of a field belongs to the field's luma lines 2n and 2n + 1
    fields = luma.reshape(height // 4, 2, 2, width // 2, 2).mean(axis=(1, 4)).reshape(height // 2, width // 2)
    planes: list[npt.NDArray[Any]] = [luma, fields, 255 - fields]
    if len(frame.planes) == 1:
        planes = planes[:1]
    if pixel_format.startswith("yuv422p"):
        planes[1:] = [np.repeat(plane, 2, axis=0) for plane in planes[1:]]
    deep = pixel_format.endswith("10le")
    for plane, samples in zip(frame.planes, planes, strict=True):
        values = samples.astype("<u2") * 4 if deep else samples.astype(np.uint8)
        padded = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
        padded[:, : values.shape[1]] = values
        plane.update(padded.tobytes())
    return frame
