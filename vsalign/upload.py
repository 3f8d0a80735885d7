"""Samples to where they are worked on, copied no more often than the way there asks for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def upload(samples: npt.NDArray[np.generic], device: torch.device | str) -> Tensor:
    """``samples`` as a tensor on ``device``: on the CPU the very memory, to a GPU from pinned memory without waiting for it."""
    if not samples.flags.writeable:
        samples = samples.copy()  # torch warns of memory that it must not write to, and has no read-only tensors
    tensor = torch.from_numpy(samples)
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    # Pinned without the gaps that a decoder leaves between rows: those would be copied out once more.
    pinned = torch.empty_like(tensor, memory_format=torch.contiguous_format, pin_memory=True).copy_(tensor)
    return pinned.to(device, non_blocking=True)
