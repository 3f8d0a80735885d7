"""Decoding on the GPU: for which films, and what is told of it. Nothing that is decoded may differ by a sample.

A standard fixes every sample that a decoder of H.264, HEVC or VP9 gives, so hardware gives what software does. MPEG-2, MPEG-4
part 2 and JPEG leave the inverse transform's rounding open: those stay in software. So does what NVDEC does not take, and what
nobody has looked through, for NVDEC shows damaged pictures without a word.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from tasks.formats import planar_format
from tasks.messages import MediaInfo, ReadSettings, Role

Facts = dict[str, float | int | str]

#: By codec: the pixel formats that NVDEC decodes on every GPU since Turing, and FFmpeg through it.
_TAKEN = {
    "h264": ("yuv420p", "yuvj420p"),
    "hevc": ("yuv420p", "yuvj420p", "yuv420p10le", "yuv420p12le", "yuv444p", "yuv444p10le", "yuv444p12le"),
    "vp9": ("yuv420p", "yuv420p10le", "yuv420p12le"),
}
#: Codecs with a hardware decoder that stay in software, and why.
_NOT_EXACT = dict.fromkeys(("mpeg1video", "mpeg2video", "mpeg4", "mjpeg", "vc1", "wmv3"), "its standard lets decoders differ")
_NOT_HERE = {"av1": "its decoder here has no hardware", "vp8": "not tried with hardware"}
#: Whole films that every frame of has been looked at in software by the time they are rendered.
_SCANNED: tuple[Role, ...] = ("clip", "ref")


def why_software(info: MediaInfo) -> str:
    """ "" for a film whose every sample comes out the same on the GPU, else why it stays in software, in a clause."""
    if info.codec in _NOT_EXACT:
        return _NOT_EXACT[info.codec]
    if info.codec in _NOT_HERE:
        return _NOT_HERE[info.codec]
    if info.codec not in _TAKEN:
        return f"no NVDEC for {info.codec}"
    if info.pixel_format in _TAKEN[info.codec]:
        return ""
    layout = planar_format(info.pixel_format)
    chroma = {(0, 0): "4:4:4", (1, 0): "4:2:2", (1, 1): "4:2:0"}.get((layout.log2_chroma_w, layout.log2_chroma_h), "its chroma")
    what = layout.family if layout.family != "yuv" else f"{chroma} of {layout.bit_depth} bits"
    return f"no NVDEC for {info.codec} {what}"


def read_of(role: Role, read: ReadSettings) -> ReadSettings:
    """``read`` for one film of a job: only those that were scanned may be decoded on the GPU."""
    return read if role in _SCANNED else replace(read, hwaccel="none")


def gpu_is_here() -> bool:
    """This worker computes on a GPU. Looks only where torch is loaded: what needs no torch has no GPU either."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_available())


# --- what is told of one attempt at a unit, from :func:`forget_told` to :func:`decode_facts`


@dataclass(slots=True)
class _Told:
    frames: int = 0
    fault: str = ""


_told: dict[str, _Told] = {}


def forget_told() -> None:
    """What an attempt left that failed is no other unit's."""
    _told.clear()


def count_frame(source: str) -> None:
    """A frame of ``source`` came from the GPU."""
    _told.setdefault(source, _Told()).frames += 1


def note_fault(source: str, why: str) -> None:
    """From here on ``source`` is read in software, because of ``why``."""
    told = _told.setdefault(source, _Told())
    told.fault = told.fault or " ".join(why.split())


def decode_facts(role: Role, info: MediaInfo) -> Facts:
    """What a record says of how this film was decoded since it was last asked for; nothing where no GPU was tried."""
    told = _told.pop(str(info.source), None)
    if told is None:
        return {}
    facts: Facts = {f"gpu_frames_{role}": told.frames}
    if told.fault:
        facts[f"gpu_fault_{role}"] = told.fault
    return facts
