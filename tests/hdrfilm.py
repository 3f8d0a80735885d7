"""HDR10 films made for tests, and what ffprobe says of a file."""

from __future__ import annotations

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from tasks.hdr import Hdr, Mastering

#: A display of P3 primaries, D65, from 0.005 to 1000 cd/m2.
P3_DISPLAY = Mastering(
    red=(Fraction(34000, 50000), Fraction(16000, 50000)),
    green=(Fraction(13250, 50000), Fraction(34500, 50000)),
    blue=(Fraction(7500, 50000), Fraction(3000, 50000)),
    white=(Fraction(15635, 50000), Fraction(16450, 50000)),
    min_luminance=Fraction(50, 10000),
    max_luminance=Fraction(1000),
)
HDR10 = Hdr(P3_DISPLAY, max_cll=1000, max_fall=400)
#: The same in x265's own words, written down by hand.
_X265 = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"


def write_hdr10(path: Path, frames: npt.NDArray[np.uint8], transfer: int = 16, rotation: int = 0) -> Path:
    """SDR gray ``frames`` (N,H,W) as 10 bit BT.2020 by libx265, its bitstream with what ``HDR10`` says.

    White of 203 cd/m2 in the codes of PQ (``transfer`` 16) or HLG (18); ``rotation`` clockwise.
    """
    light = 203 * (frames / 255.0) ** 2.4
    coded = pq_codes(light) if transfer == 16 else hlg_codes(light)
    with av.open(str(path), "w") as out:
        params = f"{_X265}:log-level=error:pools=1:frame-threads=1"
        stream = out.add_stream("libx265", rate=24, options={"preset": "ultrafast", "crf": "8", "x265-params": params})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, transfer, 9, 1
        stream.set_display_rotation(-rotation)
        for n, picture in enumerate(coded):
            frame = av.VideoFrame(frames.shape[2], frames.shape[1], "yuv420p10le")
            for plane, samples in zip(frame.planes, (64 + 876 * picture, 512, 512), strict=True):
                rows = np.frombuffer(plane, np.uint16).reshape(plane.height, -1)
                rows[:, : plane.width] = np.round(samples)
            frame.pts = n
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def pq_codes(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """cd/m2 -> [0, 1], as SMPTE ST 2084 defines it."""
    power = (light / 10000) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375, dtype=np.float64)


def hlg_codes(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """cd/m2 on a display of 1000 -> [0, 1], as ITU-R BT.2100 defines it."""
    scene = (light / 1000) ** (1 / 1.2)
    upper = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)


def ffprobe(path: Path | str, *show: str) -> dict[str, Any]:
    """What Debian's ffprobe says of the first video stream (or ``show``); the test is skipped where there is none."""
    if not shutil.which("ffprobe"):
        pytest.skip("no ffprobe on this machine")
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", *(show or ("-show_streams",)), "-of", "json", str(path)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return dict(next(iter(found.values()))[0])


def side_data(found: dict[str, Any], name: str) -> dict[str, Any]:
    """The side data of that type, {} where there is none."""
    return next((data for data in found.get("side_data_list", ()) if data.get("side_data_type") == name), {})


def numbers(data: dict[str, Any]) -> dict[str, float]:
    """ffprobe's fractions as floats."""
    return {key: float(Fraction(value)) for key, value in data.items() if key != "side_data_type"}


#: What ffprobe calls the numbers of ``P3_DISPLAY``.
P3_NUMBERS = {
    "red_x": 0.68,
    "red_y": 0.32,
    "green_x": 0.265,
    "green_y": 0.69,
    "blue_x": 0.15,
    "blue_y": 0.06,
    "white_point_x": 0.3127,
    "white_point_y": 0.329,
    "min_luminance": 0.005,
    "max_luminance": 1000.0,
}
