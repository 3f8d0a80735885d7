"""Local contrast normalisation: what is left of a picture when grading, brightness and contrast drop out."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

#: Grey levels; the local contrast below which a neighbourhood counts as flat, just above the noise of a thumb's pixel.
FLAT_CONTRAST = 2.0

Floats = npt.NDArray[np.float32]


def normalise(pictures: npt.NDArray[np.uint8] | Floats, sigma: float) -> Floats:
    """(B,h,w) in [0, 255] -> (B,h,w), mean about 0, deviation up to 1, below that where contrast is near the noise.

    (x - mean) / deviation over a Gaussian window of ``sigma`` pixels is the normalisation that local normalised
    cross-correlation uses.
    """
    out = np.empty(pictures.shape, np.float32)
    _normalise(pictures, gaussian_kernel(sigma), np.float32(FLAT_CONTRAST**2), out)
    return out


def gaussian_kernel(sigma: float) -> Floats:
    """A Gaussian of 2 * round(2.3 sigma) + 1 taps that sums to 1."""
    radius = max(1, round(2.3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.asarray(taps / taps.sum(), np.float32)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _blur(padded, kernel, half, out, h, stride):  # type: ignore[no-untyped-def]
    """Separable blur of a flat picture that is padded by the kernel's radius all round, rows ``stride`` apart.

    The result of pixel (y, x) lies at out[y * stride + x]. Flat arrays make every loop thousands of steps long, for SIMD; what
    wraps around between rows lands in the padding.
    """
    r = len(kernel) // 2
    _blur_along(padded, kernel, 1, half[: (h + 2 * r) * stride - 2 * r])
    _blur_along(half, kernel, stride, out[: h * stride - 2 * r])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _blur_along(source, kernel, step, out):  # type: ignore[no-untyped-def]
    """out[p] = sum of kernel[k] * source[p + k * step]. Slices, because sums as indices could be negative and keep SIMD off."""
    r = len(kernel) // 2
    count = len(out)
    middle = source[r * step : r * step + count]
    for p in range(count):
        out[p] = kernel[r] * middle[p]
    for k in range(r):
        tap = kernel[k]
        one, other = source[k * step : k * step + count], source[(2 * r - k) * step : (2 * r - k) * step + count]
        for p in range(count):
            out[p] += tap * (one[p] + other[p])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _normalise(thumbs, kernel, flat, out):  # type: ignore[no-untyped-def]
    h, w = thumbs.shape[1:]
    r = len(kernel) // 2
    stride = w + 2 * r
    size = (h + 2 * r) * stride
    image, half = np.zeros(size, np.float32), np.zeros(size, np.float32)
    mean, power = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for b in range(len(thumbs)):
        for y in range(h):
            at = (y + r) * stride
            # Centred at mid grey so that the squares keep their precision in float32.
            for x in range(w):
                image[at + r + x] = np.float32(thumbs[b, y, x]) - np.float32(128.0)
            for x in range(r):
                image[at + x] = image[at + r]
                image[at + r + w + x] = image[at + r + w - 1]
        for y in range(r):
            for x in range(stride):
                image[y * stride + x] = image[r * stride + x]
                image[(h + r + y) * stride + x] = image[(h + r - 1) * stride + x]
        _blur(image, kernel, half, mean, h, stride)
        for y in range(h):
            for x in range(w):
                out[b, y, x] = image[(y + r) * stride + x + r] - mean[y * stride + x]
        for p in range(size):
            image[p] *= image[p]
        _blur(image, kernel, half, power, h, stride)
        for p in range(size):
            power[p] = np.float32(1.0) / np.sqrt(max(power[p] - mean[p] * mean[p], np.float32(0.0)) + flat)
        for y in range(h):
            line, gain = out[b, y], power[y * stride : y * stride + w]
            for x in range(w):
                line[x] *= gain[x]
