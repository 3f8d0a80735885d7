"""Weight-free dense registration: coarse to fine Gauss-Newton steps on locally normalised luma.

The scheme is Lucas and Kanade's (IJCAI 1981) on a pyramid, with a robust weight: one shift, then affine motion on the coarsest
levels, then a free field (:mod:`vsalign.fill`) that keeps the coarser level's answer where the finer one sees nothing. Fields
are displacements (dx, dy) per cell, in pixels of their level: ref at p shows what clip has at p + u(p).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vsalign.evidence import Level, evidence, evidence_of, warped
from vsalign.fill import Information, solve_affine, solve_field, weigh
from vsalign.pyramid import cell_size, from_cells, normalise, pyramid
from vsalign.shift import correlation, first_shift
from vsalign.trust import correlated_pixels, laid_over, moved_back, odd_pixels, trusts

_AFFINE_LEVELS, _AFFINE_STEPS = 2, 8
#: The first shift is looked for where the shorter side has 24 to 47 pixels: fine enough to tell, coarse enough to forgive.
_SHIFT_SIDE = 24
_LONGEST_STEP_PX = 1.5
#: What two pictures must score (see _Stack.affine) to be believed. In film those of one scene score above 0.55, others below
#: 0.2; the fewer pixels, the more agrees by chance: up to 0.15 plus 14 over the root of their number.
_LEAST_AGREEMENT, _CHANCE_AGREEMENT, _MOST_ASKED = 0.15, 14.0, 0.7
_LQ_NOISE_PIXELS = 1.5
#: Of that area so much is the normalisation's own doing; and no pair is doubted more than this.
_USUAL_NOISE_PIXELS, _MOST_NOISE_PIXELS = 3.0, 6.0
#: A step as long as this, in pixels of its level, is no standing still.
_STILL_PX = 0.1


@dataclass(frozen=True, slots=True)
class Effort:
    """How far registration goes: ``finest_level`` of the pyramid (0 = full resolution), Gauss-Newton ``steps`` on it and on the
    levels above it."""

    finest_level: int
    finest_steps: int
    coarse_steps: int

    def steps_at(self, level: int) -> int:
        return self.finest_steps if level == self.finest_level else self.coarse_steps


EFFORTS = {1: Effort(1, 2, 3), 2: Effort(0, 1, 2), 3: Effort(0, 3, 3), 4: Effort(0, 6, 5)}


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What is registered, (B,1,H,W) each: luma of clip and ref on one raster, and where (above 0.5) each may be trusted; None:
    everywhere."""

    clip: Tensor
    ref: Tensor
    clip_trust: Tensor | None = None
    ref_trust: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """Where ref's pixels lie in the clip, and how that is known.

    ``field`` (B,2,rows,columns): displacement per cell in pixels of pyramid level ``level``; ``information`` is what the pixels
    say around it; ``size`` is (height, width) of the pictures.
    """

    field: Tensor
    information: Information
    level: int
    size: tuple[int, int]


def register(pictures: Pictures, effort: Effort, lq_input: bool = False, iterations: int = 1) -> Registration:
    """Register clip against ref; pairs without anything in common are neither moved nor trusted.

    ``lq_input`` expects grain or compression, whose noise neighbouring pixels share: small windows count for less. All but the
    first of ``iterations`` start from where the one before it ended.
    """
    stack = _Stack(pictures)
    noise_pixels = torch.full(
        (pictures.ref.shape[0], 1, 1, 1), _LQ_NOISE_PIXELS if lq_input else 1.0, device=pictures.ref.device
    )
    finest = min(effort.finest_level, stack.first)
    field = stack.start()
    for _ in range(iterations):
        field, agreement = stack.affine(field)
        for index in range(stack.first, finest - 1, -1):
            field = field if index == stack.first else _finer(field, cell_size(stack.size(index)))
            level = stack.level(index, field)
            field, info = _refine(level, field, effort.steps_at(index), noise_pixels)
            if index > finest:
                stack.judge(index, field)
        found = field
        field = _coarser(field, cell_size(stack.size(stack.coarsest)), 2 ** (stack.coarsest - finest))
    agreed = (agreement >= stack.least_agreement()).float().view(-1, 1, 1, 1)
    return Registration(found * agreed, Information(info.tensor * agreed, info.force * agreed), finest, stack.size(0))


