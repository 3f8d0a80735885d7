"""One field from the fields of neighbouring frames: what is constant among them is averaged, what moves is kept.

Two masters of a film differ by a geometry that is constant or slow within a scene, but for the weave of a gate or an
unsteady scan, which shifts whole frames. So a field is taken as the scene's field plus an affine motion of the frame alone.
The scene's is the mean over the neighbours, each weighted by its confidence, place by place; the frame's own is believed as far
as it exceeds what chance explains (James and Stein, 1961).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vsalign.fill import times
from vsalign.pyramid import affine_basis, to_cells

#: Cells along the side of a block: motion of whole frames needs no finer precision.
BLOCK = 4
#: A frame that is not sure of a place has this much say there beside those that are: it continues its surroundings.
_LEAST_SAY = 0.02
#: Distance, in ref pixels, from the others' mean at which a frame's word counts half.
_ODD_PX = 0.5
#: Squared deviation, in units of what the evidence claims, of six numbers that carry nothing but noise. Were the evidence of
#: all pixels independent it would be 6; grain and compression make neighbours alike.
_CHANCE = 30.0
_PRIOR = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """Fields of M frames: displacements (M,2,rows,columns) in ref pixels, trust (M,1,rows,columns) in [0,1], and the precision
    of what each frame saw, per square pixel, (M,3: xx, xy, yy) for every block of BLOCK x BLOCK cells."""

    displacement: Tensor
    trust: Tensor
    precision: Tensor

    def of(self, frame: int) -> Fields:
        """Those of one frame."""
        one = slice(frame, frame + 1)
        return Fields(self.displacement[one], self.trust[one], self.precision[one])


def in_blocks(precision: Tensor) -> Tensor:
    """``precision`` per cell as precision per block, the sum over its cells."""
    return F.avg_pool2d(precision, BLOCK, ceil_mode=True, divisor_override=1)


def pool(fields: Fields, at: int) -> tuple[Tensor, Tensor]:
    """Displacement (1,2,rows,columns) and trust (1,1,rows,columns) of frame ``at``, steadied by the others."""
    say = fields.trust + _LEAST_SAY * (fields.trust.amax((1, 2, 3), keepdim=True) > 0)
    common, belief = _mean(fields.displacement, say), torch.ones_like(fields.trust)
    for _ in range(2):
        own = _own_motions(fields, common, belief)
        still = fields.displacement - own
        belief = 1 / (1 + (still - common).square().sum(1, keepdim=True) / _ODD_PX**2)
        common = _mean(still, say * belief)
    return common + own[at : at + 1], _mean(fields.trust, say)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum(0, keepdim=True) / weight.sum(0, keepdim=True).clamp_min(_PRIOR)


def _own_motions(fields: Fields, common: Tensor, belief: Tensor) -> Tensor:
    """The affine motion (M,2,rows,columns) of every frame away from ``common``, as far as it is no chance; ``belief``
    (M,1,rows,columns) weighs the cells."""
    rows, columns = common.shape[-2:]
    grid = affine_basis(rows, columns, common.device, torch.float32)
    cells, blocks = grid.flatten(1), to_cells(grid[None], BLOCK).reshape(3, -1).double()
    certain = fields.trust + _PRIOR
    counted = to_cells(certain * belief, BLOCK)
    away = to_cells((fields.displacement - common) * certain * belief, BLOCK) / counted
    precision = fields.precision * (counted / to_cells(certain, BLOCK))
    pull = times(precision, away).flatten(2).double()
    a = precision.flatten(2).double()
    xx, xy, yy = ((blocks * a[:, i, None]) @ blocks.T for i in range(3))
    left = torch.cat([torch.cat([xx, xy], 2), torch.cat([xy, yy], 2)], 1)
    right = (pull @ blocks.T).flatten(1)
    ridge = _PRIOR * (1 + left.diagonal(dim1=1, dim2=2).amax(1))[:, None, None]
    # solve_ex: the plain one waits for the device to report singular matrices, which the ridge excludes.
    motion: Tensor = torch.linalg.solve_ex(left + ridge * torch.eye(6, dtype=left.dtype, device=left.device), right)[0]
    surprise = (motion * right).sum(1)
    kept = (1 - _CHANCE / surprise.clamp_min(_CHANCE)).view(-1, 1, 1)
    return ((motion.view(-1, 2, 3) * kept).float() @ cells).view(-1, 2, rows, columns)
