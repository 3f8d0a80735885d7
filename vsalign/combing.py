"""Woven fields: do the two fields of a frame belong to one moment, to two, or to a 3:2 pull-down's pattern of both?

Where something moves, lines woven from two moments comb. Three pictures can be woven of two neighbouring frames a, b: a as it
is, top lines of a with bottom lines of b, top lines of b with bottom lines of a. Progressive film combs in both mixtures alike
and never in a. Of interlaced film one mixture, whose fields are neighbours in time, combs no more than a itself, and the other
far more: which one tells the field order, whatever the flags say. Edges, grain and codec noise are in all three and cancel out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Luma = npt.NDArray[np.generic]
Kind = Literal["still", "progressive", "interlaced", "telecined"]

#: Second differences reach twice as far as samples, to both sides.
_WHITE_OF_INT16 = 16383
#: Rows and columns of the blocks that motion is looked for in, and the number of columns that suffice.
_BLOCK, _COLUMNS = 16, 320
#: A block moves where one weave is rougher than another by this factor and by so many 8 bit levels more.
_ROUGHER, _LEVELS = 1.5, 1.0
#: Of the moving blocks those count whose weaves differ at least this much as those of the liveliest.
_LIVELY = 0.5
#: Fewer moving blocks, or a smaller share of all, tell nothing.
_FEWEST_BLOCKS, _LEAST_SHARE = 3, 0.002
#: Fewer telling steps than this and a run counts as still.
_FEWEST_STEPS = 4
#: Progressive film prefers neither mixture in the mean, or (thin lines that scroll) now this one and now that one: mean
#: preference, and its share of the root mean square, from which on fields differ.
_ONE_SIDED, _STEADY = 0.2, 0.6
#: Steps of frame n to n + 1 in a 3:2 cycle AA BB BC CD DD: is one mixture preferred; place of the frame between mixtures.
_PULLDOWN = np.array([(0.0, 1.0), (1.0, 0.0), (1.0, -0.7), (1.0, -1.0), (0.0, 1.0)])
#: The pattern has to explain the steps so much better than sameness does.
_CLEARLY = 0.6
#: Interlaced, a frame combs about as much as the better mixture; one that combs clearly less than both is of one moment.
_OF_ONE_MOMENT = 0.6
#: Fields come in one order all through a film. What only looks like fields, as patterns that move, prefers now this one and
#: now that one, as the motion goes.
_ONE_ORDER = 0.7
#: A film of which so much combs, and in so many places if it has them, is not progressive.
_COMBED_SHARE, _FEWEST_COMBED = 1 / 3, 2


@dataclass(frozen=True, slots=True)
class Step:
    """From one frame to the next. ``place``: 1 where the frame combs less than both mixtures, 0 where as little as the better
    one, below where more. ``order``: the better mixture, 1 wholly top field first, -1 wholly bottom field first, 0 neither."""

    place: float
    order: float


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """What a run of consecutive frames is; ``order`` as in :class:`Step`, the mean."""

    kind: Kind
    order: float = 0.0


@dataclass(frozen=True, slots=True)
class FilmVerdict:
    """What a film is; ``order`` above 0: top field first. Of its ``moving`` runs ``combed`` are not progressive."""

    kind: Kind
    order: float
    combed: int
    moving: int


def look_at_step(before: Luma, after: Luma, white: float = 255.0) -> Step | None:
    """Compare the weaves of two neighbouring frames' luma (h, w) of any number type, ``white`` its largest value; None where
    too little moves. The idea of comparing fields across frames is that of FFmpeg's idet."""
    weaves = np.stack([_block_means(_roughness(woven)) for woven in _weaves(before, after, white)]) * (255.0 / white)
    least, most = weaves.min(axis=0), weaves.max(axis=0)
    moving = most > _ROUGHER * least + _LEVELS
    if moving.any():
        moving &= most - least >= _LIVELY * np.percentile((most - least)[moving], 90)
    if np.count_nonzero(moving) < max(_FEWEST_BLOCKS, _LEAST_SHARE * moving.size):
        return None
    own, top_with_next, next_top = (float(weave[moving].mean()) for weave in weaves)
    spread = max(own, top_with_next, next_top) - min(own, top_with_next, next_top)
    return Step((min(top_with_next, next_top) - own) / spread, (top_with_next - next_top) / spread) if spread else None


