"""Cheap stand-ins for the library's observe and settle whose result hangs on every pair of the window, in its order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from vsalign.settings import SpatialSettings
from vsalign.warp import Warp, scale_positions


@dataclass(frozen=True)
class Told:
    """A number that another clip picture, ref picture or mask changes."""

    value: float
    clip_size: tuple[int, int]
    ref_size: tuple[int, int]
    confidence: float = 1.0
    detail: float = 0.0


def observe(clip: Tensor, ref: Tensor, settings: SpatialSettings, mask: Tensor | None = None) -> Told:
    value = float(clip.mean()) + 2 * float(ref.mean()) + (0.0 if mask is None else 3 * float(mask.mean()))
    return Told(value, (clip.shape[-2], clip.shape[-1]), (ref.shape[-2], ref.shape[-1]))


def settle(window: Sequence[Told], at: int = 0) -> Warp:
    own = window[at]
    mixed = sum(told.value * (100 + 7 * (i - at)) for i, told in enumerate(window))
    positions = scale_positions(own.clip_size, own.ref_size)
    positions[:, 0] += 3 * math.sin(mixed)
    return Warp(positions, torch.full_like(positions[:, :1], 0.5))


@pytest.fixture
def toy_align(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of this process are aligned by the stand-ins."""
    monkeypatch.setattr("tasks.align.observe", observe)
    monkeypatch.setattr("tasks.align.settle", settle)
