"""vsalign: two versions of one film, moved onto each other in time (sync) and in space (align).

The names below are the library. Those that need torch are loaded on first use, so that the command line starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vsalign.errors import InputError, NoMatchError, VsalignError
from vsalign.framemap import FrameMap
from vsalign.frames import FrameRange

if TYPE_CHECKING:
    from vsalign.estimate import estimate_warp
    from vsalign.filterargs import Backend, Device, SpatialPrecision, TemporalPrecision
    from vsalign.filters import spatial
    from vsalign.likeness import mismatch
    from vsalign.settings import SpatialSettings
    from vsalign.temporalfilter import temporal
    from vsalign.warp import Warp, apply_warp

_LAZY = {
    "Backend": "vsalign.filterargs",
    "Device": "vsalign.filterargs",
    "SpatialPrecision": "vsalign.filterargs",
    "SpatialSettings": "vsalign.settings",
    "TemporalPrecision": "vsalign.filterargs",
    "Warp": "vsalign.warp",
    "apply_warp": "vsalign.warp",
    "estimate_warp": "vsalign.estimate",
    "mismatch": "vsalign.likeness",
    "spatial": "vsalign.filters",
    "temporal": "vsalign.temporalfilter",
}

__all__ = [
    "Backend",
    "Device",
    "FrameMap",
    "FrameRange",
    "InputError",
    "NoMatchError",
    "SpatialPrecision",
    "SpatialSettings",
    "TemporalPrecision",
    "VsalignError",
    "Warp",
    "apply_warp",
    "estimate_warp",
    "mismatch",
    "spatial",
    "temporal",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'vsalign' has no attribute {name!r}")
