"""Local contrast normalisation: what is left of a picture when grading, brightness and contrast drop out."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

#: Grey levels; the local contrast below which a neighbourhood counts as flat, just above the noise of a thumb's pixel.
FLAT_CONTRAST = 2.0
FLAT_POWER = np.float32(FLAT_CONTRAST**2)
#: So many floats are blurred at a time: they and what they are made of stay in a core's nearest cache.
_CHUNK = 2048

Floats = npt.NDArray[np.float32]


def normalise(pictures: npt.NDArray[np.uint8] | Floats, sigma: float) -> Floats:
    """(B,h,w) in [0, 255] -> (B,h,w), mean about 0, deviation up to 1, below that where contrast is near the noise.

    (x - mean) / deviation over a Gaussian window of ``sigma`` pixels is the normalisation that local normalised
    cross-correlation uses.
    """
    out = np.empty(pictures.shape, np.float32)
    kernel = gaussian_kernel(sigma)
    work = workspace(pictures.shape[1], pictures.shape[2], kernel)
    for picture, local in zip(pictures, out, strict=True):
        normalise_one(picture, kernel, FLAT_POWER, work, local)
    return out


def gaussian_kernel(sigma: float) -> Floats:
    """A Gaussian of 2 * round(2.3 sigma) + 1 taps that sums to 1."""
    radius = max(1, round(2.3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.asarray(taps / taps.sum(), np.float32)


def workspace(height: int, width: int, kernel: Floats) -> Floats:
    """What :func:`normalise_one` works in, for pictures of this size; its contents do not matter."""
    border = len(kernel) // 2 * 2
    return np.zeros((4, (height + border) * (width + border)), np.float32)


@numba.njit(cache=True, nogil=True, fastmath=True)
def normalise_one(picture, kernel, flat, work, out):  # type: ignore[no-untyped-def]
    """One picture (h,w) of :func:`normalise` into ``out``; callable from compiled code."""
    h, w = picture.shape
    r = len(kernel) // 2
    stride = w + 2 * r
    image, half, mean, power = work[0], work[1], work[2], work[3]
    _pad(picture, r, image)
    _blur(image, kernel, half, mean, h, stride)
    for y in range(h):
        for x in range(w):
            out[y, x] = image[(y + r) * stride + x + r] - mean[y * stride + x]
    for p in range(len(image)):
        image[p] *= image[p]
    _blur(image, kernel, half, power, h, stride)
    for y in range(h):
        line, mu, square = out[y], mean[y * stride : y * stride + w], power[y * stride : y * stride + w]
        for x in range(w):
            line[x] *= np.float32(1.0) / np.sqrt(max(square[x] - mu[x] * mu[x], np.float32(0.0)) + flat)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _pad(picture, r, image):  # type: ignore[no-untyped-def]
    """Rows one behind the other, centred at mid grey so that squares keep their precision in float32, edges repeated."""
    h, w = picture.shape
    stride = w + 2 * r
    for y in range(h):
        at = (y + r) * stride
        for x in range(w):
            image[at + r + x] = np.float32(picture[y, x]) - np.float32(128.0)
        for x in range(r):
            image[at + x] = image[at + r]
            image[at + r + w + x] = image[at + r + w - 1]
    for y in range(r):
        for x in range(stride):
            image[y * stride + x] = image[r * stride + x]
            image[(h + r + y) * stride + x] = image[(h + r - 1) * stride + x]


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
    for start in range(0, len(out), _CHUNK):
        part = out[start : start + _CHUNK]
        count = len(part)
        middle = source[start + r * step : start + r * step + count]
        for p in range(count):
            part[p] = kernel[r] * middle[p]
        for k in range(r):
            tap, one, other = kernel[k], start + k * step, start + (2 * r - k) * step
            before, after = source[one : one + count], source[other : other + count]
            for p in range(count):
                part[p] += tap * (before[p] + after[p])
