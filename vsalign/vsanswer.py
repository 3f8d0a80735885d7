"""What ``vsalign.temporal`` answers for a ref frame, and the node that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vsalign.framemap import FrameMap
from vsalign.metric import Doubles, choose
from vsalign.metricband import Ints
from vsalign.temporalargs import Nodes, Rates
from vsalign.vsframe import Frame
from vsalign.vsrows import row_of
from vsalign.vssolve import Solved

#: vapoursynth.VideoNode, read by its attributes.
Node = Any

#: Time is the ref's: what its frames tell of it, and don't tell, holds for the output.
_TIME_PROPS = ("_DurationNum", "_DurationDen", "_AbsoluteTime")


@dataclass(frozen=True, slots=True)
class Answer:
    """``matched``: False where a frame map has no counterpart. ``offset_ms``: None to go by the rates. ``compared``: the
    candidates and their costs, if there were any."""

    clip_frame: int
    cost: float
    confidence: float
    matched: bool = True
    offset_ms: float | None = None
    compared: tuple[list[int], Doubles] = ([], np.empty(0))


class Answers(Protocol):
    """``sources``: nodes whose frames an answer needs; frame n of the first has the props of ref frame n."""

    sources: Sequence[Node]

    def of(self, n: int, told: Frame) -> Answer:
        """The answer for ref frame ``n``, whose frame of the first source is ``told``."""
        ...


class RowAnswers:
    """Each ref frame alone, by its row of costs."""

    def __init__(self, rows: Node) -> None:
        self.sources: Sequence[Node] = [rows]

    def of(self, n: int, told: Frame) -> Answer:
        """The candidate of least cost."""
        frames, costs = row_of(told)
        choice = choose(frames, costs)
        return Answer(choice.clip_frame, choice.cost, choice.confidence, compared=(frames, costs))


class _Solver(Protocol):
    solved: Solved | None


class MapAnswers:
    """By a frame map: given, or solved before the last of ``sources`` hands out a frame.

    Unmatched frames hold the clip frame of the nearest matched one; where nothing matches at all, the ``expected`` one.
    """

    def __init__(self, sources: Sequence[Node], expected: Ints, found: FrameMap | _Solver) -> None:
        self.sources = sources
        self._expected = expected
        self._solver = None if isinstance(found, FrameMap) else found
        self._map = found if isinstance(found, FrameMap) else None
        self._offset_ms: Doubles | None = None
        self._shown: Ints | None = None

    def of(self, n: int, told: Frame) -> Answer:
        """The map's row."""
        if self._map is None:
            assert self._solver is not None
            assert self._solver.solved is not None
            self._map, self._offset_ms = self._solver.solved.frame_map, self._solver.solved.offset_ms
        if self._shown is None:
            shown = self._map.shown_frames()
            self._shown = np.where(shown >= 0, shown, self._expected)
        known = self._offset_ms is not None and bool(np.isfinite(self._offset_ms[n]))
        return Answer(
            int(self._shown[n]),
            float(self._map.cost[n]),
            float(self._map.confidence[n]),
            bool(self._map.matched[n]),
            float(self._offset_ms[n]) if known and self._offset_ms is not None else None,
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """The output: which frame of which node, and its props. ``thresh``: costs from there on show the fallback."""

    metric: str
    nodes: Nodes
    answers: Answers
    expected: Ints
    rates: Rates
    thresh: float
    debug: bool

    def node_of_frame(self, n: int, f: Any) -> Node:
        """The node of one frame that is frame ``n`` of the output; ``f``: the frame or frames of ``answers.sources``."""
        told: Frame = f[0] if isinstance(f, list | tuple) else f
        answer = self.answers.of(n, told)
        fallback = self.nodes.fallback if not (answer.matched and answer.cost < self.thresh) else None
        props = self._props(n, answer, fallback is not None)
        time = {name: told.props[name] for name in _TIME_PROPS if name in told.props}
        node = self.nodes.out[answer.clip_frame] if fallback is None else fallback[n]
        if len(time) < len(_TIME_PROPS):
            node = node.std.RemoveFrameProps(props=[name for name in _TIME_PROPS if name not in time])
        node = node.std.SetFrameProps(**props, **time)
        return node.text.Text(self._text(n, answer, props)) if self.debug else node

    def _props(self, n: int, answer: Answer, fallback: bool) -> dict[str, int | float]:
        props: dict[str, int | float] = {
            "_VsalignClipFrame": answer.clip_frame,
            "_VsalignOffsetFrames": answer.clip_frame - int(self.expected[n]),
            "_VsalignCost": answer.cost,
            "_VsalignConfidence": answer.confidence,
            "_VsalignFallback": int(fallback),
        }
        offset = self.rates.offset_ms(answer.clip_frame, n) if answer.offset_ms is None else answer.offset_ms
        if offset is not None:
            props["_VsalignOffsetMs"] = offset
        return props

    def _text(self, n: int, answer: Answer, props: Mapping[str, int | float]) -> str:
        lines = [
            f"{self.metric}, ref frame {n}: clip frame {answer.clip_frame} ({props['_VsalignOffsetFrames']:+d})",
            f"cost {answer.cost:.5g}, confidence {answer.confidence:.3f}" + ("" if answer.matched else ", unmatched"),
        ]
        if props["_VsalignFallback"]:
            lines.append(f"fallback shown (thresh {self.thresh:.5g})")
        for frame, cost in sorted(zip(answer.compared[0], answer.compared[1].tolist(), strict=True)):
            told = "ruled out" if np.isinf(cost) else f"{cost:.5g}"
            lines.append(f"{frame - int(self.expected[n]):+d}: {told}" + (" *" if frame == answer.clip_frame else ""))
        return "\n".join(lines)
