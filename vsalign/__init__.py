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
    from vsalign.spatial import estimate_warp
    from vsalign.warp import Warp, apply_warp

_LAZY = {"Warp": "vsalign.warp", "apply_warp": "vsalign.warp", "estimate_warp": "vsalign.spatial"}

__all__ = [
    "FrameMap",
    "FrameRange",
    "InputError",
    "NoMatchError",
    "VsalignError",
    "Warp",
    "apply_warp",
    "estimate_warp",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'vsalign' has no attribute {name!r}")
