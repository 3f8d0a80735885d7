"""The one gray picture that estimating looks at."""

from __future__ import annotations

import torch
from torch import Tensor

#: BT.601 rather than BT.709: nearer to equal weights, so detail in red and blue counts for more.
_WEIGHTS = (0.299, 0.587, 0.114)


def to_luma(image: Tensor) -> Tensor:
    """``image`` (B,C,h,w), C = 1 (luma already) or 3 (RGB), as (B,1,h,w) float32."""
    image = image.float()
    if image.shape[1] == 1:
        return image
    return (image * torch.tensor(_WEIGHTS, device=image.device).view(1, 3, 1, 1)).sum(1, keepdim=True)
