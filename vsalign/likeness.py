"""Where a warped clip and its ref do not show the same thing: logos, hard subtitles, patched parts, another picture.

The two may be graded, blurred, compressed and grained differently, so they can't simply be subtracted. Each side is predicted
from the other: by one tone curve for the picture, then by gain and offset fitted to ever smaller surroundings, each time with
less weight on what the fit before could not explain, so that a title over the sky is not explained away by its own pixels. What
either side has beyond that is held against the noise of the picture and against the local contrast that both sides share, of
which blur may take its part. It happens at half resolution, where grain and coding errors are weaker and lettering still whole.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vsalign.luma import to_luma
from vsalign.pyramid import from_cells, halve, smooth, to_cells
from vsalign.warp import Warp, apply_warp

#: Knots of the tone curve, every how many pixels one is looked at, fits of it, and what share of all pixels' weight holds it
#: straight, and to gain 1.
_TONES, _TONE_STEP, _TONE_ROUNDS, _TONE_STIFFNESS, _TONE_HOLD = 12, 4, 3, 0.03, 0.001
#: Pixels (of half resolution) per cell of the local fit, and how often cells are smoothed in one fit after the other:
#: surroundings with a standard deviation of 41, 23, 9 and 9 pixels.
_CELL, _SMOOTHINGS = 8, (40, 12, 2, 2)
#: Residuals beyond these count little in the tone curve and in the local fit.
_TONE_OUTLIER, _LOCAL_OUTLIER = 0.15, 0.06
#: Variance of the ref up to which a fit keeps to the tone curve.
_GAIN_HOLD = 0.01
#: Residual energy that makes half a mismatch: so many times the noise's, plus this part of the contrast that both sides have.
_NOISE_ALLOWED, _CONTRAST_ALLOWED = 12.0, 0.15
#: Standard deviation of the noise, samples in [0, 1]: never taken as less (grading is no straight line), nor as more (pictures
#: with nothing in common are no noise). Averages over _WIDE carry less of it.
_LEAST_NOISE, _MOST_NOISE, _NARROW, _WIDE, _WIDE_NOISE = 0.016, 0.06, 1, 2, 0.25
_CONTRAST_REACH = 3
#: The mean absolute deviation from the 3 x 3 mean, brought to the noise's standard deviation.
_MEDIAN_TO_DEVIATION = 1.4826 * (9 / 8) ** 0.5
_TINY = 1e-6


@torch.no_grad()
def mismatch(clip: Tensor, ref: Tensor, warp: Warp, tile_rows: int = 0) -> Tensor:
    """How little ``clip`` (B,C,h,w), warped, and ``ref`` (B,C,H,W) show the same thing: (B,1,H,W) float32 in [0, 1].

    Both are float in [0, 1], C = 1 (luma) or 3 (RGB); ``warp`` is the one between them. Above 0.5 is a mismatch, 1 what lies
    outside the clip; edges are soft. Flat on both sides is the same, whatever the levels. ``tile_rows`` as for
    ``vsalign.warp.apply_warp``. Raises ValueError when batches or sizes do not belong together.
    """
    expected = (ref.shape[0], 2, *ref.shape[-2:])
    if tuple(warp.clip_from_ref.shape) != expected or clip.shape[:2] != ref.shape[:2]:
        seen = f"clip {tuple(clip.shape)}, ref {tuple(ref.shape)}, clip_from_ref {tuple(warp.clip_from_ref.shape)}"
        raise ValueError(f"{seen} do not belong together: expected equal batch and channels, clip_from_ref {expected}")
    moved, inside = apply_warp(to_luma(clip), warp, tile_rows)
    target = to_luma(ref)
    return torch.cat([_mismatch_of_one(moved[i : i + 1], target[i : i + 1], inside[i : i + 1]) for i in range(len(ref))])


def _mismatch_of_one(moved: Tensor, ref: Tensor, inside: Tensor) -> Tensor:
    """``mismatch`` of one pair, all (1,1,H,W): the clip on ref's geometry, the ref, where there is clip (1) or not (0)."""
    clip, half_ref, valid = halve(moved), halve(ref), (halve(inside) > 0.99).float()
    if not valid.any():
        return torch.ones_like(ref)
    score = torch.maximum(_unexplained(clip, half_ref, valid), _unexplained(half_ref, clip, valid))
    size = (ref.shape[-2], ref.shape[-1])
    full = F.interpolate(score, scale_factor=2, mode="bilinear", align_corners=False)[..., : size[0], : size[1]]
    return torch.where(inside > 0, full, torch.ones_like(full)).clamp(0, 1)


def _unexplained(clip: Tensor, ref: Tensor, valid: Tensor) -> Tensor:
    """How much of ``clip`` its counterpart does not let one expect, 0 to 1."""
    predicted, scaled = _predict(clip, ref, valid)
    return _score(clip, clip - predicted, scaled, valid)


