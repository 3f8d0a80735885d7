"""The homography that most matched features obey, how sure it is, and whether chance could have made it.

A homography is (3,3) float64, maps ref pixels to clip pixels, pixel centres at integers, last element 1. MAGSAC (Barath et al.,
CVPR 2020) finds it, weighted least squares make it exact, and an a-contrario count (Moisan and Stival, IJCV 2004) says how
often unrelated pictures would fit as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vsalign.keypoints import Features

Array = npt.NDArray[np.float64]
Size = tuple[int, int]

_LEAST_MATCHES = 8
#: MAGSAC's largest error, as a share of the clip's longer side; within it every error counts by how small it is.
_MAGSAC_ERROR, _MAGSAC_ROUNDS, _MAGSAC_CERTAINTY = 0.01, 5000, 0.9999
#: A feature belongs to a homography when it lies within this share of its diameter of where it should, turned and sized as it
#: should within an angle (radians) and a factor.
_POSITION_SHARE, _ANGLE, _SIZE_FACTOR = 0.25, math.pi / 6, 1.5
#: Measured: half of all features lie within this share of their diameter.
_POSITION_SIGMA = 0.07
_FIT_ROUNDS, _FIT_STEPS = 3, 4
#: Inliers in one square of this share of the picture's longer side tell one thing.
_SQUARE_SHARE = 1 / 24


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Matched features, N of them: ``ref`` and ``clip`` points (N,2); their ``ref_sizes`` and ``clip_sizes`` (N,), diameters;
    ``turn`` (N,) radians from the ref's angle to the clip's. All in pixels of their picture."""

    ref: Array
    clip: Array
    ref_sizes: Array
    clip_sizes: Array
    turn: Array

    def __len__(self) -> int:
        return len(self.ref)

    def where(self, keep: npt.NDArray[np.bool_]) -> Pairs:
        return Pairs(self.ref[keep], self.clip[keep], self.ref_sizes[keep], self.clip_sizes[keep], self.turn[keep])


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """``clip_from_ref`` (3,3), the ``inliers`` it rests on, and the ``covariance`` (8,8) of its free elements in the unit
    coordinates of :func:`to_unit`."""

    clip_from_ref: Array
    inliers: Pairs
    covariance: Array


def paired(ref: Features, clip: Features, indices: npt.NDArray[np.int64]) -> Pairs:
    """The features of ``indices`` (N,2), ref's first."""
    r, c = indices[:, 0], indices[:, 1]
    return Pairs(ref.points[r], clip.points[c], ref.sizes[r], clip.sizes[c], clip.angles[c] - ref.angles[r])


def fit_homography(pairs: Pairs, ref_size: Size, clip_size: Size) -> Fit | None:
    """The homography most ``pairs`` obey; None when no eight of them agree on one. Sizes are (height, width)."""
    if len(pairs) < _LEAST_MATCHES:
        return None
    threshold = _MAGSAC_ERROR * max(clip_size)
    found = cv2.findHomography(
        pairs.ref, pairs.clip, cv2.USAC_MAGSAC, threshold, maxIters=_MAGSAC_ROUNDS, confidence=_MAGSAC_CERTAINTY
    )[0]
    fit = None
    for _ in range(_FIT_ROUNDS):
        if found is None or not np.isfinite(found).all():
            return None
        inliers = pairs.where(obeying(found, pairs))
        if len(inliers) < _LEAST_MATCHES:
            return None
        fit = _least_squares(found, inliers, to_unit(ref_size), to_unit(clip_size))
        found = None if fit is None else fit.clip_from_ref
    return fit


