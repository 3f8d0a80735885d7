"""The thumb of a picture, the one from which sync makes its signatures: luma averaged by area, black 0 to white 255."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from vsalign.picture import Picture, is_full_range
from vsalign.thumb import THUMB_HEIGHT, THUMB_WIDTH

#: Blue, green and red of BT.601 in a picture's order G, B, R.
_LUMA_OF_GBR = (0.587, 0.114, 0.299)


def thumb_of(picture: Picture, width: int = THUMB_WIDTH, height: int = THUMB_HEIGHT) -> npt.NDArray[np.uint8]:
    """Luma (height, width) uint8 of ``picture``, integers by its range or floats with black 0 and white 1."""
    if picture.format.family == "rgb":
        channels = zip(_LUMA_OF_GBR, picture.planes, strict=False)
        codes = sum(np.float32(share) * area_means(plane, width, height) for share, plane in channels)
    else:
        codes = area_means(picture.planes[0], width, height)
    black, white = _black_and_white(picture)
    grey = (np.asarray(codes, np.float32) - np.float32(black)) * np.float32(255.0 / (white - black))
    return np.asarray(np.rint(np.clip(np.nan_to_num(grey), 0.0, 255.0)), np.uint8)


def area_means(plane: npt.NDArray[Any], width: int, height: int) -> npt.NDArray[np.float32]:
    """(height, width) means of ``plane`` (h, w) over the areas that the small pixels cover; it may be enlarged, too."""
    out = np.empty((height, width), np.float32)
    _area_means(plane, out)
    return out


def _black_and_white(picture: Picture) -> tuple[float, float]:
    if picture.planes[0].dtype.kind == "f":
        return 0.0, 1.0
    if is_full_range(picture):
        return 0.0, float((1 << picture.format.bit_depth) - 1)
    step = float(1 << (picture.format.bit_depth - 8))
    return 16.0 * step, 235.0 * step


@numba.njit(cache=True, nogil=True)
def _area_means(plane, out):  # type: ignore[no-untyped-def]
    h, w = plane.shape
    rows, columns = out.shape
    line = np.empty(w, np.float32)
    for r in range(rows):
        top, bottom = r * h / rows, (r + 1) * h / rows
        line[:] = 0
        for y in range(int(top), min(h, int(np.ceil(bottom)))):
            share = np.float32(min(bottom, y + 1.0) - max(top, float(y)))
            row = plane[y]
            for x in range(w):
                line[x] += share * np.float32(row[x])
        for c in range(columns):
            left, right = c * w / columns, (c + 1) * w / columns
            total = np.float32(0.0)
            for x in range(int(left), min(w, int(np.ceil(right)))):
                total += np.float32(min(right, x + 1.0) - max(left, float(x))) * line[x]
            out[r, c] = total / np.float32((bottom - top) * (right - left))