def judge_run(steps: Sequence[Step | None]) -> RunVerdict:
    """The verdict on consecutive steps; None stands for one without motion."""
    rows = np.array([n for n, step in enumerate(steps) if step is not None])
    if len(rows) < _FEWEST_STEPS:
        return RunVerdict("still")
    seen = np.array([(step.order, step.place) for step in steps if step is not None])
    order = float(seen[:, 0].mean())
    if abs(order) < max(_ONE_SIDED, _STEADY * float(np.sqrt(np.square(seen[:, 0]).mean()))):
        return RunVerdict("progressive", order)
    seen[:, 0] *= np.sign(order)
    if float(np.median(seen[:, 1])) > _OF_ONE_MOMENT:
        return RunVerdict("progressive", order)
    same = _misfit(seen, np.tile([seen[:, 0].mean(), np.median(seen[:, 1])], (len(seen), 1)))
    pulled = min(_misfit(seen, _PULLDOWN[(rows + phase) % len(_PULLDOWN)]) for phase in range(len(_PULLDOWN)))
    return RunVerdict("telecined" if pulled < _CLEARLY * same else "interlaced", order)


def judge_film(runs: Sequence[RunVerdict]) -> FilmVerdict:
    """The verdict on a film by those of its runs that move; single ones that comb are let pass."""
    moving = [run for run in runs if run.kind != "still"]
    combed = [run for run in moving if run.kind != "progressive"]
    if not moving:
        return FilmVerdict("still", 0.0, 0, 0)
    few = len(combed) < max(_COMBED_SHARE * len(moving), min(_FEWEST_COMBED, len(runs)))
    if few or abs(sum(run.order for run in combed)) < _ONE_ORDER * sum(abs(run.order) for run in combed):
        return FilmVerdict("progressive", sum(run.order for run in moving), len(combed), len(moving))
    telecined = sum(run.kind == "telecined" for run in combed)
    kind: Kind = "telecined" if 2 * telecined >= len(combed) else "interlaced"
    return FilmVerdict(kind, sum(run.order for run in combed), len(combed), len(moving))


def _misfit(seen: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> float:
    return float(np.square(seen - expected).sum())


def _weaves(before: Luma, after: Luma, white: float) -> tuple[npt.NDArray[np.signedinteger], ...]:
    """``before``; its top lines with the bottom ones of ``after``; its bottom lines with the top ones of ``after``."""
    height, every = before.shape[0] & ~1, max(1, before.shape[1] // _COLUMNS)
    narrow: type[np.signedinteger] = np.int16 if white <= _WHITE_OF_INT16 else np.int32
    one, two = (np.asarray(luma[:height, ::every], narrow) for luma in (before, after))
    top_with_next, next_top = one.copy(), two.copy()
    top_with_next[1::2], next_top[1::2] = two[1::2], one[1::2]
    return one, top_with_next, next_top


def _roughness(woven: npt.NDArray[np.signedinteger]) -> npt.NDArray[np.signedinteger]:
    return np.asarray(np.abs(woven[:-2] - 2 * woven[1:-1] + woven[2:]))


def _block_means(values: npt.NDArray[np.signedinteger]) -> npt.NDArray[np.float64]:
    rows, columns = (max(1, size // _BLOCK) for size in values.shape)
    height, width = values.shape[0] // rows, values.shape[1] // columns
    cut = values[: rows * height, : columns * width]
    return np.asarray(cut.reshape(rows, height, columns, width).mean(axis=(1, 3)), np.float64)
