"""The constant misalignment of two films, estimated from many frame pairs at once.

Coordinates are normalised: (x, y) in [-1, 1] over the picture, edge to edge, so that the centre of pixel k of W lies at
(2k + 1) / W - 1 and the same numbers hold for thumbs and for full frames. ``clip_from_ref`` says where in the clip the point
of the ref is found.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np
import numpy.typing as npt

from vsalign.contrast import Floats

Doubles = npt.NDArray[np.float64]

#: The outermost part of the width that carries no weight: there the neighbourhood of the normalisation is cut off.
EDGE = 1 / 32


@dataclass(frozen=True, eq=False)
class Geometry:
    """A smooth map from ref to clip. coefficients: (2, K) float64, x and y rows, K polynomials of x and y up to ``order``."""

    coefficients: Doubles
    order: int = 1

    @classmethod
    def identity(cls) -> Geometry:
        return cls.of_affine(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))

    @classmethod
    def of_affine(cls, clip_from_ref: Doubles) -> Geometry:
        """From a (2, 3) matrix on normalised (x, y, 1)."""
        return cls(np.asarray(clip_from_ref, np.float64)[:, [2, 0, 1]])

    def affine(self) -> Doubles:
        """The (2, 3) matrix on normalised (x, y, 1) that is nearest to this map over the picture."""
        x, y = pixel_grid(16, 16)
        plane = np.stack([x, y, np.ones_like(x)], -1)
        return np.linalg.lstsq(plane, self.positions(x, y).T, rcond=None)[0].T

    def positions(self, x: Doubles, y: Doubles) -> Doubles:
        """Clip positions (2, P) of ref points x, y (P,)."""
        return np.asarray(self.coefficients @ polynomials(x, y, self.order), np.float64)

    def after(self, first: Geometry) -> Geometry:
        """This affine map of where ``first``, an affine map too, puts a point."""
        outer, inner = (np.vstack([of.affine(), [0.0, 0.0, 1.0]]) for of in (self, first))
        return Geometry.of_affine((outer @ inner)[:2])

    def widened(self, order: int) -> Geometry:
        """The same map with room for polynomials up to ``order``."""
        size = len(_powers(order))
        grown = np.zeros((2, size))
        grown[:, : self.coefficients.shape[1]] = self.coefficients
        return Geometry(grown, order)


def _powers(order: int) -> list[tuple[int, int]]:
    return [(total - j, j) for total in range(order + 1) for j in range(total + 1)]


def polynomials(x: Doubles, y: Doubles, order: int) -> Doubles:
    """Products of Legendre polynomials (K, P) at points in [-1, 1]; the first three are 1, x, y."""
    px = [np.polynomial.legendre.Legendre.basis(k)(x) for k in range(order + 1)]
    py = [np.polynomial.legendre.Legendre.basis(k)(y) for k in range(order + 1)]
    return np.stack([px[i] * py[j] for i, j in _powers(order)])


def pixel_grid(height: int, width: int) -> tuple[Doubles, Doubles]:
    """Normalised x and y (h*w,) of all pixel centres."""
    y, x = np.mgrid[0:height, 0:width]
    return (2 * x.ravel() + 1) / width - 1, (2 * y.ravel() + 1) / height - 1


@dataclass(frozen=True, eq=False)
class Sampler:
    """A geometry laid out for thumbs. index: (P, 4) int32 of the clip pixels to mix, share: (P, 4) float32, inside: (h, w)
    float32 that is 0 where the ref pixel lies outside of the clip's picture."""

    index: npt.NDArray[np.int32]
    share: Floats
    inside: Floats

    def __call__(self, thumbs: npt.NDArray[np.uint8] | Floats) -> Floats:
        """Clip thumbs (B,h,w) as the ref would show them, (B,h,w) float32, bilinear, edges repeated."""
        out = np.empty(thumbs.shape, np.float32)
        _sample(np.ascontiguousarray(thumbs).reshape(len(thumbs), -1), self.index, self.share, out.reshape(len(thumbs), -1))
        return out


def sampler(geometry: Geometry, height: int, width: int) -> Sampler:
    """Lay ``geometry`` out for thumbs of ``height`` x ``width``."""
    gx, gy = geometry.positions(*pixel_grid(height, width))
    px, py = ((gx + 1) * width - 1) / 2, ((gy + 1) * height - 1) / 2
    inside = ((px > -0.5) & (px < width - 0.5) & (py > -0.5) & (py < height - 0.5)).reshape(height, width)
    px, py = np.clip(px, 0, width - 1), np.clip(py, 0, height - 1)
    x0, y0 = np.minimum(px.astype(int), max(width - 2, 0)), np.minimum(py.astype(int), max(height - 2, 0))
    fx, fy = px - x0, py - y0
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    index = np.stack([y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1], -1).astype(np.int32)
    share = np.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], -1).astype(np.float32)
    return Sampler(index, share, inside.astype(np.float32))


