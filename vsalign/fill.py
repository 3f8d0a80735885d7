"""From local evidence to a field: windows of many sizes, each shrunk towards what the larger one said.

Per cell, the evidence is the normal equation of a Gauss-Newton step, A du = b (Lucas and Kanade). The largest window is the
whole picture under an affine motion. Smaller and smaller ones follow, and each refines the answer as far as its information,
measured against the noise, outweighs the expectation that displacement varies slowly: a Wiener-like shrinkage, akin to
normalised convolution (Knutsson and Westin, CVPR 1993), whose strength is estimated from the picture (empirical Bayes: Morris,
JASA 1983). A and b stay tensors, so an edge counts across itself and never along itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vsalign.evidence import Evidence
from vsalign.pyramid import CELL, from_cells, smooth, to_cells, window_sigma

#: Expected deviation of a window from the next larger one's answer, in px per px of window size (standard deviation), and how
#: far the squared deviation that is found in a picture may move that expectation.
_ROUGHNESS = 0.02
_ROUGHEST, _SMOOTHEST = 4.0, 0.0025
#: The expectation counts as much as what is found in this share of the picture.
_EXPECTATION_WEIGHT = 0.01
#: A window's own answer says something about roughness where at most half of it is shrunk away.
_LEAST_TRUST = 0.25
#: Expected affine motion: slopes in px per px, shift as a share of the picture's longer side.
_SLOPE, _SHIFT = 0.05, 0.1
#: Variance of the difference of two perfect matches, in normalised luma: interpolation and rounding.
_LEAST_VARIANCE = 0.01
_LEAST_COHERENCE = 0.02
_NOISE_SMOOTHINGS = 4
_LARGEST_WINDOW = 4
_FEWEST_CELLS = 3
_SMOOTHINGS = 3
_CONFIDENCE_SMOOTHINGS = 1
_HALF_TRUST_PX = 0.5
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Information:
    """Evidence in units of its own noise: ``tensor`` (B,3,...) is inverse variance per pixel, ``force`` (B,2,...) its right
    side."""

    tensor: Tensor
    force: Tensor


def weigh(evidence: Evidence, noise_pixels: Tensor | float) -> Information:
    """Divide by the noise seen around every cell; ``noise_pixels`` neighbours share one independent sample of it.

    Grain and differing sharpness add gradients to A that belong to one picture alone. The product of both pictures' gradients
    has only the shared part, so its ratio to A, squared, is what A is worth.
    """
    e = evidence
    trace = e.tensor[:, :1] + e.tensor[:, 2:]
    around = smooth(torch.cat([e.weight, e.energy, trace, e.common], 1), _NOISE_SMOOTHINGS)
    variance = noise_pixels * around[:, 1:2] / (around[:, :1] + 1e-3) + _LEAST_VARIANCE
    coherence = (around[:, 3:] / (around[:, 2:3] + 1e-5)).clamp(_LEAST_COHERENCE, 1)
    worth = coherence / variance
    return Information(e.tensor * (worth * coherence), e.force * worth)


def solve_field(info: Information, origin: Tensor) -> Tensor:
    """The field (B,2,rows,columns), as a deviation from zero, that ``info`` and the expectation of smoothness agree on.

    ``origin`` is the deviation at which the evidence was taken: its steps are counted from there, the shrinkage from zero.
    """
    size = (origin.shape[-2], origin.shape[-1])
    force = info.force + times(info.tensor, origin)
    field = solve_affine(Information(info.tensor, force))
    for power in range(_largest_window(size), -1, -1):
        factor = 2**power
        rest = torch.cat([info.tensor, force - times(info.tensor, field)], 1)
        rest = smooth(to_cells(rest, factor) if power else rest, _SMOOTHINGS)
        step = _window_step(rest, window_sigma(_SMOOTHINGS, CELL * factor))
        field = field + (from_cells(step, size, factor) if power else step)
    return field


def solve_affine(info: Information) -> Tensor:
    """The one affine motion (B,2,rows,columns) that explains ``info`` best; next to none where it says nothing."""
    rows, columns = info.tensor.shape[-2:]
    basis = _affine_basis(rows, columns, info.tensor.device)
    pixels = CELL * CELL
    a, b = info.tensor.flatten(2).double() * pixels, info.force.flatten(2).double() * pixels
    # (B,3,3) blocks of the normal equations: every cell's tensor weighs the products of the basis.
    xx, xy, yy = ((basis * a[:, i, None]) @ basis.T for i in range(3))
    left = torch.cat([torch.cat([xx, xy], 2), torch.cat([xy, yy], 2)], 1)
    right = (b @ basis.T).flatten(1)
    expected = _expected_motion(rows, columns, basis.device)
    # solve_ex: the plain one waits for the device to report singular matrices, which the expectation excludes.
    motion: Tensor = torch.linalg.solve_ex(left + torch.diag(expected), right)[0].view(-1, 2, 3)
    return (motion @ basis).float().view(-1, 2, rows, columns)


@lru_cache(maxsize=64)
def _expected_motion(rows: int, columns: int, device: torch.device) -> Tensor:
    """Inverse variances (6,) of the motion's numbers, kept per device: bringing numbers there waits for it."""
    shift, slopes = _SHIFT * CELL * max(rows, columns), (_SLOPE * CELL * columns, _SLOPE * CELL * rows)
    return torch.tensor([1 / shift**2, *(1 / s**2 for s in slopes)] * 2, dtype=torch.float64, device=device)


