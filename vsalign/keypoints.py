"""Points that two pictures seem to share: SIFT features on luma, matched both ways.

SIFT: Lowe, IJCV 2004; its root: Arandjelovic and Zisserman, CVPR 2012. Positions are pixels of the picture as given, pixel
centres at integers, whatever size the features were looked for at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

Array = npt.NDArray[np.float64]

#: Features are looked for with the longer side this long at most: what is finer seldom survives another scan or a DVD, and what
#: is found is exact to a fifth of a pixel there.
_LONGEST_SIDE = 384
#: Smaller pictures have no room for a feature's surroundings, and the detector fails on a few pixels.
_SHORTEST_SIDE = 16
_MOST_FEATURES = 800
#: Low, because contrast is not compared between pictures: the strongest features are taken, however weak.
_LEAST_RESPONSE, _LARGEST_EDGE = 0.01, 10.0
_OCTAVE_LAYERS, _BLUR = 3, 1.6
#: Features of this diameter (pixels of the searched size) and above are few, and outlast those below.
_COARSE_SIZE = 5.0
#: Brightness between these percentiles is stretched to 8 bits; less contrast than this says nothing.
_PERCENTILES, _LEAST_CONTRAST = (0.1, 99.9), 0.02
_LARGEST_RATIO = 0.9
#: Descriptors are whole numbers and about this long: their products stay exact in float32, in whatever order they are summed.
_LENGTH = 512.0


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """``points`` (N,2) pixels (x, y), ``sizes`` (N,) diameters in pixels, ``angles`` (N,) radians from x towards y,
    ``descriptors`` (N,128)."""

    points: Array
    sizes: Array
    angles: Array
    descriptors: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.points)


_NONE = Features(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros((0, 128), np.float32))


def find_features(luma: Tensor, mask: Tensor | None = None) -> Features:
    """Features of ``luma`` (1,1,h,w) in [0,1], none of them where ``mask`` (1,1,h,w) bool is True."""
    picture = luma[0, 0].detach().float().cpu().numpy()
    shrink = max(1.0, max(picture.shape) / _LONGEST_SIDE)
    height, width = (max(1, round(side / shrink)) for side in picture.shape)
    image = _to_8bit(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))
    if image is None or min(height, width) < _SHORTEST_SIDE:
        return _NONE
    allowed = None if mask is None else (~mask[0, 0]).cpu().numpy().astype(np.uint8)
    if allowed is not None:
        allowed = cv2.resize(allowed, (width, height), interpolation=cv2.INTER_NEAREST)
    # Without the precise doubling every point lies a quarter of a pixel too far right and down.
    sift = cv2.SIFT.create(0, _OCTAVE_LAYERS, _LEAST_RESPONSE, _LARGEST_EDGE, _BLUR, True)
    found, descriptors = sift.compute(image, _strongest(sift.detect(image, allowed)))
    if len(found) == 0:
        return _NONE
    scale = np.array([picture.shape[1] / width, picture.shape[0] / height])
    points = (np.array([k.pt for k in found]) + 0.5) * scale - 0.5
    sizes = np.array([k.size for k in found]) * float(np.sqrt(scale.prod()))
    return Features(points, sizes, np.deg2rad([k.angle for k in found]), _rooted(descriptors))


def _to_8bit(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8] | None:
    """Brightness stretched, so that grading and fades keep their features; None for what is flat or not finite."""
    low, high = np.percentile(picture, _PERCENTILES)
    if not high - low >= _LEAST_CONTRAST:
        return None
    stretched = ((picture - low) * (255 / (high - low))).clip(0, 255)
    return np.asarray(np.rint(stretched), dtype=np.uint8)


def _strongest(found: Sequence[cv2.KeyPoint]) -> list[cv2.KeyPoint]:
    """All coarse ones, as long as there is room, then the rest by contrast; in an order that threads do not change."""
    return sorted(found, key=lambda k: (-min(k.size, _COARSE_SIZE), -k.response, k.pt, k.size, k.angle))[:_MOST_FEATURES]


def _rooted(descriptors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Square roots of the histograms' shares: their distance does not hang on a few strong edges."""
    shares = descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1)
    return np.rint(np.sqrt(shares) * _LENGTH).astype(np.float32)


def match(first: Features, second: Features) -> npt.NDArray[np.int64]:
    """Index pairs (M,2) that are each other's best and clearly better than the first one's next best."""
    if min(len(first), len(second)) < 2:
        return np.zeros((0, 2), np.int64)
    products = first.descriptors @ second.descriptors.T
    rows, best = np.arange(len(first)), products.argmax(1)
    mutual = products.argmax(0)[best] == rows
    next_best, nearest = np.partition(products, -2, axis=1)[:, -2:].T
    clear = _squared_distance(nearest) < _LARGEST_RATIO**2 * _squared_distance(next_best)
    keep = mutual & clear
    return np.stack([rows[keep], best[keep]], 1)


def _squared_distance(product: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(np.maximum(2 * np.float32(_LENGTH) ** 2 - 2 * product, 0))
