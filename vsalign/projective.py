"""The projective motion nearest to a field: what is wrong with a homography as a whole, seen by the field on top of it."""

from __future__ import annotations

import torch
from torch import Tensor

from vsalign.fill import times
from vsalign.pyramid import affine_basis

_RIDGE = 1e-9


def projective_part(field: Tensor, precision: Tensor) -> Tensor:
    """The small homography, as displacements (1,2,rows,columns), that explains ``field`` best.

    ``precision`` (1,3,rows,columns: xx, xy, yy) weighs the cells. A homography near the identity moves (x, y) by an affine
    motion plus (g x + h y) (x, y): eight numbers (Hartley and Zisserman, Multiple View Geometry, 2.4).
    """
    moves = _eight_moves(field)
    weighed = times(precision.double().expand(8, -1, -1, -1), moves)
    left = weighed.flatten(1) @ moves.flatten(1).T
    right = weighed.flatten(1) @ field.double().flatten()
    ridge = _RIDGE * (1 + left.diagonal().max())
    # solve_ex: the plain one waits for the device to report singular matrices, which the ridge excludes.
    numbers: Tensor = torch.linalg.solve_ex(left + ridge * torch.eye(8, dtype=left.dtype, device=left.device), right)[0]
    return (numbers.view(8, 1, 1, 1) * moves).sum(0, keepdim=True).float()


def _eight_moves(field: Tensor) -> Tensor:
    """(8,2,rows,columns): what each of the eight numbers does, coordinates from -1 to 1."""
    rows, columns = field.shape[-2:]
    one, x, y = affine_basis(rows, columns, field.device, torch.float64)
    none = torch.zeros_like(x)
    affine = [torch.stack(pair) for basis in (one, x, y) for pair in ((basis, none), (none, basis))]
    # On a raster that isn't square (x, y) scale alike only in pixels.
    wide = columns / rows
    return torch.stack([*affine, torch.stack([x * x * wide, x * y]), torch.stack([x * y * wide, y * y])])
