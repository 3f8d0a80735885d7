"""The first guess: one shift for the whole picture, from phase correlation (Kuglin and Hines, 1975) of gradient magnitudes."""

from __future__ import annotations

import torch
from torch import Tensor

from vsalign.pyramid import gradient, smooth

_REACH = 0.35
_FLOOR = 1e-3
_TINY = 1e-12


def first_shift(clip: Tensor, ref: Tensor) -> tuple[int, int]:
    """Whole-pixel (dx, dy) such that ref at p looks like clip at p + (dx, dy); both (1,1,h,w), locally normalised.

    At most 0.35 of the width and height. No shift wins unless the correlation peak makes the pictures agree better.
    """
    peak = _correlation_peak(clip, ref)
    return peak if _agreement(clip, ref, peak) > _agreement(clip, ref, (0, 0)) else (0, 0)


def _correlation_peak(clip: Tensor, ref: Tensor) -> tuple[int, int]:
    h, w = ref.shape[-2:]
    spectrum = _edge_spectrum(ref).conj() * _edge_spectrum(clip)
    size = spectrum.abs()
    surface = smooth(torch.fft.irfft2(spectrum / (size + _FLOOR * size.mean() + _TINY), s=(h, w)), 2)[0, 0]
    reachable = _within(h, ref.device)[:, None] & _within(w, ref.device)[None, :]
    best = int(surface.masked_fill(~reachable, -torch.inf).argmax())
    y, x = divmod(best, w)
    return (x - w if x > w // 2 else x), (y - h if y > h // 2 else y)


def _edge_spectrum(image: Tensor) -> Tensor:
    h, w = image.shape[-2:]
    gx, gy = gradient(image)
    edges = (gx * gx + gy * gy).sqrt()
    rows: Tensor = torch.hann_window(h, periodic=False, device=image.device)[:, None]
    columns: Tensor = torch.hann_window(w, periodic=False, device=image.device)[None, :]
    spectrum: Tensor = torch.fft.rfft2((edges - edges.mean()) * rows * columns)
    return spectrum


def _within(length: int, device: torch.device) -> Tensor:
    """Which circular shifts of an axis are at most _REACH of its length."""
    shift = torch.arange(length, device=device)
    nearest: Tensor = torch.minimum(shift, length - shift)
    return nearest <= _REACH * length


def _agreement(clip: Tensor, ref: Tensor, shift: tuple[int, int]) -> float:
    """Correlation of the overlap."""
    (dx, dy), (h, w) = shift, ref.shape[-2:]
    r = ref[..., max(0, -dy) : h - max(0, dy), max(0, -dx) : w - max(0, dx)]
    c = clip[..., max(0, dy) : h + min(0, dy), max(0, dx) : w + min(0, dx)]
    return correlation(r, c)


def correlation(a: Tensor, b: Tensor) -> float:
    """Correlation, from -1 to 1, of two normalised pictures; 0 where one of them is empty."""
    return float((a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt().clamp_min(_TINY))
