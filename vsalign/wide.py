"""Wide search: the homography between two versions of a frame that differ in crop, rotation, shear or scale.

Matched features (:mod:`vsalign.keypoints`) give a homography (:mod:`vsalign.homography`). It is believed only when four tests
agree: two versions of a frame can differ like that; chance does not explain the matches; they hold it fast all over the part
that both show; and the pixels there agree, block by block. Everything else is refused: no answer is better than a wrong one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vsalign.homography import Array, Size, doubt, fit_homography, jacobian, log10_chance, move, paired, to_unit
from vsalign.keypoints import find_features, match
from vsalign.pyramid import halve, normalise
from vsalign.warp import positions_inside, sample, scale_positions

_LARGEST_LOG10_CHANCE = -8.0
#: What two versions of a frame can differ by. Scale counts in pictures' longer sides; the stretch is the ratio of the two
#: directions' scales; the tilt that of the scales at two corners; the overlap a share of the picture that has more of it.
_LARGEST_SCALE, _LARGEST_STRETCH, _LARGEST_TILT, _LEAST_OVERLAP = 4.0, 2.5, 2.0, 0.2
_LARGEST_DOUBT = 0.01
#: Pixels are compared in blocks, on the level of the ref's pyramid at which the overlap has about this many.
_COMPARED_PIXELS, _BLOCK, _LEAST_BLOCKS = 12_000, 8, 12
_LEAST_DETAIL = 0.05
_BLOCK_AGREES, _LEAST_AGREEMENT = 0.5, 0.6
_GRID = 24


@dataclass(frozen=True, slots=True, eq=False)
class WideMatch:
    """A homography that passed every test. ``clip_from_ref`` (3,3) float64: clip pixel from ref pixel, centres at integers in
    both, last element 1.

    ``num_inliers`` features obey it, ``inlier_share`` of all that matched. ``log10_chance``: 10 to it is the expected number of
    such fits among unrelated pictures. ``doubt_px``: what the fit leaves open over the overlap, in clip pixels. ``overlap``:
    share of the ref that the clip shows. ``agreement``: share of the overlap's blocks with detail whose pixels agree.
    """

    clip_from_ref: Array
    num_inliers: int
    inlier_share: float
    log10_chance: float
    doubt_px: float
    overlap: float
    agreement: float


@torch.no_grad()
def find_homography(clip: Tensor, ref: Tensor, mask: Tensor | None = None) -> WideMatch | None:
    """The homography from ref to clip, or None where it isn't sure.

    clip (1,1,h,w), ref (1,1,H,W): luma, floating point in [0,1]. ``mask`` (1,1,H,W) bool: True where the ref isn't to be
    trusted. Equal input gives an equal answer, whatever the number of threads. Raises ValueError for other shapes.
    """
    _check(clip, ref, mask)
    clip, ref = clip.detach().float().cpu(), ref.detach().float().cpu()
    clip_size, ref_size = _size(clip), _size(ref)
    of_ref, of_clip = find_features(ref, mask), find_features(clip)
    pairs = paired(of_ref, of_clip, match(of_ref, of_clip))
    fit = fit_homography(pairs, ref_size, clip_size)
    if fit is None or not is_possible(fit.clip_from_ref, ref_size, clip_size):
        return None
    points = _shared_points(fit.clip_from_ref, ref_size, clip_size)
    found = WideMatch(
        fit.clip_from_ref,
        len(fit.inliers),
        len(fit.inliers) / len(pairs),
        log10_chance(fit, len(pairs), ref_size, clip_size),
        doubt(fit, points, ref_size, clip_size),
        len(points) / _GRID**2,
        agreement(fit.clip_from_ref, clip, ref, mask),
    )
    return found if is_sure(found, clip_size) else None


def is_sure(found: WideMatch, clip_size: Size) -> bool:
    """Whether chance, doubt and pixels all speak for ``found``; ``clip_size`` is (height, width)."""
    held_fast = found.doubt_px <= _LARGEST_DOUBT * max(clip_size)
    return found.log10_chance <= _LARGEST_LOG10_CHANCE and held_fast and found.agreement >= _LEAST_AGREEMENT


def is_possible(matrix: Array, ref_size: Size, clip_size: Size) -> bool:
    """Whether two versions of a frame can lie like this: nothing mirrored, folded or at infinity, sizes and shapes of a kind,
    and enough that both show."""
    if not np.isfinite(matrix).all():
        return False
    with np.errstate(all="ignore"):
        local = jacobian(matrix, _corners(ref_size)) * (to_unit(clip_size)[0, 0] / to_unit(ref_size)[0, 0])
        determinants = np.linalg.det(local)
    # Their sign changes where the picture is mirrored and across the horizon; with all four positive the ref stays convex.
    if not (determinants > 0).all():
        return False
    scales, stretches = np.sqrt(determinants), np.linalg.cond(local)
    if scales.max() > _LARGEST_SCALE or scales.min() < 1 / _LARGEST_SCALE or scales.max() / scales.min() > _LARGEST_TILT:
        return False
    return bool(stretches.max() <= _LARGEST_STRETCH and _overlap(matrix, ref_size, clip_size) >= _LEAST_OVERLAP)


def _overlap(matrix: Array, ref_size: Size, clip_size: Size) -> float:
    """Area that both pictures show, as a share of the picture of which that is more."""
    quad = move(matrix, _corners(ref_size)).astype(np.float32)
    area = cv2.intersectConvexConvex(quad, _corners(clip_size).astype(np.float32))[0]
    return float(area / min(cv2.contourArea(quad), clip_size[0] * clip_size[1]))


def _corners(size: Size) -> Array:
    """(4,2): the outer corners of a picture of ``size`` (height, width), clockwise."""
    right, bottom = size[1] - 0.5, size[0] - 0.5
    return np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])


def _shared_points(matrix: Array, ref_size: Size, clip_size: Size) -> Array:
    """Those of an even grid of ref positions (N,2) that lie on the clip."""
    x, y = ((np.arange(_GRID) + 0.5) * (side / _GRID) - 0.5 for side in (ref_size[1], ref_size[0]))
    points = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    low, high = _corners(clip_size)[[0, 2]]
    moved = move(matrix, points)
    return np.asarray(points[((moved >= low) & (moved <= high)).all(1)])


def agreement(matrix: Array, clip: Tensor, ref: Tensor, mask: Tensor | None) -> float:
    """Share of the blocks of the overlap whose pixels correlate, among those in which either picture shows detail.

    clip (1,1,h,w) and ref (1,1,H,W) float32 luma, ``mask`` (1,1,H,W) bool. 0 where there are too few blocks to tell.
    """
    shared = len(_shared_points(matrix, _size(ref), _size(clip))) / _GRID**2 * ref.numel()
    level = max(0, round(math.log2(max(shared, 1) / _COMPARED_PIXELS) / 2))
    trusted = torch.ones_like(ref) if mask is None else (~mask.cpu()).float()
    for _ in range(level):
        ref, trusted = halve(ref), halve(trusted)
    positions = level_positions(matrix, _size(ref), level)
    clip, positions = _as_coarse(clip, positions)
    warped = sample(clip[0], positions[0])[None]
    inside = positions_inside(positions, _size(clip)) & (trusted > 0.99)
    return _agreeing_share(normalise(warped, level), normalise(ref, level), inside)


def level_positions(matrix: Array, size: Size, level: int) -> Tensor:
    """Clip positions (1,2,H,W) float32 of the pixels of the ref's pyramid ``level``, which has ``size``."""
    pixels = scale_positions(size, size)[0].permute(1, 2, 0).double().numpy()
    moved = move(matrix, (pixels + 0.5) * 2**level - 0.5)
    return torch.from_numpy(moved).permute(2, 0, 1)[None].float().contiguous()


