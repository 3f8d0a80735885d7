"""Nodes whose frames tell, in their props, what clip frames were compared with a ref frame and at what costs.

Their frames are otherwise those of ``base``, a tiny node of the ref's length and frame props. All frames that a callback looks
at come to it as declared inputs. A node of one frame stands for that frame whatever number it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Semaphore
from typing import TYPE_CHECKING, Any

import numpy as np

from vsalign.metric import Doubles, Metric, row_costs_of
from vsalign.remember import Remembered
from vsalign.vsframe import Frame
from vsalign.vspicture import picture_of

if TYPE_CHECKING:
    from vsalign.pluginmetric import PluginFilter

#: vapoursynth.VideoNode, read by its attributes.
Node = Any
#: The clip frames to be compared with ref frame n, which may depend on the frame of a node before.
GiveFrames = Callable[[int, Frame | None], Sequence[int]]

_FRAMES, _COSTS = "_VsalignRowFrames", "_VsalignRowCosts"


def row_of(frame: Frame) -> tuple[list[int], Doubles]:
    """The clip frames compared, the preferred one first, and their costs."""
    return np.frombuffer(frame.props[_FRAMES], np.int64).tolist(), np.frombuffer(frame.props[_COSTS], np.float64)


@dataclass(frozen=True, slots=True)
class _Plan:
    frames: Sequence[int]
    known: Mapping[int, Any]
    missing: Sequence[int]


class FeatureRows:
    """Rows of a metric whose features of clip frames are remembered from one ref frame to the next.

    Its features must hold no views of a picture's planes, which are the frame's. Several threads may be at work at once.
    """

    def __init__(self, metric: Metric, room: int, num_threads: int, prune: bool) -> None:
        self._metric, self._prune = metric, prune
        self._features: Remembered[Any] = Remembered(room)
        self._at_work = Semaphore(num_threads)

    def node(self, base: Node, clip: Node, ref: Node, give_frames: GiveFrames, before: Node | None = None) -> Node:
        """Frame n: ref frame n against the clip frames that ``give_frames`` names, by frame n of ``before`` if it is given."""

        def row(n: int, f: Frame | None = None) -> Node:
            frames = give_frames(n, f)
            known = self._features.known(frames)
            plan = _Plan(frames, known, sorted(set(frames) - set(known)))
            inputs = [base, ref, *(clip[c] for c in plan.missing)]
            return base.std.ModifyFrame(inputs, lambda n, f: self._compared(plan, f))

        return base.std.FrameEval(row) if before is None else base.std.FrameEval(row, prop_src=[before])

    def forget(self) -> None:
        """Let go of all features: the core is going away."""
        self._features.clear()

    def _compared(self, plan: _Plan, inputs: Sequence[Frame]) -> Frame:
        base, ref, fetched = inputs[0], inputs[1], dict(zip(plan.missing, inputs[2:], strict=True))
        # Whoever waits for another thread's features is not at work: it would keep that thread waiting in turn.
        features = {**plan.known, **self._features.gather(plan.missing, lambda c: self._described(fetched[c]))}
        own = self._described(ref)
        with self._at_work:
            costs = row_costs_of(self._metric, own, [features[c] for c in plan.frames], self._prune)
        return _told(base, plan.frames, costs)

    def _described(self, frame: Frame) -> Any:
        with self._at_work:
            return self._metric.features(picture_of(frame, copied=False))


def plugin_rows(base: Node, clip: Node, ref: Node, plugin: PluginFilter, give_frames: GiveFrames, before: Node | None) -> Node:
    """As :meth:`FeatureRows.node`, by a plugin's filter; ``clip`` and ``ref`` are RGB. Of ref one frame at a time is kept."""
    selectable = clip if clip.num_frames > 1 else clip * 2  # SelectEvery takes no cycle of one

    def row(n: int, f: Frame | None = None) -> Node:
        frames = give_frames(n, f)
        own = ref[n]
        own.std.SetVideoCache(mode=1, fixedsize=True, maxsize=1, maxhistory=1)  # asked for again with every candidate
        # Some filters look at a frame as they are made, and bring the process down if it fails: it has to fail before.
        pictures = [own, *(clip[c] for c in frames)]
        return base.std.FrameEval(lambda n, f: compared_with(own, frames), prop_src=pictures)

    def compared_with(own: Node, frames: Sequence[int]) -> Node:
        # One instance of the plugin's filter for all candidates: some reserve memory on a device.
        candidates = selectable.std.SelectEvery(cycle=selectable.num_frames, offsets=list(frames))
        compared = plugin.compare(own * len(frames), candidates)
        inputs = [base, *(compared[k] for k in range(len(frames)))]

        def gather(n: int, f: Sequence[Frame]) -> Frame:
            costs = np.array([plugin.cost(told.props) for told in f[1:]], np.float64)
            return _told(f[0], frames, np.where(np.isnan(costs), np.inf, costs))

        return base.std.ModifyFrame(inputs, gather)

    return base.std.FrameEval(row) if before is None else base.std.FrameEval(row, prop_src=[before])


def _told(base: Frame, frames: Sequence[int], costs: Doubles) -> Frame:
    out = base.copy()
    # As bytes: lists of numbers cross over one by one.
    out.props[_FRAMES] = np.array(frames, np.int64).tobytes()
    out.props[_COSTS] = costs.tobytes()
    return out