def move(matrix: Array, points: Array) -> Array:
    """``points`` (...,2) through a homography."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(mapped[..., :2] / mapped[..., 2:])


def jacobian(matrix: Array, points: Array) -> Array:
    """Derivative (...,2,2) of :func:`move` at ``points`` (...,2)."""
    w = points @ matrix[2, :2] + matrix[2, 2]
    moved = move(matrix, points)
    return np.asarray((matrix[:2, :2] - moved[..., None] * matrix[2, :2]) / w[..., None, None])


def to_unit(size: Size) -> Array:
    """(3,3): pixels of a picture of ``size`` (height, width) to coordinates whose origin is its middle and in which its
    longer side runs from -1 to 1."""
    half = max(size) / 2
    return np.array([[1 / half, 0, -(size[1] - 1) / 2 / half], [0, 1 / half, -(size[0] - 1) / 2 / half], [0, 0, 1]])


def obeying(matrix: Array, pairs: Pairs) -> npt.NDArray[np.bool_]:
    """Mask (N,) of the pairs whose place, turn and size follow ``matrix``."""
    with np.errstate(all="ignore"):
        local = jacobian(matrix, pairs.ref)
        expected_turn = np.arctan2(local[:, 1, 0] - local[:, 0, 1], local[:, 0, 0] + local[:, 1, 1])
        grown = pairs.clip_sizes / (pairs.ref_sizes * np.sqrt(np.linalg.det(local)))
        distance = np.linalg.norm(move(matrix, pairs.ref) - pairs.clip, axis=1)
        near = distance < _POSITION_SHARE * pairs.clip_sizes
        turned = np.abs(np.angle(np.exp(1j * (pairs.turn - expected_turn)))) < _ANGLE
        return np.asarray(near & turned & (np.abs(np.log(grown)) < math.log(_SIZE_FACTOR)))


def _least_squares(matrix: Array, pairs: Pairs, ref_unit: Array, clip_unit: Array) -> Fit | None:
    """Gauss-Newton from ``matrix``; errors count in shares of each feature's size, large ones less (Cauchy)."""
    ref, clip = move(ref_unit, pairs.ref), move(clip_unit, pairs.clip)
    sigma = _POSITION_SIGMA * pairs.clip_sizes * clip_unit[0, 0]
    unit = clip_unit @ matrix @ np.linalg.inv(ref_unit)
    unit = unit / unit[2, 2]
    for _ in range(_FIT_STEPS):
        error = (clip - move(unit, ref)) / sigma[:, None]
        weight = 1 / (1 + (error**2).sum(1))
        slopes = _derivatives(unit, ref) / sigma[:, None, None]
        # einsum rather than a matrix product: its sums do not depend on the number of threads.
        normal = np.einsum("n,nij,nik->jk", weight, slopes, slopes)
        if not np.linalg.cond(normal) < 1e12:
            return None
        step = np.linalg.solve(normal, np.einsum("n,nij,ni->j", weight, slopes, error))
        unit = unit + np.append(step, 0).reshape(3, 3)
    pixels = np.linalg.inv(clip_unit) @ unit @ ref_unit
    return Fit(pixels / pixels[2, 2], pairs, np.linalg.inv(normal))


def _derivatives(matrix: Array, points: Array) -> Array:
    """(N,2,8): how :func:`move` changes with the first eight elements of ``matrix``."""
    homogeneous = np.concatenate([points, np.ones_like(points[:, :1])], 1)
    w = homogeneous @ matrix[2]
    moved, zero = move(matrix, points), np.zeros_like(homogeneous)
    by_x = np.concatenate([homogeneous, zero, -moved[:, :1] * homogeneous], 1)
    by_y = np.concatenate([zero, homogeneous, -moved[:, 1:] * homogeneous], 1)
    return np.asarray(np.stack([by_x, by_y], 1)[..., :8] / w[:, None, None])


def doubt(fit: Fit, points: Array, ref_size: Size, clip_size: Size) -> float:
    """Root mean square, in clip pixels, of what the fit leaves open at ref ``points`` (N,2)."""
    ref_unit, clip_unit = to_unit(ref_size), to_unit(clip_size)
    if len(points) == 0:
        return math.inf
    unit = clip_unit @ fit.clip_from_ref @ np.linalg.inv(ref_unit)
    slopes = _derivatives(unit / unit[2, 2], move(ref_unit, points))
    variance = np.einsum("nij,jk,nik->n", slopes, fit.covariance, slopes)
    return float(np.sqrt(variance.mean()) / clip_unit[0, 0])


def log10_chance(fit: Fit, num_pairs: int, ref_size: Size, clip_size: Size) -> float:
    """Decimal logarithm of how many homographies would fit that well, if matches fell anywhere in the clip.

    Of inliers that share a square in either picture one counts; four of them define the homography and prove nothing.
    """
    alone = _one_a_square(fit.inliers.ref, ref_size) & _one_a_square(fit.inliers.clip, clip_size)
    inliers = fit.inliers.where(alone)
    count, others = len(inliers), len(fit.inliers) - len(inliers)
    total = num_pairs - others
    if count <= 4:
        return math.inf
    area = math.pi * (_POSITION_SHARE * inliers.clip_sizes) ** 2 / (clip_size[0] * clip_size[1])
    luck = np.minimum(np.log10(np.minimum(area, 1)) + math.log10(_ANGLE / math.pi), 0)
    # The four that prove least are left in, the four that prove most are the free ones.
    return math.log10(total) + _log10_choose(total, count) + _log10_choose(count, 4) + float(np.sort(luck)[4:].sum())


def _one_a_square(points: Array, size: Size) -> npt.NDArray[np.bool_]:
    """Mask (N,): the first point in each square of the picture."""
    cells = np.floor(points / (_SQUARE_SHARE * max(size))).astype(np.int64)
    first = np.unique(cells[:, 1] * 1000 + cells[:, 0], return_index=True)[1]
    return np.isin(np.arange(len(points)), first)


def _log10_choose(total: int, count: int) -> float:
    ways = math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)
    return ways / math.log(10)
