"""Weight-free dense registration: coarse to fine Gauss-Newton steps on locally normalised luma.

The scheme is Lucas and Kanade's (IJCAI 1981) on a pyramid, with the mean gradient of both pictures (ESM: Benhimane and Malis,
IROS 2004) and a robust weight: one shift, then affine motion on the coarsest levels, then a free field (:mod:`vsalign.fill`)
that keeps the coarser level's answer where the finer one sees nothing. Fields are displacements (dx, dy) per cell, in pixels of
their level: ref at p shows what clip has at p + u(p).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vsalign.fill import Evidence, Information, confidence, solve_affine, solve_field, weigh
from vsalign.phase import correlation, first_shift
from vsalign.pyramid import CELL, cell_size, from_cells, gradient, normalise, pyramid, to_cells
from vsalign.resample import spline36
from vsalign.warp import positions_inside, scale_positions

_SHIFT_LEVEL = 3
_AFFINE_LEVELS, _AFFINE_STEPS = 2, 8
_ROBUST_SCALE = 1.0
_LONGEST_STEP_PX = 1.5
#: Pictures of one scene correlate above 0.7 once the affine motion is found, others below 0.2 (normalised luma, coarse level).
_LEAST_AGREEMENT = 0.3
_LQ_NOISE_PIXELS = 1.5


@dataclass(frozen=True, slots=True)
class Effort:
    """How far registration goes: ``finest_level`` of the pyramid (0 = full resolution), Gauss-Newton ``steps`` on it and on the
    levels above it."""

    finest_level: int
    finest_steps: int
    coarse_steps: int

    def steps_at(self, level: int) -> int:
        return self.finest_steps if level == self.finest_level else self.coarse_steps


EFFORTS = {1: Effort(1, 2, 3), 2: Effort(0, 1, 2), 3: Effort(0, 3, 3), 4: Effort(0, 6, 5)}


@dataclass(frozen=True, slots=True)
class Level:
    """Both pictures of one pyramid level, normalised, with the ref's gradient and its pixels' positions."""

    clip: Tensor
    ref: Tensor
    ref_gradient: tuple[Tensor, Tensor]
    pixels: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return self.ref.shape[-2], self.ref.shape[-1]


def register(clip: Tensor, ref: Tensor, effort: Effort, lq_input: bool = False) -> tuple[Tensor, Tensor]:
    """Displacement (1,2,H,W) in pixels and confidence (1,1,H,W) in [0,1] of ``clip`` against ``ref``, both luma (1,1,H,W).

    ref at p shows what clip has at p + displacement(p); both are 0 when the pictures have nothing in common. ``lq_input``
    expects grain or compression, whose noise neighbouring pixels share: small windows count for less.
    """
    noise_pixels = _LQ_NOISE_PIXELS if lq_input else 1.0
    clips, refs = pyramid(clip), pyramid(ref)
    first = max(0, len(refs) - 1 - _AFFINE_LEVELS)
    finest = min(effort.finest_level, first)
    size = (ref.shape[-2], ref.shape[-1])
    field, level = _affine_field(clips, refs, first, noise_pixels), _level(clips, refs, first)
    if _agreement(level, field) < _LEAST_AGREEMENT:
        return ref.new_zeros((1, 2, *size)), ref.new_zeros((1, 1, *size))
    field, info = _refine(level, field, effort.steps_at(first), noise_pixels)
    for index in range(first - 1, finest - 1, -1):
        level = _level(clips, refs, index)
        field, info = _refine(level, _finer(field, level.size), effort.steps_at(index), noise_pixels)
    factor = CELL * 2**finest
    return from_cells(field, size, factor) * 2**finest, from_cells(confidence(info), size, factor)


def _affine_field(clips: list[Tensor], refs: list[Tensor], last: int, noise_pixels: float) -> Tensor:
    """The first shift, then affine motion on the coarsest levels, as a field of level ``last``."""
    field = _start(clips, refs)
    coarsest = len(refs) - 1
    for index in range(coarsest, last - 1, -1):
        level = _level(clips, refs, index)
        field = field if index == coarsest else _finer(field, level.size)
        if index > coarsest - _AFFINE_LEVELS:
            for _ in range(_AFFINE_STEPS):
                field = field + _limited(solve_affine(weigh(_evidence(level, field), noise_pixels)))
    return field


def _finer(field: Tensor, size: tuple[int, int]) -> Tensor:
    """``field`` of one level, in pixels of the next finer one, which has ``size`` pixels."""
    return 2 * from_cells(field, cell_size(size), 2)


def _start(clips: list[Tensor], refs: list[Tensor]) -> Tensor:
    """The first shift as a field of the coarsest level."""
    coarsest = len(refs) - 1
    index = min(_SHIFT_LEVEL, coarsest)
    shift = first_shift(normalise(clips[index], index), normalise(refs[index], index))
    at_coarsest = torch.tensor(shift, dtype=torch.float32, device=refs[0].device) * 2.0 ** (index - coarsest)
    rows, columns = cell_size((refs[-1].shape[-2], refs[-1].shape[-1]))
    return at_coarsest.view(1, 2, 1, 1).expand(1, 2, rows, columns)


def _level(clips: list[Tensor], refs: list[Tensor], index: int) -> Level:
    clip, ref = normalise(clips[index], index), normalise(refs[index], index)
    size = (ref.shape[-2], ref.shape[-1])
    return Level(clip, ref, gradient(ref), scale_positions(size, size, ref.device))


def _refine(level: Level, base: Tensor, steps: int, noise_pixels: float) -> tuple[Tensor, Information]:
    """``base`` corrected by what this level sees; and the evidence of the last step."""
    deviation = torch.zeros_like(base)
    for _ in range(steps):
        info = weigh(_evidence(level, base + deviation), noise_pixels)
        deviation = deviation + _limited(solve_field(info, deviation) - deviation)
    return base + deviation, info


def _limited(step: Tensor) -> Tensor:
    """``step`` cut to the distance over which a picture can be taken as linear."""
    length = step.square().sum(1, keepdim=True).sqrt()
    return step * (_LONGEST_STEP_PX / length.clamp_min(_LONGEST_STEP_PX))


def _agreement(level: Level, field: Tensor) -> float:
    """Correlation, from -1 to 1, of the ref with the clip moved by ``field``."""
    positions = level.pixels + from_cells(field, level.size)
    inside = positions_inside(positions, level.size)
    return correlation(spline36(level.clip[0], positions[0]) * inside, level.ref * inside)


def _evidence(level: Level, field: Tensor) -> Evidence:
    """Normal equations of one Gauss-Newton step around ``field``, summed per cell."""
    size = level.size
    positions = level.pixels + from_cells(field, size)
    # Sharp enough to be unbiased: bilinear or grid_sample's bicubic pull fractional shifts by 0.03 px, this by a tenth of it.
    warped = spline36(level.clip[0], positions[0])[None]
    difference = level.ref - warped
    inside = positions_inside(positions, size)
    weight = inside / (1 + (difference / _ROBUST_SCALE) ** 2)
    (cx, cy), (rx, ry) = gradient(warped), level.ref_gradient
    gx, gy = (cx + rx) / 2, (cy + ry) / 2
    wx, wy, wd = weight * gx, weight * gy, weight * difference
    common = weight * (cx * rx + cy * ry)
    products = [wx * gx, wx * gy, wy * gy, wx * difference, wy * difference, weight, wd * difference, common]
    sums = to_cells(torch.cat(products, 1))
    return Evidence(sums[:, :3], sums[:, 3:5], sums[:, 5:6], sums[:, 6:7], sums[:, 7:])
