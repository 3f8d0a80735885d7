"""What one frame pair tells about the geometry, and the warp that a run of neighbouring pairs agrees on.

``observe`` is the dear part and looks at one pair alone; what it returns is small. ``settle`` pools the observations of a few
neighbouring frames of one scene (:mod:`vsalign.pooling`). Both are pure functions, so a frame's warp depends on its finite
window and on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vsalign.basemap import BaseMap
from vsalign.dense import EFFORTS, Pictures, register
from vsalign.fill import confidence
from vsalign.luma import numbers, to_luma
from vsalign.pooling import Fields, in_blocks, pool
from vsalign.projective import projective_part
from vsalign.pyramid import CELL, from_cells, to_cells
from vsalign.scene import is_blank, same_scene, scene_thumb
from vsalign.settings import SpatialSettings
from vsalign.warp import Warp

#: Confidence at which half of a displacement on top of a homography is believed.
_DOUBTED = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What one pair tells. ``confidence``: mean over the picture, 0 when the pair tells nothing. ``base`` brings the clip onto
    the ref's raster, ``fields`` (of one frame) says per block of ``cell`` ref pixels what is still missing then, ``detail``
    (1,2,H,W) or 0 what that leaves out of the frame's own displacement."""

    base: BaseMap
    fields: Fields
    cell: int
    thumb: Tensor
    confidence: float
    detail: Tensor | float = 0.0


@torch.no_grad()
def observe(clip: Tensor, ref: Tensor, settings: SpatialSettings, mask: Tensor | None = None) -> Observation:
    """All that the pair ``clip`` (1,C,h,w), ``ref`` (1,C,H,W) tells; arguments as for ``estimate_warp``."""
    return observe_all(clip, ref, settings, mask)[0]


@torch.no_grad()
def observe_all(clips: Tensor, refs: Tensor, settings: SpatialSettings, masks: Tensor | None = None) -> list[Observation]:
    """The observations of a batch of pairs, each as if it were alone; masks as for ``estimate_warp``.

    On the CPU they are taken one by one, which is fastest there and gives the bits of single calls. On a GPU pairs that need no
    wide search go through together, without waiting for the device in between.
    """
    together = refs.device.type != "cpu" and settings.engine == "dense" and not settings.wide_search
    group = refs.shape[0] if together else 1
    found: list[Observation] = []
    for start in range(0, refs.shape[0], group):
        part = slice(start, start + group)
        own = masks if masks is None or masks.shape[0] == 1 else masks[part]
        found += _observe_together(clips[part], refs[part], settings, own)
    return found


def _observe_together(clips: Tensor, refs: Tensor, settings: SpatialSettings, masks: Tensor | None) -> list[Observation]:
    targets = to_luma(refs)
    if settings.engine == "rife":
        return [_observe_by_network(clips, refs, settings, masks)]
    base, fields, cell = _seen_densely(to_luma(clips), targets, settings, _distrust(masks, targets))
    # One look at the device for the whole batch.
    thumbs, means = scene_thumb(targets).cpu(), fields.trust.mean((1, 2, 3)).tolist()
    return [Observation(base, fields.of(i), cell, thumbs[i : i + 1], means[i]) for i in range(len(means))]


@torch.no_grad()
def settle(window: Sequence[Observation], at: int = 0) -> Warp:
    """The warp (B = 1) of ``window[at]``, whose neighbours in time are the others, in order.

    Neighbours beyond a cut or of other sizes don't count; all are taken with the same settings.
    """
    own, neighbours = window[at], _of_one_scene(window, at)
    displacement, trust = own.fields.displacement, own.fields.trust
    if len(neighbours) > 1:
        fields = [_as_seen_from(own, window[i]) for i in neighbours]
        stacked = Fields(
            torch.cat([f.displacement for f in fields]),
            torch.cat([f.trust for f in fields]),
            torch.cat([f.precision for f in fields]),
        )
        displacement, trust = pool(stacked, neighbours.index(at))
    size = own.base.ref_size
    positions = own.base.positions(from_cells(displacement, size, own.cell) + own.detail)
    return Warp(positions, from_cells(trust, size, own.cell), own.base.report())


def _of_one_scene(window: Sequence[Observation], at: int) -> range:
    """Indices around ``at`` up to the next cut on each side. Black frames belong to any scene, but a scene does not go on
    behind them unless it looks as before."""
    own = window[at]
    first, shown = _up_to_cut(window, own, range(at - 1, -1, -1), None if is_blank(own.thumb) else own.thumb)
    nearest = shown[0] if shown else None
    last, _ = _up_to_cut(window, own, range(at + 1, len(window)), nearest)
    return range(at - first, at + last + 1)


