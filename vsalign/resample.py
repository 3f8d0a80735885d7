"""Low-pass filter and spline36 interpolation: the sums behind the one resampling of :mod:`vsalign.warp`.

The interpolation exists twice: in torch, which runs anywhere and is the reference, and compiled for the CPU, where it gives the
same to rounding thirty times faster.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Array = npt.NDArray[np.float32]

#: Rows: the six taps of spline36 around a position, columns: 1, f, f^2, f^3 of its fraction f. Powers of f = 0 leave exactly
#: one tap, so sampling at a pixel centre returns that pixel bit for bit.
SPLINE36 = (
    (0.0, 26 / 209, -45 / 209, 19 / 209),
    (0.0, -156 / 209, 270 / 209, -114 / 209),
    (1.0, -3 / 209, -453 / 209, 247 / 209),
    (0.0, 168 / 209, 288 / 209, -247 / 209),
    (0.0, -42 / 209, -72 / 209, 114 / 209),
    (0.0, 7 / 209, 12 / 209, -19 / 209),
)
SPLINE36_TABLE = np.array(SPLINE36, dtype=np.float32)
_FIRST_TAP = -2
_LOW_PASS_LOBES = 3
#: Sampling this much more coarsely than the clip's grid is filtered; what is left below it folds nothing visible.
_SCALE_TOLERANCE = 1e-3


def low_pass(image: Tensor, scale: float, dim: int) -> Tensor:
    """Remove from ``image`` (C,h,w) what a grid ``scale`` times coarser along ``dim`` (-1 or -2) cannot carry.

    A Lanczos-windowed sinc of three lobes, edges repeated, held within the range of the samples in its main lobe.
    """
    if scale <= 1 + _SCALE_TOLERANCE:
        return image
    kernel, reach = lanczos_kernel(scale), math.ceil(scale)
    if image.device.type != "cpu":
        return low_pass_torch(image, kernel, reach, dim)
    smoothed = torch.empty(image.shape, dtype=torch.float32)
    planes = image.detach().float().contiguous().numpy()
    weights = np.array(kernel, dtype=np.float32)
    for channel in range(image.shape[0]):
        filtered = smoothed[channel].numpy()
        (_filter_rows if dim == -1 else _filter_columns)(planes[channel], weights, reach, filtered)
    return smoothed


def low_pass_torch(image: Tensor, kernel: list[float], reach: int, dim: int) -> Tensor:
    """``image`` (C,h,w) through ``kernel`` (odd) along ``dim`` on any device, held within the samples up to ``reach`` away."""
    radius = len(kernel) // 2
    padded = F.pad(image[:, None], (radius, radius, 0, 0) if dim == -1 else (0, 0, radius, radius), mode="replicate")[:, 0]
    shifted = [padded.narrow(dim, k, image.shape[dim]) for k in range(len(kernel))]
    smooth, lowest, highest = torch.zeros_like(image), image, image
    for k, samples in enumerate(shifted):
        smooth = torch.add(smooth, samples, alpha=kernel[k])
        if abs(k - radius) <= reach:
            lowest, highest = torch.minimum(lowest, samples), torch.maximum(highest, samples)
    return torch.minimum(torch.maximum(smooth, lowest), highest)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _add(samples: Array, weight: float, bounds: bool, total: Array, lowest: Array, highest: Array) -> None:
    """One tap of a filtered line; with ``bounds`` its samples are among those that the line is held within."""
    for x in range(len(total)):
        total[x] += weight * samples[x]
    if bounds:
        for x in range(len(total)):
            lowest[x], highest[x] = min(lowest[x], samples[x]), max(highest[x], samples[x])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _filter_rows(plane: Array, kernel: Array, reach: int, out: Array) -> None:
    height, width = plane.shape
    radius = len(kernel) // 2
    line = np.empty(width + 2 * radius, np.float32)
    lowest, highest = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(height):
        line[:radius], line[radius : radius + width], line[radius + width :] = plane[y, 0], plane[y], plane[y, width - 1]
        total = out[y]
        total[:], lowest[:], highest[:] = 0, plane[y], plane[y]
        for k in range(len(kernel)):
            _add(line[k : k + width], kernel[k], abs(k - radius) <= reach, total, lowest, highest)
        for x in range(width):
            total[x] = min(max(total[x], lowest[x]), highest[x])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _filter_columns(plane: Array, kernel: Array, reach: int, out: Array) -> None:
    height, width = plane.shape
    radius = len(kernel) // 2
    lowest, highest = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(height):
        total = out[y]
        total[:], lowest[:], highest[:] = 0, plane[y], plane[y]
        for k in range(len(kernel)):
            _add(plane[min(max(y + k - radius, 0), height - 1)], kernel[k], abs(k - radius) <= reach, total, lowest, highest)
        for x in range(width):
            total[x] = min(max(total[x], lowest[x]), highest[x])


def lanczos_kernel(scale: float) -> list[float]:
    """Weights (odd number, sum 1) of a Lanczos-windowed sinc that a grid ``scale`` times coarser calls for."""
    radius = math.ceil(_LOW_PASS_LOBES * scale) - 1
    t = torch.arange(-radius, radius + 1, dtype=torch.float64) / scale
    kernel = torch.sinc(t) * torch.sinc(t / _LOW_PASS_LOBES)
    weights: list[float] = (kernel / kernel.sum()).tolist()
    return weights


def spline36(image: Tensor, positions: Tensor) -> Tensor:
    """Spline36 interpolation of ``image`` (C,h,w) at ``positions`` (2,H,W) -> (C,H,W), edges repeated.

    The result is held within the range of the 4 x 4 nearest samples, so it does not ring.
    """
    return spline36_cpu(image, positions) if image.device.type == "cpu" else spline36_torch(image[None], positions[None])[0]


def spline36_torch(images: Tensor, positions: Tensor, held: bool = True) -> Tensor:
    """:func:`spline36` of a batch, ``images`` (B,C,h,w) at ``positions`` (B,2,H,W), on any device; it may ring unless
    ``held``."""
    batch, channels, height, width = images.shape
    cell = positions.floor()
    columns, weights_x = _taps(cell[:, 0], positions[:, 0] - cell[:, 0], width)
    rows, weights_y = _taps(cell[:, 1], positions[:, 1] - cell[:, 1], height)
    size = positions.shape[-2:]
    flat = images.reshape(batch, channels, -1)
    total = torch.zeros((batch, channels, *size), dtype=torch.float32, device=images.device)
    lowest, highest = torch.full_like(total, math.inf), torch.full_like(total, -math.inf)
    for j in range(6):
        where = (rows[j] * width + columns).movedim(0, 1).reshape(batch, 1, -1).expand(-1, channels, -1)
        values = flat.gather(2, where).view(batch, channels, 6, *size)
        total = total + weights_y[j][:, None] * (weights_x.movedim(0, 1)[:, None] * values).sum(2)
        if held and 1 <= j <= 4:
            lowest = torch.minimum(lowest, values[:, :, 1:5].amin(2))
            highest = torch.maximum(highest, values[:, :, 1:5].amax(2))
    return torch.minimum(torch.maximum(total, lowest), highest) if held else total


def _taps(cell: Tensor, fraction: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Indices and weights (6,B,H,W) of the samples around every position along one axis of ``length`` samples."""
    # Clamped as float first: a position far outside would overflow the integer.
    start = cell.clamp(-8, length + 8).long() + _FIRST_TAP
    indices = [(start + k).clamp(0, length - 1) for k in range(6)]
    weights = [((c3 * fraction + c2) * fraction + c1) * fraction + c0 for c0, c1, c2, c3 in SPLINE36]
    return torch.stack(indices), torch.stack(weights)


