"""The first, rough map between two rasters: a change of size, or the homography that a wide search found.

The dense field is measured on top of it, and both are composed before the one resampling: the clip position of ref pixel p is
base(p + displacement(p)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vsalign.warp import positions_inside, sample, scale_positions

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class BaseMap:
    """Sizes are (height, width). ``homography``: rows of the (3,3) matrix, clip pixel from ref pixel, pixel centres at
    integers; None: only the size changes. ``searched_wide``: a homography was looked for, whether found or not."""

    clip_size: Size
    ref_size: Size
    homography: tuple[tuple[float, float, float], ...] | None = None
    searched_wide: bool = False

    @classmethod
    def scaling(cls, clip: Tensor, ref: Tensor) -> BaseMap:
        return cls((clip.shape[-2], clip.shape[-1]), (ref.shape[-2], ref.shape[-1]))

    def searched(self, clip: Tensor, ref: Tensor, distrust: Tensor | None) -> BaseMap:
        """The same with the homography between ``clip`` (1,1,h,w) and ``ref`` (1,1,H,W), if one is sure."""
        from vsalign.wide import find_homography

        match = find_homography(clip, ref, distrust)
        rows = None if match is None else tuple((float(a), float(b), float(c)) for a, b, c in match.clip_from_ref)
        return BaseMap(self.clip_size, self.ref_size, rows, searched_wide=True)

    @property
    def sizes(self) -> tuple[Size, Size]:
        return self.clip_size, self.ref_size

    @property
    def is_scaling(self) -> bool:
        return self.homography is None

    @property
    def scales(self) -> bool:
        return self.clip_size != self.ref_size

    def positions(self, displacement: Tensor) -> Tensor:
        """Clip positions (1,2,H,W) float32 of every ref pixel moved by ``displacement`` (1,2,H,W) ref pixels first."""
        if self.homography is None:
            x, y = self._ratio()
            moved = torch.cat([displacement[:, :1] * x, displacement[:, 1:] * y], 1)
            return scale_positions(self.clip_size, self.ref_size, displacement.device) + moved
        return self._forward(scale_positions(self.ref_size, self.ref_size, displacement.device) + displacement)

    def displacement(self, positions: Tensor) -> Tensor:
        """The inverse of :meth:`positions`."""
        if self.homography is None:
            (x, y), moved = self._ratio(), positions - scale_positions(self.clip_size, self.ref_size, positions.device)
            return torch.cat([moved[:, :1] / x, moved[:, 1:] / y], 1)
        return self._backward(positions) - scale_positions(self.ref_size, self.ref_size, positions.device)

    def displacement_of(self, other: BaseMap, displacement: Tensor, cell: int) -> Tensor:
        """What ``other``'s ``displacement`` (1,2,rows,columns) per block of ``cell`` pixels is on top of this map."""
        rows, columns = displacement.shape[-2:]
        centres = scale_positions((rows * cell, columns * cell), (rows, columns), displacement.device)
        return self._backward(other._forward(centres + displacement)) - centres

    def laid(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """``clip`` (1,C,h,w) on the ref's raster by this map alone, for looking at, and where it reaches (1,1,H,W)."""
        positions = self.positions(torch.zeros(1, 2, *self.ref_size, device=clip.device))
        return sample(clip[0], positions[0])[None], self.inside(positions)

    def inside(self, positions: Tensor) -> Tensor:
        """1 where ``positions`` lie on the clip, else 0, (1,1,H,W)."""
        return positions_inside(positions, self.clip_size).float()

    def report(self) -> Tensor | None:
        """The homography as (1,3,3) float64, NaN where none was found, None where none was looked for."""
        if not self.searched_wide:
            return None
        nothing = ((float("nan"),) * 3,) * 3
        return torch.tensor([self.homography or nothing], dtype=torch.float64)

    def _ratio(self) -> tuple[float, float]:
        """Clip pixels per ref pixel, along x and y."""
        (clip_h, clip_w), (ref_h, ref_w) = self.sizes
        return clip_w / ref_w, clip_h / ref_h

    def _forward(self, points: Tensor) -> Tensor:
        """Clip points of ref points, (1,2,...) float32 each."""
        return _apply(self._matrix(), points)

    def _backward(self, points: Tensor) -> Tensor:
        return _apply(np.linalg.inv(self._matrix()), points)

    def _matrix(self) -> npt.NDArray[np.float64]:
        """The map as a homography, whichever it is."""
        x, y = self._ratio()
        scaling = ((x, 0.0, (x - 1) / 2), (0.0, y, (y - 1) / 2), (0.0, 0.0, 1.0))
        return np.array(self.homography or scaling, dtype=np.float64)


def _apply(matrix: npt.NDArray[np.float64], points: Tensor) -> Tensor:
    """Points (1,2,...) float32 through a homography, in double precision; its numbers need not be brought to a device."""
    x, y = points[:, :1].double(), points[:, 1:].double()
    u, v, w = (a * x + b * y + c for a, b, c in matrix.tolist())
    return torch.cat([u / w, v / w], 1).float()