def edge_weight(height: int, width: int) -> Floats:
    """(h, w) float32, 0 along the edges and 1 within."""
    weight = np.zeros((height, width), np.float32)
    edge = min(round(EDGE * width), (height - 1) // 2, (width - 1) // 2)
    weight[edge : height - edge, edge : width - edge] = 1.0
    return weight


@numba.njit(cache=True, nogil=True, fastmath=True)
def _sample(thumbs, index, share, out):  # type: ignore[no-untyped-def]
    for b in range(len(thumbs)):
        for p in range(len(index)):
            out[b, p] = (
                share[p, 0] * thumbs[b, index[p, 0]]
                + share[p, 1] * thumbs[b, index[p, 1]]
                + share[p, 2] * thumbs[b, index[p, 2]]
                + share[p, 3] * thumbs[b, index[p, 3]]
            )


def refine(geometry: Geometry, ref: Floats, clip: Floats, weight: Floats, trust: Doubles, rounds: int) -> Geometry:
    """Gauss-Newton on all frame pairs together.

    ref (K,h,w) and clip (K,3,h,w) are locally normalised, the clip's matching frame between an earlier and a later one; weight
    (h,w) per pixel; trust (K,) per pair. Each pair also has an unknown error in time, along the difference of the clip's
    neighbours, which is eliminated (Schur complement): a pan can't be told from a shift, so it has no say in it, and the other
    shots decide.
    """
    height, width = ref.shape[1:]
    basis = polynomials(*pixel_grid(height, width), geometry.order)
    size = len(basis)
    # Bending needs evidence: a prior of so many pixels' worth that grows with the polynomial's degree.
    degree = np.array([i + j for i, j in _powers(geometry.order)])
    prior = np.diag(np.tile(np.where(degree > 1, 100.0 * degree**2, 1e-3), 2))
    for _ in range(rounds):
        lay = sampler(geometry, height, width)
        moved = np.stack([lay(np.ascontiguousarray(clip[:, k])) for k in range(3)], 1)
        normal, right = _equations(ref, moved, basis, weight * lay.inside, trust)
        bent = np.diag(prior) * np.tile(degree > 1, 2)
        right -= bent * geometry.coefficients.ravel() * len(ref)
        step = np.linalg.solve(normal + prior * len(ref), right).reshape(2, size)
        # In normalised units; a step of a tenth of the picture is no small correction any more.
        step *= min(1.0, 0.1 / max(float(np.abs(step).max()), 1e-9))
        geometry = replace(geometry, coefficients=geometry.coefficients + step)
        if np.abs(step).max() < 1e-5:
            break
    return geometry


def _equations(target: Floats, moved: Floats, basis: Doubles, weight: Floats, trust: Doubles) -> tuple[Doubles, Doubles]:
    """Normal equations (2K,2K), (2K,) of all pairs for the geometry's coefficients, each pair's time error eliminated."""
    pairs, height, width = target.shape
    error = (target - moved[:, 1]).reshape(pairs, -1)
    # Averaged gradients of both pictures widen the reach (efficient second-order minimisation).
    gy, gx = np.gradient(0.5 * (target + moved[:, 1]), axis=(1, 2))
    slopes = [(gx * (width / 2)).reshape(pairs, -1), (gy * (height / 2)).reshape(pairs, -1)]
    in_time = (0.5 * (moved[:, 2] - moved[:, 0])).reshape(pairs, -1)
    robust = weight.ravel() * trust[:, None].astype(np.float32) / (1.0 + 4.0 * error**2)
    # The basis is the same for all pairs: their pixels' products are summed before they meet it.
    normal = np.block([[(basis * (robust * a * b).sum(0, dtype=np.float64)) @ basis.T for b in slopes] for a in slopes])
    right = np.concatenate([basis @ (robust * a * error).sum(0, dtype=np.float64) for a in slopes])
    cross = np.concatenate([(robust * a * in_time).astype(np.float64) @ basis.T for a in slopes], axis=1)
    # A pair's time is known beforehand to some ten frames only: the regulariser stands for noise / 10 frames squared.
    self_time = (robust * in_time**2).sum(1, dtype=np.float64) + 5e-4 * robust.sum(1, dtype=np.float64) + 1e-9
    error_time = (robust * in_time * error).sum(1, dtype=np.float64)
    return normal - (cross.T / self_time) @ cross, right - cross.T @ (error_time / self_time)
