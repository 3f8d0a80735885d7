"""A VapourSynth frame as arrays and tensors: what its samples mean by its format and props.

Frames come in as objects of that package, which is not imported here (:mod:`vsalign.filters` is its one door).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vsalign.planes import AnyPlane

#: vapoursynth.VideoFrame, read by its attributes.
Frame = Any

_RANGE_FULL, _TRANSFER_LINEAR = 1, 8
#: Light is coded roughly by this power everywhere but in linear pictures, where noise and detail of dark parts would vanish.
_GAMMA = 2.2
_BT601 = (0.299, 0.587, 0.114)
#: What red, green and blue add to luma, by the number in `_Matrix`.
_LUMA_WEIGHTS = {1: (0.2126, 0.7152, 0.0722), 7: (0.212, 0.701, 0.087), 9: (0.2627, 0.678, 0.0593), 10: (0.2627, 0.678, 0.0593)}


def plane(frame: Frame, index: int) -> AnyPlane:
    """Samples (h, w) of one plane: a view on the frame, which must not be kept longer than it."""
    samples: AnyPlane = np.asarray(frame[index])
    return samples


def pair(clip: Frame, ref: Frame, device: torch.device) -> tuple[Tensor, Tensor]:
    """What is compared of ``clip`` and ``ref``: (1,C,h,w) float32 in [0, 1] on ``device``, C = 3 if both are RGB, else luma."""
    if _family(clip) == _family(ref) == "RGB":
        return _unit(clip, (0, 1, 2), device), _unit(ref, (0, 1, 2), device)
    return _luma(clip, ref, device), _luma(ref, clip, device)


def untrusted(mask: Frame, device: torch.device) -> Tensor:
    """(1,1,h,w) float32, 1 where the first plane of ``mask`` is above the middle of its own range."""
    return (_unit(mask, (0,), device, clamp=False) > 0.5).float()


def _luma(frame: Frame, other: Frame, device: torch.device) -> Tensor:
    """Luma (1,1,h,w); an RGB picture weighs its channels as ``other``, which it is compared with, did."""
    if _family(frame) != "RGB":
        return _unit(frame, (0,), device)
    weights = _LUMA_WEIGHTS.get(int(other.props.get("_Matrix", 2)), _BT601)
    rgb = _unit(frame, (0, 1, 2), device)
    return (rgb * torch.tensor(weights, device=device).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _unit(frame: Frame, planes: tuple[int, ...], device: torch.device, clamp: bool = True) -> Tensor:
    """``planes`` (1,C,h,w) with black 0 and white 1, gamma coded."""
    codes = np.stack([plane(frame, index).astype(np.float32) for index in planes])
    black, white = _black_and_white(frame)
    unit = (torch.from_numpy(codes).to(device)[None] - black) / (white - black)
    if not clamp:
        return unit
    unit = unit.clamp(0, 1)
    return unit.pow(1 / _GAMMA) if frame.props.get("_Transfer") == _TRANSFER_LINEAR else unit


def _black_and_white(frame: Frame) -> tuple[float, float]:
    """The codes of black and white in luma or RGB; untagged YUV and gray are limited, as everywhere in VapourSynth."""
    if is_float(frame.format):
        return 0.0, 1.0
    bits = frame.format.bits_per_sample
    default = _RANGE_FULL if _family(frame) == "RGB" else 0
    if frame.props.get("_Range", default) == _RANGE_FULL:
        return 0.0, float(peak(frame.format))
    return 16.0 * 2 ** (bits - 8), 235.0 * 2 ** (bits - 8)


def is_float(format: Any) -> bool:
    """Whether samples of ``format`` (vapoursynth.VideoFormat) are floating point."""
    return bool(format.sample_type.name == "FLOAT")


def peak(format: Any) -> int:
    """The largest code of an integer ``format``; 1 for floats."""
    return 1 if is_float(format) else (1 << format.bits_per_sample) - 1


def _family(frame: Frame) -> str:
    return str(frame.format.color_family.name)


def write(frame: Frame, index: int, values: npt.NDArray[np.float32]) -> None:
    """Put ``values`` (h, w), already whole and in range where the format asks for it, into one plane of a writable frame."""
    np.copyto(np.asarray(frame[index]), values, casting="unsafe")


def write_gray(frame: Frame, values: Tensor) -> None:
    """Put ``values`` (1,1,h,w) in [0, 1] into a gray frame, black 0 and white its largest code (1 for floats), tagged so."""
    top = peak(frame.format)
    scaled = values[0, 0] * top
    write(frame, 0, (scaled if is_float(frame.format) else scaled.round()).cpu().numpy())
    frame.props["_Range"] = _RANGE_FULL