def _as_coarse(clip: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """``clip`` halved, and ``positions`` on it, until neighbouring positions are less than two pixels apart."""
    spacing = float((positions[..., 1:, 1:] - positions[..., :-1, :-1]).norm(dim=1).median()) / math.sqrt(2)
    while spacing >= 2:
        clip, positions, spacing = halve(clip), (positions + 0.5) / 2 - 0.5, spacing / 2
    return clip, positions


def _agreeing_share(first: Tensor, second: Tensor, inside: Tensor) -> float:
    """``first`` and ``second`` normalised pictures (1,1,h,w); only blocks wholly ``inside`` (1,1,h,w) bool count."""
    whole = F.avg_pool2d(inside.float(), _BLOCK)[0, 0].numpy() == 1
    sums = torch.cat([first, second, first * first, second * second, first * second], 1)
    a, b, aa, bb, ab = F.avg_pool2d(sums, _BLOCK)[0].double().numpy()
    spread_a, spread_b = np.maximum(aa - a * a, 1e-9), np.maximum(bb - b * b, 1e-9)
    correlation = (ab - a * b) / np.sqrt(spread_a * spread_b)
    detailed = whole & (np.maximum(spread_a, spread_b) > _LEAST_DETAIL)
    if detailed.sum() < _LEAST_BLOCKS:
        return 0.0
    return float((correlation[detailed] > _BLOCK_AGREES).mean())


def _size(picture: Tensor) -> Size:
    return picture.shape[-2], picture.shape[-1]


def _check(clip: Tensor, ref: Tensor, mask: Tensor | None) -> None:
    for name, value in (("clip", clip), ("ref", ref)):
        if value.dim() != 4 or value.shape[:2] != (1, 1):
            raise ValueError(f"{name} has shape {tuple(value.shape)}, expected (1, 1, height, width)")
    if mask is not None and mask.shape != ref.shape:
        raise ValueError(f"mask has shape {tuple(mask.shape)}, expected the ref's, {tuple(ref.shape)}")
