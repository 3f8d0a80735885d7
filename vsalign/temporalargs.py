"""What ``vsalign.temporal`` accepts, checked at the call: each refusal names parameter, value and what is accepted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vsalign.errors import InputError
from vsalign.filterargs import TemporalPrecision, check_flag, check_format, check_node
from vsalign.framemap import FrameMap
from vsalign.metric import Select

#: vapoursynth.VideoNode, read by its attributes.
Node = Any

#: The text overlay of ``debug`` needs frames of this size.
_DEBUG_WIDTH, _DEBUG_HEIGHT = 40, 48
#: Costs from which on frames count as having nothing in common, by what the cost is.
USUAL_THRESH = {"PlaneStats": 0.07, "Butteraugli": 100.0, "SSIMULACRA2": 2.5, "TOPIQ": 0.7, "signatures": math.inf}


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a call; ``out`` is the clip where none was given."""

    clip: Node
    ref: Node
    out: Node
    fallback: Node | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Clip frames per ref frame, and clip frames per second (None: unknown)."""

    ratio: Fraction
    clip_rate: Fraction | None

    def offset_ms(self, clip_frame: int, ref_frame: int) -> float | None:
        """How much later, in clip time, ``clip_frame`` begins than ``ref_frame``; None where no rate is known."""
        if self.clip_rate is None:
            return None
        return float(1000 * (clip_frame - ref_frame * self.ratio) / self.clip_rate)


@dataclass(frozen=True, slots=True)
class TemporalSettings:
    """The plain values of a call. Raises TypeError or ValueError for each that can't be."""

    precision: int
    tr: int
    thresh: float | None
    batch_size: int | None
    debug: bool
    select: Select
    weights: str
    prune: bool

    def __post_init__(self) -> None:
        _check_int("precision", self.precision, 1, "a whole number from 1 to 4 or a member of TemporalPrecision", 4)
        _check_int("tr", self.tr, 0, "a whole number from 0")
        if self.batch_size is not None:
            _check_int("batch_size", self.batch_size, 1, "None or a whole number from 1")
        _check_thresh(self.thresh)
        check_flag("debug", self.debug)
        check_flag("prune", self.prune)
        if not isinstance(self.select, str):
            raise TypeError(f"select is {self.select!r}, accepted are 'argmin' and 'path'")
        if self.select not in ("argmin", "path"):
            raise ValueError(f"select is {self.select!r}, accepted are 'argmin' and 'path'")
        if not isinstance(self.weights, str):
            raise TypeError(f"weights is {self.weights!r}, accepted is the path of a file, or ''")


def plain_precision(precision: object) -> Any:
    """A member of the enum as its number; all else as it is, to be refused by :class:`TemporalSettings`."""
    return int(precision) if isinstance(precision, TemporalPrecision) else precision


def check_nodes(nodes: Nodes, precision: int, debug: bool, node_type: type) -> None:
    """Raises TypeError or ValueError unless the nodes fit each other."""
    clip, ref, out, fallback = nodes.clip, nodes.ref, nodes.out, nodes.fallback
    for name, node in (("clip", clip), ("ref", ref), ("out", out), ("fallback", fallback)):
        if name != "fallback" or node is not None:
            check_node(name, node, node_type)
    check_format("clip", clip)
    check_format("ref", ref)
    if precision != TemporalPrecision.SIGNATURE and _shape(clip) != _shape(ref):
        raise ValueError(
            f"ref is {_shape(ref)} and clip {_shape(clip)}, accepted is one size and format for both: resize one of them "
            "(the resized clip may be passed as clip and the original as out), or use precision 4"
        )
    if out.num_frames != clip.num_frames:
        raise ValueError(f"out has {out.num_frames} frames, accepted is the clip's length, {clip.num_frames}")
    if fallback is not None and _shape(fallback) != _shape(out):
        raise ValueError(f"fallback is {_shape(fallback)}, accepted is the size and format of the output, {_shape(out)}")
    if fallback is not None and fallback.num_frames < ref.num_frames:
        raise ValueError(f"fallback has {fallback.num_frames} frames, accepted is the ref's length, {ref.num_frames}, or more")
    if debug and (out.width < _DEBUG_WIDTH or out.height < _DEBUG_HEIGHT):
        raise ValueError(
            f"debug is True and the output {out.width}x{out.height}, accepted is {_DEBUG_WIDTH}x{_DEBUG_HEIGHT} or larger"
        )


def rates_of(given: dict[str, object], clip: Node, ref: Node, by_nodes: bool) -> Rates:
    """The rates of clip and ref from clip_num, clip_den, ref_num, ref_den; without them frame n belongs to frame n, or with
    ``by_nodes`` to what the nodes' own rates say."""
    names = [name for name, value in given.items() if value is not None]
    if names and len(names) < len(given):
        missing = next(name for name in given if name not in names)
        raise ValueError(
            f"{missing} is None and {names[0]} is {given[names[0]]!r}, accepted are all of {', '.join(given)}, or none"
        )
    for name in names:
        _check_int(name, given[name], 1, "a whole number from 1")
    own = [Fraction(node.fps) if node.fps else None for node in (clip, ref)]
    if names:
        clip_num, clip_den, ref_num, ref_den = (int(str(given[name])) for name in given)
        return Rates(Fraction(clip_num * ref_den, clip_den * ref_num), Fraction(clip_num, clip_den))
    if by_nodes and own[0] and own[1]:
        return Rates(own[0] / own[1], own[0])
    return Rates(Fraction(1), own[0])


def read_frame_map(given: object, num_ref: int, num_clip: int) -> FrameMap:
    """The map of ``frame_map``, a FrameMap or the path of its CSV. Raises TypeError or ValueError where it can't be one of
    these films'."""
    accepted = f"accepted is a FrameMap or the path of its CSV, of {num_ref} ref frames and {num_clip} clip frames"
    if isinstance(given, str) and not given:
        raise ValueError(f"frame_map is '', {accepted}, or None")
    if isinstance(given, str | Path):
        try:
            text = Path(given).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"frame_map is {str(given)!r}, which can't be read ({error}), {accepted}") from None
        try:
            return FrameMap.from_csv(text, num_ref, num_clip)
        except InputError as error:
            raise ValueError(f"frame_map is {str(given)!r}: {error}") from None
    if not isinstance(given, FrameMap):
        raise TypeError(f"frame_map is {given!r}, {accepted}")
    if len(given) != num_ref or (len(given) and given.clip_frame.max() >= num_clip):
        last = int(given.clip_frame.max()) if len(given) else -1
        raise ValueError(f"frame_map is {given!r} with clip frames up to {last}, {accepted}")
    return given


def _shape(node: Node) -> str:
    return f"{node.width}x{node.height} {node.format.name}"


def _check_int(name: str, value: object, least: int, accepted: str, most: float = math.inf) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}, accepted is {accepted}")
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}, accepted is {accepted}")


def _check_thresh(value: object) -> None:
    accepted = "accepted is None or a number from 0"
    if value is None:
        return
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.floating | np.integer):
        raise TypeError(f"thresh is {value!r}, {accepted}")
    if not value >= 0:
        raise ValueError(f"thresh is {value}, {accepted}")
