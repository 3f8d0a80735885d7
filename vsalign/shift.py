"""The first guess: one shift for the whole picture, the one at which what both show of each other's scene correlates best.

Correlation coefficients over the true overlap, for all shifts at once, by Fourier transforms: Padfield, Masked object
registration in the Fourier domain, IEEE Trans. Image Processing 21 (2012).
"""

from __future__ import annotations

import torch
from torch import Tensor

#: A shift that leaves less than this share of the picture in common is no candidate; a third of the width leaves two thirds.
_LEAST_OVERLAP = 0.3
_STRONGEST = 0.99
_TINY = 1e-6


def first_shift(clip: Tensor, ref: Tensor, clip_trust: Tensor | None = None, ref_trust: Tensor | None = None) -> Tensor:
    """Whole-pixel (dx, dy) per pair, (B,2) float32, such that ref at p looks like clip at p + (dx, dy).

    ``clip`` and ``ref`` (B,1,h,w) are locally normalised; where a trust (B,1,h,w) is at most 0.5 a picture does not count. Of
    two shifts the one wins whose correlation is less likely to be chance (Fisher's z times the root of the overlap).
    """
    seen_clip = torch.ones_like(clip) if clip_trust is None else (clip_trust > 0.5).float().expand_as(clip)
    seen_ref = torch.ones_like(ref) if ref_trust is None else (ref_trust > 0.5).float().expand_as(ref)
    correlation, overlap = _correlations(ref, clip, seen_ref, seen_clip)
    least = _LEAST_OVERLAP * overlap[..., :1, :1]
    surprise = torch.atanh(correlation.clamp(-_STRONGEST, _STRONGEST)) * overlap.sqrt()
    surprise = surprise.masked_fill(overlap < least, -torch.inf)
    height, width = surprise.shape[-2:]
    best = surprise.flatten(1).argmax(1)
    x, y = best % width, best // width
    return torch.stack([torch.where(x < width // 2, x, x - width), torch.where(y < height // 2, y, y - height)], 1).float()


def _correlations(a: Tensor, b: Tensor, seen_a: Tensor, seen_b: Tensor) -> tuple[Tensor, Tensor]:
    """Correlation coefficient of a(p) with b(p + d), and pixels in common, for every shift d: (B,2h,2w), negative ones last."""
    size = (2 * a.shape[-2], 2 * a.shape[-1])

    def spectrum(image: Tensor) -> Tensor:
        transformed: Tensor = torch.fft.rfft2(image[:, 0].double(), s=size)
        return transformed

    def summed(x: Tensor, y: Tensor) -> Tensor:
        total: Tensor = torch.fft.irfft2(x.conj() * y, s=size)
        return total

    in_a, sum_a, square_a = (spectrum(x) for x in (seen_a, a * seen_a, a * a * seen_a))
    in_b, sum_b, square_b = (spectrum(x) for x in (seen_b, b * seen_b, b * b * seen_b))
    overlap = summed(in_a, in_b).round()
    count = overlap.clamp_min(1)
    mean_a, mean_b = summed(sum_a, in_b) / count, summed(in_a, sum_b) / count
    together = summed(sum_a, sum_b) / count - mean_a * mean_b
    variance_a = (summed(square_a, in_b) / count - mean_a * mean_a).clamp_min(_TINY)
    variance_b = (summed(in_a, square_b) / count - mean_b * mean_b).clamp_min(_TINY)
    return together / (variance_a * variance_b).sqrt(), overlap


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Correlation (B,), from -1 to 1, of normalised pictures (B,1,h,w) about zero; 0 where one of them is empty."""
    x, y = a.flatten(1), b.flatten(1)
    return (x * y).sum(1) / ((x * x).sum(1) * (y * y).sum(1)).sqrt().clamp_min(_TINY)
