"""Whether two neighbouring frames of a film belong to one scene, told from small luma pictures."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vsalign.pyramid import smooth
from vsalign.shift import correlation

_SIZE = (36, 64)
_SURROUNDINGS = 6
#: In seven films neighbouring frames of one scene correlate at 0.55 or more, frames across a cut at 0.16 or less.
_LEAST_CORRELATION = 0.4
#: Mean square of a thumb that shows nothing but noise.
_BLANK = 1e-5


def scene_thumb(luma: Tensor) -> Tensor:
    """``luma`` (1,1,H,W) as a picture of 36 x 64 without its slow shading: what ``same_scene`` compares."""
    small = F.interpolate(luma, _SIZE, mode="bilinear", antialias=True, align_corners=False)
    return small - smooth(small, _SURROUNDINGS)


def is_blank(thumb: Tensor) -> bool:
    """Whether the picture of a thumb has no detail, as black has none."""
    return float(thumb.square().mean()) < _BLANK


def same_scene(a: Tensor, b: Tensor) -> bool:
    """No cut lies between the frames of two thumbs. A picture without detail, such as black, belongs to every scene."""
    return is_blank(a) or is_blank(b) or float(correlation(a, b)) >= _LEAST_CORRELATION
