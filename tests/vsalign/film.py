"""Frames of the real film clips, for tests marked ``film``."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.synth import CLIPS


def film_frame(name: str, index: int) -> Tensor:
    """Luma of one frame, (1,1,H,W) in [0, 1]. Skips the test where the clip is absent."""
    if not (CLIPS / name).exists():
        pytest.skip(f"{name} is not in {CLIPS}")
    with av.open(str(CLIPS / name)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == index:
                return torch.from_numpy(frame.to_ndarray(format="gray").astype(np.float32) / 255)[None, None]
    raise IndexError(index)
