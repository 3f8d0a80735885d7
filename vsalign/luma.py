"""The one gray picture that estimating looks at."""

from __future__ import annotations

from torch import Tensor

#: BT.601 rather than BT.709: nearer to equal weights, so detail in red and blue counts for more.
_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114


def to_luma(image: Tensor) -> Tensor:
    """``image`` (B,C,h,w), C = 1 (luma already) or 3 (RGB), as (B,1,h,w) float32. What is no number counts as black."""
    image = numbers(image)
    if image.shape[1] == 1:
        return image
    return _RED * image[:, :1] + _GREEN * image[:, 1:2] + _BLUE * image[:, 2:]


def numbers(image: Tensor) -> Tensor:
    """``image`` as float32 without NaN and infinities, which would spread over the picture and its neighbours in time."""
    return image.float().nan_to_num(0.0, 1.0, 0.0)
