"""Textured pictures and pairs with a known warp, for tests of spatial alignment."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vsalign.warp import Warp, apply_warp, sample, scale_positions

Size = tuple[int, int]
HEIGHT, WIDTH = 144, 208
SIZE = (HEIGHT, WIDTH)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def texture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0, channels: int = 1) -> Tensor:
    """Random content at every scale, in [0, 1], (1,C,height,width)."""
    generator, total = torch.Generator().manual_seed(seed), torch.zeros(1, channels, height, width)
    for step, weight in ((2, 0.4), (4, 0.6), (9, 0.8), (24, 1.0)):
        coarse = torch.randn(1, channels, height // step + 3, width // step + 3, generator=generator)
        total = total + weight * F.interpolate(coarse, size=(height, width), mode="bicubic")
    return ((total - total.mean()) / total.std() * 0.15 + 0.5).clamp(0, 1)


def grainy(picture: Tensor, seed: int, strength: float = 0.02) -> Tensor:
    return (picture + strength * noise(*picture.shape, seed=seed)).clamp(0, 1)


def as_warp(positions: Tensor) -> Warp:
    return Warp(positions, torch.ones(1, 1, *positions.shape[-2:]))


def curved(size: Size = SIZE, size_px: float = 2.0) -> Tensor:
    """Positions of a smooth warp: a shift, a change of scale and a slow bend."""
    p = scale_positions(size, size)
    x, y = p[:, :1], p[:, 1:]
    bend = torch.cat([torch.sin(y / 27 + 1) + 0.01 * (x - 100), torch.cos(x / 31) - 0.008 * (y - 70)], 1)
    return p + size_px * bend + constant(1.3, -0.8)


def constant(x: float, y: float) -> Tensor:
    """(1,2,1,1)"""
    return torch.tensor([float(x), float(y)]).view(1, 2, 1, 1)


def pair(degrade: bool = False, margin: int = 16, size: Size = SIZE) -> tuple[Tensor, Tensor, Tensor]:
    """clip, ref and the true clip position of every ref pixel; ``size`` before ``margin`` is cut off."""
    clip, truth = texture(*size), curved(size)[..., margin:-margin, margin:-margin]
    ref, _ = apply_warp(clip, as_warp(truth))
    if degrade:
        clip = grainy(clip**1.4 * 0.8 + 0.1, seed=3)
    return clip[..., margin:-margin, margin:-margin], ref, truth - margin


def shifted_pair(shift: tuple[int, int], seed: int = 0, size: Size = SIZE) -> tuple[Tensor, Tensor, Tensor]:
    """The same for two crops of one scene: ref at p shows what clip has at p + ``shift``."""
    (dx, dy), (height, width) = shift, size
    top, left = abs(dy), abs(dx)
    scene = texture(height + 2 * top, width + 2 * left, seed)
    ref = scene[..., top : top + height, left : left + width]
    clip = scene[..., top - dy : top - dy + height, left - dx : left - dx + width]
    return clip, ref, scale_positions(size, size) + constant(dx, dy)


def zoomed_pair(scale: float, seed: int = 0, size: Size = SIZE) -> tuple[Tensor, Tensor, Tensor]:
    """The same for a ref that shows ``scale`` times as much of the scene as the clip, around its middle."""
    (height, width), margin = size, 40
    middle = constant((width - 1) / 2, (height - 1) / 2)
    scene = texture(height + 2 * margin, width + 2 * margin, seed)
    truth = (scale_positions(size, size) - middle) * scale + middle
    ref = sample(scene[0], (truth + margin)[0])[None]
    return scene[..., margin:-margin, margin:-margin], ref, truth


def errors(warp: Warp, truth: Tensor, margin: int = 8) -> Tensor:
    return distances(warp, truth)[..., margin:-margin, margin:-margin]


def distances(warp: Warp, truth: Tensor) -> Tensor:
    """Per ref pixel, clip pixels, (1,H,W)."""
    return (warp.clip_from_ref - truth).norm(dim=1)
