"""One field from the fields of neighbouring frames: what is constant among them is averaged, what moves is kept.

Two masters of a film differ by a geometry that is constant or slow within a scene, but for the weave of a gate or an
unsteady scan, which shifts whole frames. So a field is taken as the scene's field plus an affine motion of the frame alone.
The scene's is the mean over the neighbours, each weighted by its confidence, place by place; the frame's own is believed as far
as it exceeds what chance explains (James and Stein, 1961).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vsalign.fill import times
from vsalign.pyramid import to_cells

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
    return to_cells(precision, BLOCK) * BLOCK**2


def pool(fields: Fields, at: int) -> tuple[Tensor, Tensor]:
    """Displacement (1,2,rows,columns) and trust (1,1,rows,columns) of frame ``at``, steadied by the others."""
    say = fields.trust + _LEAST_SAY * (fields.trust.amax((1, 2, 3), keepdim=True) > 0)
    common, motions = _mean(fields.displacement, say), _Motions(fields)
    for _ in range(2):
        own = motions.away_from(common)
        still = fields.displacement - own
        odd = (still - common).square().sum(1, keepdim=True) / _ODD_PX**2
        common = _mean(still, say / (1 + odd))
    return common + own[at : at + 1], _mean(fields.trust, say)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum(0, keepdim=True) / weight.sum(0, keepdim=True).clamp_min(_PRIOR)


class _Motions:
    """The affine motion of every frame away from a field that they have in common, as far as it is no chance."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._cells, self._blocks = _affine_basis(fields.trust), _affine_basis(fields.precision).double()
        a = fields.precision.flatten(2).double()
        xx, xy, yy = ((self._blocks * a[:, i, None]) @ self._blocks.T for i in range(3))
        left = torch.cat([torch.cat([xx, xy], 2), torch.cat([xy, yy], 2)], 1)
        ridge = _PRIOR * (1 + left.diagonal(dim1=1, dim2=2).amax(1))[:, None, None]
        self._left = left + ridge * torch.eye(6, dtype=left.dtype, device=left.device)

    def away_from(self, common: Tensor) -> Tensor:
        """(M,2,rows,columns); ``common`` is (1,2,rows,columns)."""
        away = to_cells(self._fields.displacement - common, BLOCK)
        pull = times(self._fields.precision, away).flatten(2).double()
        right = (pull @ self._blocks.T).flatten(1)
        # solve_ex: the plain one waits for the device to report singular matrices, which the ridge excludes.
        motion: Tensor = torch.linalg.solve_ex(self._left, right)[0]
        surprise = (motion * right).sum(1)
        kept = (1 - _CHANCE / surprise.clamp_min(_CHANCE)).view(-1, 1, 1)
        return ((motion.view(-1, 2, 3) * kept).float() @ self._cells).view(-1, 2, *common.shape[-2:])


def _affine_basis(like: Tensor) -> Tensor:
    """1, x and y per cell as rows of (3, rows * columns), x and y from -1 to 1."""
    rows, columns = like.shape[-2:]
    y = (torch.arange(rows, dtype=torch.float32, device=like.device) + 0.5) * (2 / rows) - 1
    x = (torch.arange(columns, dtype=torch.float32, device=like.device) + 0.5) * (2 / columns) - 1
    one = torch.ones(rows, columns, dtype=torch.float32, device=like.device)
    return torch.stack([one, *torch.meshgrid(x, y, indexing="xy")]).reshape(3, -1)