class _Stack:
    """Both pictures at every level, coarsest last, and what is known of where they show the same."""

    def __init__(self, pictures: Pictures) -> None:
        self._clips, self._refs = pyramid(pictures.clip), pyramid(pictures.ref)
        self._clip_trusts = trusts(pictures.clip_trust, len(self._clips))
        self._ref_trusts = trusts(pictures.ref_trust, len(self._refs))
        self._odd: Tensor | None = None
        self._odd_level = 0
        self.coarsest = len(self._refs) - 1
        self.first = max(0, self.coarsest - _AFFINE_LEVELS)
        """The level on which the field becomes free."""

    def size(self, index: int) -> tuple[int, int]:
        return self._refs[index].shape[-2], self._refs[index].shape[-1]

    def level(self, index: int, field: Tensor | None) -> Level:
        """Both pictures of one level, normalised. What is not to be trusted in the ref is left out of the clip's local means
        too, there where ``field`` says that it lies, so that both are normalised alike."""
        clip_trust, ref_trust = self._clip_trusts[index], self._ref_trusts[index]
        if self._odd is not None and field is not None:
            same = 1 - laid_over(self._odd, self._odd_level - index, self.size(index))
            ref_trust = same if ref_trust is None else ref_trust * same
        if ref_trust is not None and field is not None:
            on_clip = moved_back(ref_trust, field)
            clip_trust = on_clip if clip_trust is None else clip_trust * on_clip
        clip = normalise(self._clips[index], index, clip_trust)
        return Level(clip, normalise(self._refs[index], index, ref_trust), clip_trust, ref_trust)

    def judge(self, index: int, field: Tensor) -> None:
        """See, on level ``index``, where the pictures do not show the same, for the levels that follow."""
        self._odd, self._odd_level = None, index
        level = self.level(index, field)
        self._odd = odd_pixels(level, *warped(level, field))

    def least_agreement(self) -> float:
        """What :meth:`affine` must say for the pictures to be taken for the same scene."""
        height, width = self.size(self.first)
        return min(_LEAST_AGREEMENT + _CHANCE_AGREEMENT / math.sqrt(height * width), _MOST_ASKED)

    def start(self) -> Tensor:
        """The first shift as a field of the coarsest level."""
        index = self.coarsest
        while index and min(self.size(index)) < _SHIFT_SIDE:
            index -= 1
        level = self.level(index, None)
        shift = first_shift(level.clip, level.ref, level.clip_trust, level.ref_trust) * 2.0 ** (index - self.coarsest)
        return shift[:, :, None, None].expand(-1, -1, *cell_size(self.size(self.coarsest))).contiguous()

    def affine(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """``field`` of the coarsest level after affine motion on the coarsest levels, as a field of level ``first``; and how
        well the pictures then agree, a correlation (B,), less where they overlap little."""
        self._odd = None
        for index in range(self.coarsest, self.first - 1, -1):
            field = field if index == self.coarsest else _finer(field, cell_size(self.size(index)))
            level = self.level(index, field)
            if index > self.coarsest - _AFFINE_LEVELS:
                for _ in range(_AFFINE_STEPS):
                    field = field + _limited(solve_affine(weigh(evidence(level, field), 1.0)))
        moved, trust = warped(level, field)
        # A small overlap agrees more easily by chance.
        return field, correlation(moved * trust, level.ref * trust) * trust.mean((1, 2, 3)).sqrt()


def _finer(field: Tensor, cells: tuple[int, int]) -> Tensor:
    """``field`` of one level, in pixels of the next finer one, which has ``cells`` (rows, columns)."""
    return 2 * from_cells(field, cells, 2)


def _coarser(field: Tensor, cells: tuple[int, int], factor: int) -> Tensor:
    """``field`` in pixels ``factor`` times as large, on ``cells`` (rows, columns)."""
    if factor == 1:
        return field
    rows, columns = cells[0] * factor - field.shape[-2], cells[1] * factor - field.shape[-1]
    return F.avg_pool2d(F.pad(field, (0, columns, 0, rows), mode="replicate"), factor) / factor


def _refine(level: Level, base: Tensor, steps: int, noise_pixels: Tensor) -> tuple[Tensor, Information]:
    """``base`` corrected by what ``level`` sees; and the evidence of the last step.

    How far the noise of neighbouring pixels is one and the same is measured before the last step, which decides, and believed
    as far as the field stands still by then: what is still misaligned resembles itself too.
    """
    deviation, motion = torch.zeros_like(base), torch.zeros_like(noise_pixels)
    for step in range(steps):
        moved, trust = warped(level, base + deviation)
        if step == steps - 1:
            area = correlated_pixels(level.ref, moved, trust)
            measured = (area / _USUAL_NOISE_PIXELS).clamp_max(_MOST_NOISE_PIXELS)
            noise_pixels = noise_pixels + (measured - noise_pixels).clamp_min(0) / (1 + motion / _STILL_PX**2)
        info = weigh(evidence_of(level, moved, trust), noise_pixels)
        change = _limited(solve_field(info, deviation) - deviation)
        motion, deviation = change.square().sum(1, keepdim=True).mean((2, 3), keepdim=True), deviation + change
    return base + deviation, info


def _limited(step: Tensor) -> Tensor:
    """``step`` cut to the distance over which a picture can be taken as linear."""
    length = step.square().sum(1, keepdim=True).sqrt()
    return step * (_LONGEST_STEP_PX / length.clamp_min(_LONGEST_STEP_PX))
