"""Picture pyramids, local contrast normalisation and the coarse cell grid that fields and evidence live on.

Level 0 is full resolution and every level halves the one before, odd sizes rounded up, so that a position x of one level is
2 x + 0.5 on the next finer one. Fields and sums are kept per cell of CELL x CELL pixels of their level: what is smooth need not
be stored, filtered or solved for at every pixel.
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Array = npt.NDArray[np.float32]

CELL = 4
#: The coarsest level keeps at least half of this many pixels on its shorter side.
_SMALLEST_HALVED_SIDE = 24
_BINOMIAL = (1 / 8, 3 / 8, 3 / 8, 1 / 8)
_NORMALISE_SMOOTHINGS = 3
#: Standard deviation of noise and rounding at full resolution, samples in [0, 1]; half-sized averages carry less of it.
_NOISE, _NOISE_PER_LEVEL = 0.01, 1 / 1.5
_SMOOTH_VARIANCE = 2 / 3
_TINY = 1e-6


def halve(image: Tensor) -> Tensor:
    """``image`` (B,1,h,w) at half its size, rounded up, through a binomial filter centred between pixels."""
    h, w = image.shape[-2:]
    kernel = _binomial_kernel(image.dtype, image.device)
    padded = F.pad(image, (1, 1 + w % 2, 1, 1 + h % 2), mode="replicate")
    return F.conv2d(padded, kernel, stride=2)


@lru_cache(maxsize=16)
def _binomial_kernel(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Kept per device: bringing numbers there waits for it."""
    line = torch.tensor(_BINOMIAL, dtype=dtype, device=device)
    return (line[:, None] * line).view(1, 1, 4, 4)


def pyramid(image: Tensor) -> list[Tensor]:
    """``image`` (B,1,H,W) and its halvings, finest first, down to a shorter side of 12 to 23 pixels."""
    levels = [image]
    while min(levels[-1].shape[-2:]) >= _SMALLEST_HALVED_SIDE:
        levels.append(halve(levels[-1]))
    return levels


def to_cells(values: Tensor, factor: int = CELL) -> Tensor:
    """Mean of ``values`` (B,C,h,w) over blocks of ``factor`` x ``factor``; blocks cut by the border average what they have."""
    return F.avg_pool2d(values, factor, ceil_mode=True, count_include_pad=False)


def from_cells(values: Tensor, size: tuple[int, int], factor: int = CELL) -> Tensor:
    """Bilinear inverse of :func:`to_cells`: ``values`` per block -> (B,C,*size) with size (height, width)."""
    full = F.interpolate(values, scale_factor=factor, mode="bilinear", align_corners=False)
    return full[..., : size[0], : size[1]]


def cell_size(size: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of cells that cover a level of ``size`` (height, width) pixels."""
    return -(-size[0] // CELL), -(-size[1] // CELL)


def affine_basis(rows: int, columns: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """1, x and y of every cell (3,rows,columns), x and y from -1 to 1 across the picture."""
    y = (torch.arange(rows, dtype=dtype, device=device) + 0.5) * (2 / rows) - 1
    x = (torch.arange(columns, dtype=dtype, device=device) + 0.5) * (2 / columns) - 1
    one = torch.ones(rows, columns, dtype=dtype, device=device)
    return torch.stack([one, *torch.meshgrid(x, y, indexing="xy")])


def smooth(values: Tensor, times: int) -> Tensor:
    """3 x 3 means of ``values`` (B,C,h,w), ``times`` over; nothing from outside the border takes part."""
    if values.device.type == "cpu" and times:
        smoothed = torch.empty(values.shape, dtype=torch.float32)
        planes = values.detach().float().contiguous().flatten(0, 1).numpy()
        _smooth_planes(planes, times, smoothed.flatten(0, 1).numpy())
        return smoothed
    return smooth_torch(values, times)


def smooth_torch(values: Tensor, times: int) -> Tensor:
    """:func:`smooth` on any device; the compiled one below gives the same to rounding, several times faster."""
    for _ in range(times):
        values = F.avg_pool2d(values, 3, stride=1, padding=1, count_include_pad=False)
    return values


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _smooth_planes(planes: Array, times: int, out: Array) -> None:
    count, height, width = planes.shape
    third, half = np.float32(1 / 3), np.float32(1 / 2)
    rows = np.empty((height, width), np.float32)
    for k in range(count):
        source, target = planes[k], out[k]
        for _ in range(times):
            for y in range(height):
                line, to = source[y], rows[y]
                if width == 1:
                    to[0] = line[0]
                    continue
                to[0] = (line[0] + line[1]) * half
                for x in range(1, width - 1):
                    to[x] = (line[x - 1] + line[x] + line[x + 1]) * third
                to[width - 1] = (line[width - 2] + line[width - 1]) * half
            for y in range(height):
                above, below = rows[max(y - 1, 0)], rows[min(y + 1, height - 1)]
                to = target[y]
                if height == 1:
                    to[:] = rows[0]
                elif y in (0, height - 1):
                    other = below if y == 0 else above
                    for x in range(width):
                        to[x] = (rows[y, x] + other[x]) * half
                else:
                    here = rows[y]
                    for x in range(width):
                        to[x] = (above[x] + here[x] + below[x]) * third
            source = target


def window_sigma(times: int, factor: int) -> float:
    """Standard deviation, in pixels of the level, of the window that ``smooth(to_cells(.), times)`` weighs with."""
    return float(factor * (1 / 12 + times * _SMOOTH_VARIANCE) ** 0.5)


def gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences (along x, along y) of ``image`` (B,1,h,w) per pixel, edges repeated."""
    p = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return (p[..., 1:-1, 2:] - p[..., 1:-1, :-2]) / 2, (p[..., 2:, 1:-1] - p[..., :-2, 1:-1]) / 2


def normalise(image: Tensor, level: int, trust: Tensor | None = None) -> Tensor:
    """``image`` (B,1,h,w) of pyramid ``level`` minus its local mean, over its local standard deviation: gain, bias, gamma and
    grading drop out. Contrast near the noise floor is not blown up. Pixels with ``trust`` (B,1,h,w) 0 have no part in it."""
    size = (image.shape[-2], image.shape[-1])
    weight = torch.ones_like(image) if trust is None else trust.expand_as(image)
    moments = smooth(to_cells(torch.cat([image * weight, image * image * weight, weight], 1)), _NORMALISE_SMOOTHINGS)
    moments = moments[:, :2] / moments[:, 2:].clamp_min(_TINY)
    mean = moments[:, :1]
    variance = (moments[:, 1:] - mean * mean).clamp_min(0)
    noise = _NOISE * _NOISE_PER_LEVEL**level
    local = from_cells(torch.cat([mean, (variance + noise * noise).rsqrt()], 1), size)
    return (image - local[:, :1]) * local[:, 1:]
