"""The sums behind a Gauss-Newton step: what the pixels of every cell say about the step still missing.

They exist twice: in torch, which runs anywhere and is the reference, and compiled for the CPU, where it gives the same to
rounding several times faster, since no picture-sized intermediate result is written.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vsalign.pyramid import CELL, cell_size, from_cells, gradient, to_cells
from vsalign.resample import SPLINE36_TABLE, clamped_taps, spline36_torch, taps
from vsalign.warp import positions_inside, scale_positions

Array = npt.NDArray[np.float32]

#: Residual, in normalised luma, at which a pixel counts half.
ROBUST_SCALE = 1.0
_SUMS = 8
_NOTHING = np.zeros((0, 0), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """Both pictures (B,1,h,w) of one pyramid level, normalised, and how far each pixel may be trusted (None: all of them)."""

    clip: Tensor
    ref: Tensor
    clip_trust: Tensor | None = None
    ref_trust: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.ref.shape[-2], self.ref.shape[-1]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the pixels of every cell say about the step (dx, dy) still missing; all (B,C,rows,columns), means over the cell.

    ``tensor``: xx, xy, yy of the gradients; ``force``: gradient times difference (x, y); ``weight``: trust in the pixels, 0
    outside the clip; ``energy``: weighted squared difference; ``common``: the part of the trace of ``tensor`` that both
    pictures share.
    """

    tensor: Tensor
    force: Tensor
    weight: Tensor
    energy: Tensor
    common: Tensor


def evidence(level: Level, field: Tensor) -> Evidence:
    """What ``level`` says around ``field`` (B,2,rows,columns), displacements in pixels of the level."""
    return evidence_of(level, *warped(level, field))


def evidence_of(level: Level, moved: Tensor, trust: Tensor) -> Evidence:
    """Normal equations of one Gauss-Newton step, given the clip as it was :func:`warped`.

    Gradients are the mean of both pictures' (ESM: Benhimane and Malis, IROS 2004), weights those of Cauchy's distribution.
    """
    sums = _sums_cpu(level, moved, trust) if moved.device.type == "cpu" else sums_torch(level, moved, trust)
    return Evidence(sums[:, :3], sums[:, 3:5], sums[:, 5:6], sums[:, 6:7], sums[:, 7:])


def warped(level: Level, field: Tensor) -> tuple[Tensor, Tensor]:
    """The clip moved by ``field`` and the trust in each of its pixels, both (B,1,h,w)."""
    if field.device.type != "cpu":
        return warped_torch(level, field)
    moved, trust = torch.empty_like(level.ref), torch.empty_like(level.ref)
    for b in range(field.shape[0]):
        clip, clip_trust, ref_trust = level.clip[b, 0].contiguous(), _plane(level.clip_trust, b), _plane(level.ref_trust, b)
        place = field[b].contiguous().numpy()
        _move(clip.numpy(), place, clip_trust, ref_trust, SPLINE36_TABLE, moved[b, 0].numpy(), trust[b, 0].numpy())
    return moved, trust