def _predict(clip: Tensor, ref: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The clip as the ref makes one expect it, and the contrast of that alone (without local offsets)."""
    toned = _apply_tone(_tone_curve(clip, ref, valid), ref)
    weight, size = _weigh(clip - toned, _TONE_OUTLIER, valid), (ref.shape[-2], ref.shape[-1])
    for times in _SMOOTHINGS:
        gain, offset = (from_cells(field, size, _CELL) for field in _local_fit(clip, toned, weight, times))
        weight = _weigh(clip - gain * toned - offset, _LOCAL_OUTLIER, valid)
    return gain * toned + offset, gain * toned


def _tone_curve(clip: Tensor, ref: Tensor, valid: Tensor) -> Tensor:
    """What ``clip`` mostly has where ``ref`` has 0, 1/_TONES, ..., 1 (double): never falling, straight where nothing is."""
    x, y, seen = (t[..., ::_TONE_STEP, ::_TONE_STEP].flatten().double() for t in (ref.clamp(0, 1), clip, valid))
    straight = torch.linspace(0, 1, _TONES + 1, dtype=torch.float64, device=x.device)
    hats = (1 - (x - straight[:, None]).abs() * _TONES).clamp_min(0)
    unit = torch.eye(_TONES + 1, dtype=torch.float64, device=x.device)
    bend = unit.diff(n=2, dim=0)
    stiff = _TONE_STIFFNESS * (seen.sum() + 1) * (bend.T @ bend + _TONE_HOLD * unit)
    curve, weight = straight, seen
    for _ in range(_TONE_ROUNDS):
        # Held a little to a straight line of gain 1, so that it is defined for a picture of one gray.
        weighted = hats * weight
        curve = torch.linalg.solve(weighted @ hats.T + stiff, weighted @ y + stiff @ straight)
        weight = _weigh(y - curve @ hats, _TONE_OUTLIER, seen)
    return curve.cummax(0).values


def _apply_tone(curve: Tensor, ref: Tensor) -> Tensor:
    place = ref.clamp(0, 1) * _TONES
    low = place.floor().clamp_max(_TONES - 1)
    values = curve.float()
    return torch.lerp(values[low.long()], values[low.long() + 1], place - low)


def _weigh(residual: Tensor, outlier: float, valid: Tensor) -> Tensor:
    return valid / (1 + (residual / outlier) ** 2) ** 2


def _local_fit(clip: Tensor, ref: Tensor, weight: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Gain and offset per cell, from ``weight``-ed pixels around it; the gain stays 1 where the ref is flat."""
    products = torch.cat([weight, weight * ref, weight * clip, weight * ref * ref, weight * ref * clip], 1)
    total, x, y, xx, xy = smooth(to_cells(products, _CELL), times).tensor_split(5, dim=1)
    total = total.clamp_min(_TINY)
    x, y = x / total, y / total
    variance, covariance = (xx / total - x * x).clamp_min(0), xy / total - x * y
    gain = ((covariance + _GAIN_HOLD) / (variance + _GAIN_HOLD)).clamp_min(0)
    return gain, y - gain * x


def _score(clip: Tensor, residual: Tensor, scaled_ref: Tensor, valid: Tensor) -> Tensor:
    """Residual energy against what noise and shared contrast allow, at two scales, 0 to 1."""
    noise = _noise(residual, valid)
    contrast = _CONTRAST_ALLOWED * torch.minimum(_variance(clip), _variance(scaled_ref))
    narrow, wide = _mean(residual * residual, _NARROW), _mean(residual, _WIDE) ** 2
    allowed = _NOISE_ALLOWED * noise * noise
    # Pixels of a patch deviate to both sides, a title's to one: energy finds the one, the wide mean the other under grain.
    return torch.maximum(narrow / (narrow + contrast + allowed), wide / (wide + contrast + _WIDE_NOISE * allowed))


def _noise(residual: Tensor, valid: Tensor) -> Tensor:
    """Standard deviation of what is no picture on either side, by the residual's finest detail, as in most of the picture."""
    fine = (residual - _mean(residual, 1)).abs()[valid > 0]
    return (fine.median() * _MEDIAN_TO_DEVIATION).clamp(_LEAST_NOISE, _MOST_NOISE)


def _variance(image: Tensor) -> Tensor:
    mean = _mean(image, _CONTRAST_REACH)
    return (_mean(image * image, _CONTRAST_REACH) - mean * mean).clamp_min(0)


def _mean(image: Tensor, reach: int) -> Tensor:
    """Mean over the pixels up to ``reach`` away, edges repeated."""
    return F.avg_pool2d(F.pad(image, (reach,) * 4, mode="replicate"), 2 * reach + 1, 1)
