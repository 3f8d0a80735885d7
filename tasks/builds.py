"""Which FFmpeg and which encoder libraries are at work here: what encoded bytes depend on beside PyAV's own version.

x264 and x265 sign a stream with their version; one gray frame tells it. SVT-AV1 signs nothing and is asked by its own C
function. What belongs to FFmpeg itself (FFV1, ProRes) has FFmpeg's version, and NVENC's is its driver's.
"""

from __future__ import annotations

import ctypes
import io
import re
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.codec.hwaccel import HWAccel

from tasks.codectable import CODECS
from tasks.errors import EncoderBusy
from tasks.nvenc import refusal
from tasks.openfilm import captured_log

#: How each encoder signs its streams, and options by which it does.
_SIGNED = {
    "libx264": (re.compile(rb"x264 - (core \d+(?: r\d+[\w+-]*)?(?: \w{7,40})?)"), {"x264-params": "threads=1"}),
    "libx265": (
        re.compile(rb"x265 (\(build \d+\) - [\w.+-]+)"),
        {"preset": "ultrafast", "x265-params": "info=1:log-level=none:pools=1:frame-threads=1"},
    ),
}
#: Large enough for every encoder's least size.
_WIDTH, _HEIGHT = 256, 144


@cache
def ffmpeg_version() -> str:
    """FFmpeg's own name of its build, and the versions of the libraries that make and read samples."""
    versions = av.library_versions
    parts = [f"{name} {'.'.join(map(str, versions[name]))}" for name in ("libavcodec", "libavformat", "libswscale")]
    return f"{av.ffmpeg_version_info} ({', '.join(parts)})"


@cache
def encoder_version(codec: str) -> str:
    """The version of an encoder's library; "" where it has none of its own, or tells none, or there is no such encoder."""
    with suppress(av.FFmpegError, ValueError, OSError):
        if codec in _SIGNED:
            pattern, options = _SIGNED[codec]
            found = pattern.search(_gray_frame(codec, options))
            return found[1].decode("ascii", "replace") if found else ""
        if codec == "libsvtav1":
            return _svt_version()
    return ""


def signed_encoders() -> dict[str, str]:
    """Versions of the encoder libraries that tell one, by FFmpeg's name of the encoder."""
    found = {codec: encoder_version(codec) for codec in (*_SIGNED, "libsvtav1")}
    return {codec: version for codec, version in found.items() if version}


def why_not(codec: str) -> str:
    """Why this machine can't open an encoder of hardware, in FFmpeg's words; "" where it can, or could if it had less to do."""
    rules = CODECS[codec]
    options = {rules.preset_option: rules.preset} if rules.preset else {}
    with captured_log(av.logging.WARNING) as log:
        try:
            _opened(codec, options | dict(rules.pinned))
            return ""
        except (av.FFmpegError, ValueError) as error:
            told = refusal(codec, [line[2] for line in log], str(error))
            if isinstance(told, EncoderBusy):
                return ""
            return " ".join((log[-1][2] if log else str(error)).split())


def no_hardware_decoding() -> str:
    """Why this machine can't decode H.264 on a GPU, in FFmpeg's words; "" where it can."""
    with captured_log(av.logging.WARNING) as log:
        try:
            with av.open(_h264_film(), "r", hwaccel=HWAccel("cuda", allow_software_fallback=False)) as film:
                return "" if list(film.decode(video=0)) else "no frame comes"
        except (av.FFmpegError, RuntimeError, NotImplementedError) as error:
            return " ".join((log[-1][2] if log else str(error)).split())


def _h264_film() -> io.BytesIO:
    film = io.BytesIO()
    with av.open(film, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        container.mux([*stream.encode(_gray("yuv420p")), *stream.encode(None)])
    film.seek(0)
    return film


def _opened(codec: str, options: dict[str, str]) -> av.VideoCodecContext:
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    listed = [f.name for f in context.codec.video_formats or ()]
    context.width, context.height, context.time_base = _WIDTH, _HEIGHT, Fraction(1, 25)
    context.pix_fmt = "yuv420p" if "yuv420p" in listed else listed[0]
    context.options = options
    context.open()
    return context


def _gray_frame(codec: str, options: dict[str, str]) -> bytes:
    context = _opened(codec, options)
    packets = [*context.encode(_gray(context.pix_fmt or "yuv420p")), *context.encode(None)]
    return (context.extradata or b"") + b"".join(bytes(packet) for packet in packets)


def _gray(pixel_format: str) -> av.VideoFrame:
    frame = av.VideoFrame(_WIDTH, _HEIGHT, pixel_format)
    for plane in frame.planes:
        np.frombuffer(plane, np.uint8)[:] = 128
    frame.pts = 0
    return frame


def _svt_version() -> str:
    """Of the library that this process has loaded, wherever it came from; "" where the system does not tell."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if "SvtAv1Enc" in line}
    for path in sorted(paths):
        library = ctypes.CDLL(path)
        with suppress(AttributeError):
            library.svt_av1_get_version.restype = ctypes.c_char_p
            return str(library.svt_av1_get_version().decode("ascii", "replace"))
    return ""