def warped_torch(level: Level, field: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`warped` on any device."""
    size = level.size
    positions = scale_positions(size, size, field.device) + from_cells(field, size)
    # Sharp enough to be unbiased: bilinear or grid_sample's bicubic pull fractional shifts by 0.03 px, this by a tenth of it.
    moved = spline36_torch(level.clip, positions, held=False)
    trust = positions_inside(positions, size).float()
    if level.clip_trust is not None:
        trust = trust * nearest(level.clip_trust, positions)
    return moved, trust if level.ref_trust is None else trust * level.ref_trust


def nearest(image: Tensor, positions: Tensor) -> Tensor:
    """``image`` (B,1,h,w) at the pixels nearest to ``positions`` (B,2,H,W), edges repeated."""
    height, width = image.shape[-2:]
    x = (positions[:, 0] + 0.5).long().clamp(0, width - 1)
    y = (positions[:, 1] + 0.5).long().clamp(0, height - 1)
    at = (y * width + x).flatten(1)
    return image[:, 0].flatten(1).expand(len(at), -1).gather(1, at).view(-1, 1, *positions.shape[-2:])


def sums_torch(level: Level, moved: Tensor, trust: Tensor) -> Tensor:
    """All sums (B,8,rows,columns) on any device."""
    difference = level.ref - moved
    weight = trust / (1 + (difference / ROBUST_SCALE) ** 2)
    (cx, cy), (rx, ry) = gradient(moved), gradient(level.ref)
    gx, gy = (cx + rx) / 2, (cy + ry) / 2
    wx, wy, wd = weight * gx, weight * gy, weight * difference
    common = weight * (cx * rx + cy * ry)
    return to_cells(
        torch.cat([wx * gx, wx * gy, wy * gy, wx * difference, wy * difference, weight, wd * difference, common], 1)
    )


def _sums_cpu(level: Level, moved: Tensor, trust: Tensor) -> Tensor:
    sums = torch.empty((len(moved), _SUMS, *cell_size(level.size)), dtype=torch.float32)
    for b in range(len(moved)):
        planes = (image[b, 0].contiguous().numpy() for image in (level.ref, moved, trust))
        _sum(*planes, np.float32(1 / ROBUST_SCALE), sums[b].numpy())
    return sums


def _plane(image: Tensor | None, b: int) -> Array:
    return _NOTHING if image is None else np.asarray(image[min(b, image.shape[0] - 1), 0].contiguous().numpy(), np.float32)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _move(clip: Array, field: Array, clip_trust: Array, ref_trust: Array, table: Array, moved: Array, trust: Array) -> None:
    """The clip at every pixel's position, spline36, and the trust in it."""
    height, width = clip.shape
    rows, columns = field.shape[1:]
    wx, wy = np.empty(6, np.float32), np.empty(6, np.float32)
    column, row = np.empty(6, np.int64), np.empty(6, np.int64)
    line = np.empty((2, columns), np.float32)
    half, right, bottom = np.float32(-0.5), np.float32(width - 0.5), np.float32(height - 0.5)
    for y in range(height):
        r = min(max((y + np.float32(0.5)) / CELL - np.float32(0.5), np.float32(0)), np.float32(rows - 1))
        r0 = int(r)
        r1, fy = min(r0 + 1, rows - 1), np.float32(r - r0)
        for k in range(columns):
            line[0, k] = field[0, r0, k] + (field[0, r1, k] - field[0, r0, k]) * fy
            line[1, k] = field[1, r0, k] + (field[1, r1, k] - field[1, r0, k]) * fy
        for x in range(width):
            c = min(max((x + np.float32(0.5)) / CELL - np.float32(0.5), np.float32(0)), np.float32(columns - 1))
            c0 = int(c)
            c1, fx = min(c0 + 1, columns - 1), np.float32(c - c0)
            px = x + line[0, c0] + (line[0, c1] - line[0, c0]) * fx
            py = y + line[1, c0] + (line[1, c1] - line[1, c0]) * fx
            cx, cy = np.floor(px), np.floor(py)
            total = np.float32(0)
            if 2 <= cx < width - 3 and 2 <= cy < height - 3:
                taps(px - cx, table, wx)
                taps(py - cy, table, wy)
                left, top = int(cx) - 2, int(cy) - 2
                for j in range(6):
                    v = clip[top + j]
                    total += wy[j] * (
                        wx[0] * v[left]
                        + wx[1] * v[left + 1]
                        + wx[2] * v[left + 2]
                        + wx[3] * v[left + 3]
                        + wx[4] * v[left + 4]
                        + wx[5] * v[left + 5]
                    )
            else:
                clamped_taps(px, width, table, column, wx)
                clamped_taps(py, height, table, row, wy)
                for j in range(6):
                    part = np.float32(0)
                    for i in range(6):
                        part += wx[i] * clip[row[j], column[i]]
                    total += wy[j] * part
            moved[y, x] = total
            sure = np.float32(1) if half <= px <= right and half <= py <= bottom else np.float32(0)
            if len(clip_trust) and sure > 0:
                near_x, near_y = min(max(int(px + 0.5), 0), width - 1), min(max(int(py + 0.5), 0), height - 1)
                sure *= clip_trust[near_y, near_x]
            trust[y, x] = sure * ref_trust[y, x] if len(ref_trust) else sure


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sum(ref: Array, moved: Array, trust: Array, per_scale: float, sums: Array) -> None:
    """Means of all products over every cell."""
    height, width = ref.shape
    rows, columns = sums.shape[1:]
    half = np.float32(0.5)
    for r in range(rows):
        top, stop = r * CELL, min((r + 1) * CELL, height)
        for c in range(columns):
            left, end = c * CELL, min((c + 1) * CELL, width)
            xx = xy = yy = fx = fy = ww = ee = cc = np.float32(0)
            for y in range(top, stop):
                above, below = max(y - 1, 0), min(y + 1, height - 1)
                for x in range(left, end):
                    w = trust[y, x]
                    if w == 0:
                        continue
                    before, after = max(x - 1, 0), min(x + 1, width - 1)
                    d = ref[y, x] - moved[y, x]
                    w = w / (np.float32(1) + (d * per_scale) * (d * per_scale))
                    mx, my = (moved[y, after] - moved[y, before]) * half, (moved[below, x] - moved[above, x]) * half
                    tx, ty = (ref[y, after] - ref[y, before]) * half, (ref[below, x] - ref[above, x]) * half
                    gx, gy = (mx + tx) * half, (my + ty) * half
                    xx += w * gx * gx
                    xy += w * gx * gy
                    yy += w * gy * gy
                    fx += w * gx * d
                    fy += w * gy * d
                    ww += w
                    ee += w * d * d
                    cc += w * (mx * tx + my * ty)
            share = np.float32(1) / np.float32((stop - top) * (end - left))
            sums[0, r, c], sums[1, r, c], sums[2, r, c] = xx * share, xy * share, yy * share
            sums[3, r, c], sums[4, r, c], sums[5, r, c] = fx * share, fy * share, ww * share
            sums[6, r, c], sums[7, r, c] = ee * share, cc * share
