"""Which pixels count: what is masked, what lies outside, and what only one of the pictures shows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vsalign.evidence import Level, nearest
from vsalign.pyramid import from_cells, halve
from vsalign.warp import scale_positions

#: Residual, in standard deviations of local luma, that no pixel of the same scene has, and how many times the usual residual of
#: the picture it must be: grain has large ones everywhere.
_ODD, _ODD_TIMES_USUAL = 1.5, 6.0
_REACH = 2
_CORRELATED_REACH = 3
_TINY = 1e-9


def trusts(trust: Tensor | None, count: int) -> list[Tensor | None]:
    """Trust, 0 or 1, per level of a pyramid: a pixel that is only partly to be trusted is not.

    Unless too little would be left, as under a mask of scattered specks: then what is mostly to be trusted is.
    """
    if trust is None:
        return [None] * count
    share = (trust > 0.5).float()
    levels, enough = [share], share.mean((1, 2, 3), keepdim=True) / 2
    while len(levels) < count:
        share = halve(share)
        strict = (halve(levels[-1]) > 1 - 1e-3).float()
        levels.append(torch.where(strict.mean((1, 2, 3), keepdim=True) >= enough, strict, (share > 0.5).float()))
    return list(levels)


def moved_back(trust: Tensor, field: Tensor) -> Tensor:
    """Trust of ref pixels, (B,1,h,w), for the clip pixels that show the same, ``field`` (B,2,rows,columns) being slow."""
    size = (trust.shape[-2], trust.shape[-1])
    return nearest(trust, scale_positions(size, size, trust.device) - from_cells(field, size))


def odd_pixels(level: Level, moved: Tensor, trust: Tensor) -> Tensor:
    """1 where clip, moved onto ref, and ref can't show the same thing, else 0; (B,1,h,w). Its surroundings are taken along."""
    residual = (level.ref - moved).abs() * (trust > 0)
    usual = residual.flatten(1).median(1).values.view(-1, 1, 1, 1)
    odd = (residual > (_ODD_TIMES_USUAL * usual).clamp_min(_ODD)).float()
    return F.max_pool2d(odd, 2 * _REACH + 1, stride=1, padding=_REACH)


def laid_over(values: Tensor, levels: int, size: tuple[int, int]) -> Tensor:
    """``values`` (B,1,h,w) of a level for the pixels of one ``levels`` finer, which has ``size`` (height, width)."""
    factor = 2**levels
    repeated: Tensor = torch.repeat_interleave(torch.repeat_interleave(values, factor, 2), factor, 3)
    return repeated[..., : size[0], : size[1]]


def correlated_pixels(ref: Tensor, moved: Tensor, trust: Tensor) -> Tensor:
    """Area, in pixels, over which the residual of a pair resembles itself, (B,1,1,1); 1: noise is new in every pixel."""
    residual = ((ref - moved) * trust).clamp(-_ODD, _ODD)
    energy = residual.square().mean((1, 2, 3), keepdim=True).clamp_min(_TINY)
    area = torch.ones_like(energy)
    for dim in (2, 3):
        length, reach = residual.shape[dim], min(_CORRELATED_REACH, residual.shape[dim] - 1)
        for_lag = [
            (residual.narrow(dim, 0, length - k) * residual.narrow(dim, k, length - k)).mean((1, 2, 3), keepdim=True)
            for k in range(1, reach + 1)
        ]
        area = area * (1 + 2 * sum(lag / energy for lag in for_lag)) if for_lag else area
    return area