def spline36_cpu(image: Tensor, positions: Tensor) -> Tensor:
    """:func:`spline36` compiled for tensors on the CPU."""
    out = torch.empty((image.shape[0], *positions.shape[1:]), dtype=torch.float32)
    source, where = image.detach().contiguous().numpy(), positions.detach().contiguous().numpy()
    for channel in range(image.shape[0]):
        _spline36_plane(source[channel], where, SPLINE36_TABLE, out[channel].numpy())
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _spline36_plane(source: Array, where: Array, table: Array, out: Array) -> None:
    height, width = source.shape
    wx, wy = np.empty(6, np.float32), np.empty(6, np.float32)
    column, row = np.empty(6, np.int64), np.empty(6, np.int64)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            px, py = where[0, y, x], where[1, y, x]
            cx, cy = np.floor(px), np.floor(py)
            total = np.float32(0)
            if 2 <= cx < width - 3 and 2 <= cy < height - 3:
                taps(px - cx, table, wx)
                taps(py - cy, table, wy)
                left, top = int(cx) - 2, int(cy) - 2
                lowest = highest = source[top + 2, left + 2]
                for j in range(6):
                    v = source[top + j, left : left + 6]
                    part = wx[0] * v[0] + wx[1] * v[1] + wx[2] * v[2] + wx[3] * v[3] + wx[4] * v[4] + wx[5] * v[5]
                    total += wy[j] * part
                    if 1 <= j <= 4:
                        lowest = min(lowest, v[1], v[2], v[3], v[4])
                        highest = max(highest, v[1], v[2], v[3], v[4])
            else:
                clamped_taps(px, width, table, column, wx)
                clamped_taps(py, height, table, row, wy)
                lowest = highest = source[row[2], column[2]]
                for j in range(6):
                    line = np.float32(0)
                    for i in range(6):
                        value = source[row[j], column[i]]
                        line += wx[i] * value
                        if 1 <= i <= 4 and 1 <= j <= 4:
                            lowest, highest = min(lowest, value), max(highest, value)
                    total += wy[j] * line
            out[y, x] = min(max(total, lowest), highest)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def taps(fraction: float, table: Array, weight: Array) -> None:
    """The six weights of a position ``fraction`` of a sample behind the third of them."""
    f = np.float32(fraction)
    for k in range(6):
        weight[k] = ((table[k, 3] * f + table[k, 2]) * f + table[k, 1]) * f + table[k, 0]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def clamped_taps(position: float, length: int, table: Array, index: npt.NDArray[np.int64], weight: Array) -> None:
    """Indices, edges repeated, and weights of the six samples around ``position`` along an axis of ``length`` samples."""
    cell = np.floor(position)
    # A position far outside would overflow the integer, so it is brought near as a float.
    start = int(min(max(cell, np.float32(-8)), np.float32(length + 8))) - 2
    for k in range(6):
        index[k] = min(max(start + k, 0), length - 1)
    taps(position - cell, table, weight)