def _affine_basis(rows: int, columns: int, device: torch.device) -> Tensor:
    """1, x and y per cell as rows of (3, rows * columns), from -0.5 to 0.5 across the picture, in double precision."""
    y = (torch.arange(rows, dtype=torch.float64, device=device) + 0.5) / rows - 0.5
    x = (torch.arange(columns, dtype=torch.float64, device=device) + 0.5) / columns - 0.5
    one = torch.ones(rows, columns, dtype=torch.float64, device=device)
    return torch.stack([one, *torch.meshgrid(x, y, indexing="xy")]).reshape(3, -1)


def confidence(info: Information, scale: float = 1.0) -> Tensor:
    """How well the pixels around every cell fix its displacement in the weaker direction, (B,1,rows,columns) in [0,1].

    One half where they alone, without the surroundings' help, leave a standard deviation of _HALF_TRUST_PX in pixels of the
    ref, of which one of ``info``'s measures ``scale``.
    """
    samples = _samples(window_sigma(_CONFIDENCE_SMOOTHINGS, CELL))
    certainty = _weaker_eigenvalue(smooth(info.tensor, _CONFIDENCE_SMOOTHINGS)) * samples * (_HALF_TRUST_PX / scale) ** 2
    return certainty / (certainty + 1)


def times(tensor: Tensor, vector: Tensor) -> Tensor:
    """Product per cell of a symmetric ``tensor`` (B,3,...) and a ``vector`` (B,2,...)."""
    xx, xy, yy = tensor[:, :1], tensor[:, 1:2], tensor[:, 2:]
    x, y = vector[:, :1], vector[:, 1:]
    return torch.cat([xx * x + xy * y, xy * x + yy * y], 1)


def _largest_window(size: tuple[int, int]) -> int:
    power = _LARGEST_WINDOW
    while power and min(size) < _FEWEST_CELLS * 2**power:
        power -= 1
    return power


def _samples(sigma: float) -> float:
    """Pixels that a Gaussian window averages over."""
    return 4 * math.pi * sigma * sigma


def _window_step(equations: Tensor, sigma: float) -> Tensor:
    """The answer of windows of ``sigma`` pixels, shrunk by how far they are found to deviate from zero in this picture.

    What a window must add to zero beyond its noise is the field's roughness; averaged over the windows that can tell, it
    replaces the expectation, within limits.
    """
    samples, expected = _samples(sigma), (_ROUGHNESS * sigma) ** 2
    information = _weaker_eigenvalue(equations[:, :3])
    ridge = 1 / (samples * expected)
    kept = (information / (information + ridge)).square()
    telling = kept > _LEAST_TRUST
    kept = kept * telling
    squared = _solve(equations, ridge).square().sum(1, keepdim=True) / 2
    noise = kept / (samples * information.clamp_min(_TINY))
    found = (squared * telling - noise).sum((1, 2, 3), keepdim=True)
    prior = _EXPECTATION_WEIGHT * kept[0].numel()
    deviation = (found + prior * expected) / (kept.sum((1, 2, 3), keepdim=True) + prior)
    deviation = deviation.clamp(_SMOOTHEST * expected, _ROUGHEST * expected)
    return _solve(equations, 1 / (samples * deviation))


def _weaker_eigenvalue(tensor: Tensor) -> Tensor:
    """Smaller eigenvalue per cell of ``tensor`` (B,3,...), rounding of empty ones removed."""
    xx, xy, yy = tensor[:, :1], tensor[:, 1:2], tensor[:, 2:3]
    weaker: Tensor = (xx + yy) / 2 - ((xx - yy).square() / 4 + xy * xy).sqrt()
    return (weaker - _TINY).clamp_min(0)


def _solve(equations: Tensor, ridge: Tensor | float) -> Tensor:
    """Solve (A + ridge I) d = b per cell; ``equations`` (B,5,...) holds xx, xy, yy, bx, by."""
    xx, xy, yy, bx, by = (equations[:, i : i + 1] for i in range(5))
    xx, yy = xx + ridge, yy + ridge
    solved: Tensor = torch.cat([yy * bx - xy * by, xx * by - xy * bx], 1) / (xx * yy - xy * xy)
    return solved
