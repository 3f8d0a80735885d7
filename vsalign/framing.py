"""The first idea of how two films are framed: letterbox bars, and crops from one common aspect ratio to another.

What differs by more than some per cent of the picture is beyond the reach of the search around a first geometry; but it comes
from a few customs: bars, 4:3 from 16:9, 16:9 from 2.39:1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vsalign.geometry import Geometry, edge_weight, sampler
from vsalign.rough import describe_film
from vsalign.signature import LUMA_HEIGHT, LUMA_WIDTH

Lumas = npt.NDArray[np.uint8]

#: The part of the picture's width or height that is left of a 16:9 picture in 4:3, and (nearly) of 2.39:1 in 16:9.
CROP = 0.75
#: Mean correlation of the best pairs above which the films' framing is taken to be the same.
SAME = 0.85
#: By how much another framing has to be better.
CLEARLY = 0.04
#: Ref frames that are looked for.
_LOOKED_FOR = 160
#: Grey levels below which a border may be a bar, and by which the picture has to be brighter; the least bar, as a share.
_DARK, _BRIGHTER, _LEAST_BAR = 40, 25, 0.03


@dataclass(frozen=True, slots=True)
class Area:
    """The part of the picture without bars, in normalised units: its edges."""

    left: float
    right: float
    top: float
    bottom: float


def first_geometry(ref: Lumas, clip: Lumas) -> Geometry:
    """The framing under which the ref's frames find their likes best; ref (A,h,w) and clip (B,h,w), moments of the films."""
    texture = describe_film(ref, edge_weight(LUMA_HEIGHT, LUMA_WIDTH))[1]
    telling = np.argsort(-texture, kind="stable")[: max(len(ref) // 2, min(len(ref), 40))]
    wanted = ref[np.sort(telling)[:: max(1, len(telling) // _LOOKED_FOR)]]
    best = Geometry.identity()
    score = _score(wanted, clip, best)
    if score >= SAME:
        return best
    for trial in _customs(active_area(ref), active_area(clip)):
        reached = _score(wanted, clip, trial)
        if reached > score + CLEARLY:
            best, score = trial, reached
    return best


def active_area(lumas: Lumas) -> Area:
    """Where the film (B,h,w) shows a picture at some time."""
    usual = np.percentile(lumas[:: max(1, len(lumas) // 500)], 90, axis=0).astype(np.float64)
    top, bottom = _bars(np.percentile(usual, 75, axis=1))
    left, right = _bars(np.percentile(usual, 75, axis=0))
    return Area(2 * left - 1, 1 - 2 * right, 2 * top - 1, 1 - 2 * bottom)


def _bars(levels: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The bars at both ends of a row of brightness levels, each as a share of its length."""
    return _bar(levels), _bar(levels[::-1])


def _bar(levels: npt.NDArray[np.float64]) -> float:
    black, picture = levels[0], float(np.median(levels))
    if black > _DARK or picture < black + _BRIGHTER:
        return 0.0
    width = 0.0
    for level, inner in pairwise(levels[: len(levels) // 2 + 1].tolist()):
        # The last one may be part bar, part picture.
        width += 1.0 - float(np.clip((level - black) / max(inner - black, 1.0), 0.0, 1.0))
        if level > black + 0.15 * (picture - black):
            break
    share = width / len(levels)
    return share if share >= _LEAST_BAR else 0.0


def _customs(ref: Area, clip: Area) -> list[Geometry]:
    scales = ((CROP, 1.0), (1 / CROP, 1.0), (1.0, CROP), (1.0, 1 / CROP))
    trials = [Geometry.of_affine(np.array([[x, 0.0, 0.0], [0.0, y, 0.0]])) for x, y in scales]
    if ref != clip:
        x = (clip.right - clip.left) / (ref.right - ref.left)
        y = (clip.bottom - clip.top) / (ref.bottom - ref.top)
        trials.insert(0, Geometry.of_affine(np.array([[x, 0.0, clip.left - x * ref.left], [0.0, y, clip.top - y * ref.top]])))
    return trials


def _score(wanted: Lumas, clip: Lumas, geometry: Geometry) -> float:
    """Mean correlation of the ref's pictures with what is most like each of them in the clip."""
    lay = sampler(geometry, LUMA_HEIGHT, LUMA_WIDTH)
    weight = edge_weight(LUMA_HEIGHT, LUMA_WIDTH) * lay.inside
    ours, _ = describe_film(wanted, weight)
    theirs, _ = describe_film(clip, weight, lay)
    best = np.full(len(ours), -1.0, np.float32)
    for start in range(0, len(theirs), 4096):
        best = np.maximum(best, (ours @ theirs[start : start + 4096].T).max(1))
    return float(best.mean())