def _up_to_cut(
    window: Sequence[Observation], own: Observation, order: range, before: Tensor | None
) -> tuple[int, list[Tensor]]:
    """How many of ``order`` follow without a cut; and thumbs that show something, ``before`` or the nearest first."""
    shown = [] if before is None else [before]
    for count, i in enumerate(order):
        other = window[i]
        if other.cell != own.cell or other.base.sizes != own.base.sizes:
            return count, shown
        if is_blank(other.thumb):
            continue
        if shown and not same_scene(shown[-1], other.thumb):
            return count, shown
        shown.append(other.thumb)
    return len(order), shown


def _as_seen_from(own: Observation, other: Observation) -> Fields:
    """The other's fields as displacements from ``own``'s base."""
    if own.base == other.base:
        return other.fields
    displacement = own.base.displacement_of(other.base, other.fields.displacement, other.cell)
    return Fields(displacement, other.fields.trust, other.fields.precision)


def _seen_densely(clip: Tensor, ref: Tensor, settings: SpatialSettings, distrust: Tensor | None) -> tuple[BaseMap, Fields, int]:
    """Base, fields per frame and pixels per cell; a wide search takes one pair at a time."""
    base, clip_trust = _base(clip, ref, settings, distrust), None
    if base.is_scaling:
        moving = F.interpolate(clip, base.ref_size, mode="bicubic", antialias=True) if base.scales else clip
    else:
        moving, clip_trust = base.laid(clip)
    ref_trust = None if distrust is None else (~distrust).float()
    found = register(
        Pictures(moving, ref, clip_trust, ref_trust), EFFORTS[settings.precision], settings.lq_input, settings.iterations
    )
    pixels, scale = CELL * CELL, 2**found.level
    # Per square pixel of the ref and cell, whatever the level.
    precision = in_blocks(found.information.tensor * (pixels / scale**2))
    displacement, trust = found.field * scale, confidence(found.information, scale)
    if not base.is_scaling:
        # A homography that passed its tests is right to a pixel, but for what all pixels together correct: where they say next
        # to nothing of their own it stands.
        whole = projective_part(displacement, found.information.tensor)
        displacement = whole + (displacement - whole) * (trust / (trust + _DOUBTED))
    return base, Fields(displacement, trust, precision), CELL * scale


def _observe_by_network(clip: Tensor, ref: Tensor, settings: SpatialSettings, mask: Tensor | None) -> Observation:
    from vsalign.rife import rife_positions

    moving, target, distrust = to_luma(clip), to_luma(ref), _distrust(mask, ref)
    base = _base(moving, target, settings, distrust)
    if base.is_scaling:
        displacement = base.displacement(rife_positions(clip, ref, settings, mask))
    else:
        on_ref = BaseMap(base.ref_size, base.ref_size)
        displacement = on_ref.displacement(rife_positions(base.laid(numbers(clip))[0], ref, settings, mask))
    # Neighbours share what is slow; the frame keeps its own detail.
    in_cells = to_cells(displacement)
    detail = displacement - from_cells(in_cells, base.ref_size)
    thumb, blind = scene_thumb(target).cpu(), distrust is not None and bool(distrust.all())
    seen = 0.0 if blind or is_blank(thumb) or is_blank(scene_thumb(moving)) else 1.0
    # The network says nothing of its own confidence: it is believed wherever there is something to see.
    trust = torch.full_like(in_cells[:, :1], seen)
    fields = Fields(in_cells, trust, in_blocks(torch.cat([trust, torch.zeros_like(trust), trust], 1)))
    return Observation(base, fields, CELL, thumb, seen, detail)


def _base(clip: Tensor, ref: Tensor, settings: SpatialSettings, distrust: Tensor | None) -> BaseMap:
    base = BaseMap.scaling(clip, ref)
    return base.searched(clip, ref, distrust) if settings.wide_search else base


def _distrust(mask: Tensor | None, ref: Tensor) -> Tensor | None:
    """Where the ref's pixels lie under the mask, (1 or B,1,H,W) bool; None without a mask."""
    if mask is None:
        return None
    laid: Tensor = F.interpolate(mask.float(), ref.shape[-2:], mode="bilinear", antialias=True, align_corners=False) > 0.5
    return laid
