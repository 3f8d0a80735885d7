"""The pixel convention of the project, and the one resampling that every picture goes through.

Pixel centres lie at integers, x to the right and y down. A warp is stored as ``clip_from_ref``: for every ref pixel the
absolute clip-pixel position (x, y) to sample. Pictures of different size that show the same scene agree in continuous
coordinates: ``x_clip = (x_ref + 0.5) * clip_width / ref_width - 0.5``. A position is inside when it lies on the clip's picture,
whose border runs half a pixel outside the outermost pixel centres.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vsalign.resample import low_pass, spline36

_SCALE_STEP = 8


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """Where every ref pixel lies in the clip.

    ``clip_from_ref`` (B,2,H,W) float32: absolute clip-pixel position (x, y) per ref pixel, pixel centres at integers.
    ``confidence`` (B,1,H,W) in [0,1]: how well the pictures themselves fix that position; 0 where it is only a guess from the
    surroundings. ``homography`` (B,3,3) float64, on the CPU: what the wide search found, clip pixel from ref pixel, NaN where
    it found none; None where none was asked for. Raises ValueError when the shapes do not belong together.
    """

    clip_from_ref: Tensor
    confidence: Tensor
    homography: Tensor | None = None

    def __post_init__(self) -> None:
        position, confidence = tuple(self.clip_from_ref.shape), tuple(self.confidence.shape)
        if len(position) != 4 or position[1] != 2:
            raise ValueError(f"clip_from_ref has shape {position}, expected (B, 2, H, W)")
        if confidence != (position[0], 1, *position[2:]):
            raise ValueError(f"confidence has shape {confidence}, expected {(position[0], 1, *position[2:])}")
        if self.clip_from_ref.dtype != torch.float32:
            raise ValueError(f"clip_from_ref is {self.clip_from_ref.dtype}, expected torch.float32")
        if self.homography is not None and tuple(self.homography.shape) != (position[0], 3, 3):
            raise ValueError(f"homography has shape {tuple(self.homography.shape)}, expected {(position[0], 3, 3)}")

    def __repr__(self) -> str:
        return f"Warp(clip_from_ref={tuple(self.clip_from_ref.shape)}, device={self.clip_from_ref.device})"


def scale_positions(clip_size: tuple[int, int], ref_size: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """Positions (1,2,H,W) float32 of a pure change of size; ``clip_size`` and ``ref_size`` are (height, width) in pixels."""
    (clip_h, clip_w), (ref_h, ref_w) = clip_size, ref_size
    y = (torch.arange(ref_h, dtype=torch.float32, device=device) + 0.5) * (clip_h / ref_h) - 0.5
    x = (torch.arange(ref_w, dtype=torch.float32, device=device) + 0.5) * (clip_w / ref_w) - 0.5
    return torch.stack([x[None, :].expand(ref_h, -1), y[:, None].expand(-1, ref_w)])[None].contiguous()


def affine_warp(
    rows: Sequence[float], clip_size: tuple[int, int], ref_size: tuple[int, int], device: torch.device | str | None = None
) -> Warp:
    """The warp of one affine map for the whole picture, B = 1, confidence 0: it stands in where pictures tell nothing.

    ``rows`` are six numbers a b c d e f: clip x = a x + b y + c, clip y = d x + e y + f, on both pictures in coordinates that
    run from -1 to 1 from edge to edge. Sizes are (height, width) in pixels.
    """
    (clip_h, clip_w), (ref_h, ref_w) = clip_size, ref_size
    a, b, c, d, e, f = rows
    x = ((torch.arange(ref_w, dtype=torch.float32, device=device) + 0.5) * (2 / ref_w) - 1)[None, :]
    y = ((torch.arange(ref_h, dtype=torch.float32, device=device) + 0.5) * (2 / ref_h) - 1)[:, None]
    clip_x = (a * x + b * y + c + 1) * (clip_w / 2) - 0.5
    clip_y = (d * x + e * y + f + 1) * (clip_h / 2) - 0.5
    positions = torch.stack([clip_x, clip_y])[None]
    return Warp(positions, torch.zeros_like(positions[:, :1]))


def positions_inside(positions: Tensor, clip_size: tuple[int, int]) -> Tensor:
    """Mask (B,1,H,W) bool of the ``positions`` (B,2,H,W) that lie on a clip of ``clip_size`` (height, width)."""
    x, y = positions[:, :1], positions[:, 1:]
    return (x >= -0.5) & (x <= clip_size[1] - 0.5) & (y >= -0.5) & (y <= clip_size[0] - 0.5)


@torch.no_grad()
def apply_warp(clip: Tensor, warp: Warp, tile_rows: int = 0) -> tuple[Tensor, Tensor]:
    """Move ``clip`` onto the ref with one resampling, ``tile_rows`` rows at a time (0: all at once), which changes no bit.

    clip (B,C,h,w) float, any range; the frame (B,C,H,W) has its dtype and never leaves the range of the samples around the
    position. inside (B,1,H,W) in {0, 1}, same dtype: 0 where the ref shows something that lies outside the clip; there the edge
    pixel is repeated. Spline36 interpolation (Dersch, Panorama Tools), low-passed first when the ref is coarser than the clip.
    Raises ValueError when the batch sizes differ, TypeError when clip is not floating point.
    """
    if clip.dim() != 4 or 0 in clip.shape:
        raise ValueError(f"clip has shape {tuple(clip.shape)}, expected (B, C, h, w), none of them 0")
    if clip.device != warp.clip_from_ref.device:
        raise ValueError(f"clip is on {clip.device}, warp on {warp.clip_from_ref.device}; they must be on the same device")
    if not clip.is_floating_point():
        raise TypeError(f"clip is {clip.dtype}, expected a floating-point tensor")
    if clip.shape[0] != warp.clip_from_ref.shape[0]:
        raise ValueError(f"clip has batch size {clip.shape[0]}, warp has {warp.clip_from_ref.shape[0]}; they must be equal")
    positions = warp.clip_from_ref
    frames = [sample(clip[i].float(), positions[i], tile_rows) for i in range(clip.shape[0])]
    inside = positions_inside(positions, (clip.shape[-2], clip.shape[-1]))
    return torch.stack(frames).to(clip.dtype), inside.to(clip.dtype)


def sample(image: Tensor, positions: Tensor, tile_rows: int = 0) -> Tensor:
    """One ``image`` (C,h,w) float32 at ``positions`` (2,H,W) float32 -> (C,H,W): low-pass by the local scale, then spline36.

    ``tile_rows``: rows that are interpolated at once, 0 for all; fewer need less memory and give the same bits.
    """
    tiles = sampled_tiles(image, positions, tile_rows)
    first = next(tiles)
    return torch.cat([first, *tiles], 1) if tile_rows else first


def sampled_tiles(image: Tensor, positions: Tensor, tile_rows: int = 0) -> Iterator[Tensor]:
    """What :func:`sample` gives, from top to bottom in bands of ``tile_rows`` rows, the last one perhaps lower."""
    scale_x, scale_y = mean_scale(positions)
    image = low_pass(low_pass(image, scale_x, dim=-1), scale_y, dim=-2)
    height = positions.shape[1]
    rows = tile_rows or max(height, 1)
    for top in range(0, max(height, 1), rows):
        yield spline36(image, positions[:, top : top + rows])


def mean_scale(positions: Tensor) -> tuple[float, float]:
    """Clip pixels per ref pixel along the clip's x and y, mean over every eighth row and column of ``positions`` (2,H,W)."""
    if min(positions.shape[1:]) < 2:
        return 1.0, 1.0
    here = positions[:, :-1:_SCALE_STEP, :-1:_SCALE_STEP]
    by_x = positions[:, :-1:_SCALE_STEP, 1::_SCALE_STEP] - here
    by_y = positions[:, 1::_SCALE_STEP, :-1:_SCALE_STEP] - here
    x, y = (by_x.double().square() + by_y.double().square()).sqrt().mean((1, 2)).tolist()
    return x, y
