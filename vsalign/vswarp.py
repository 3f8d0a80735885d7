"""The work of ``vsalign.spatial`` on one frame: the frames it needs in, the warped frame with its props out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Semaphore

import torch
from torch import Tensor

from vsalign.likeness import mismatch
from vsalign.planes import chroma_positions, warp_plane
from vsalign.remember import Remembered
from vsalign.settings import SpatialSettings
from vsalign.steady import Observation, observe, settle
from vsalign.vsframe import Frame, is_float, pair, peak, plane, untrusted, write, write_gray
from vsalign.warp import Warp, positions_inside, scale_positions

#: Props that say how samples are to be read. They stay with the clip, whose samples they are; all others are the ref's.
COLOUR_PROPS = (
    *("_Matrix", "_Transfer", "_Primaries", "_Range", "_ChromaLocation"),
    *("MasteringDisplayPrimariesX", "MasteringDisplayPrimariesY", "MasteringDisplayWhitePointX", "MasteringDisplayWhitePointY"),
    *("MasteringDisplayMinLuminance", "MasteringDisplayMaxLuminance", "ContentLightLevelMax", "ContentLightLevelAverage"),
    *("DolbyVisionRPU", "HDR10Plus"),
)
#: VapourSynth counts where chroma lies from 0, FFmpeg, whose numbers the planes go by, from 1 (0 = not said).
_CHROMA_LOCATION_TO_FFMPEG = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the filter was asked for. ``radius``: frames on each side that take part; ``num_frames``: length of the ref."""

    settings: SpatialSettings
    device: torch.device
    radius: int
    num_frames: int
    alpha: bool
    mismatch: bool

    @property
    def gray(self) -> bool:
        """Whether a gray picture goes out as a frame prop."""
        return self.alpha or self.mismatch

    @property
    def reach(self) -> range:
        """How far from a frame the frames of its window may lie."""
        return range(-self.radius, self.radius + 1)

    def window(self, n: int) -> range:
        """The frames whose observations decide frame ``n``."""
        return range(max(0, n - self.radius), min(self.num_frames, n + self.radius + 1))


@dataclass(frozen=True, slots=True)
class Inputs:
    """The frames that frame n is made from. ``blank`` has the output's format and the ref's props, ``gray`` is None unless a
    gray prop is wanted. ``pairs``: clip, ref and mask (or None) of the frames to be observed."""

    blank: Frame
    gray: Frame | None
    clip: Frame
    ref: Frame
    pairs: Mapping[int, tuple[Frame, Frame, Frame | None]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How frame ``n`` is made: what is ``known`` of its window already, and the frames ``missing``, still to be observed."""

    n: int
    known: Mapping[int, Observation]
    missing: Sequence[int]


class FrameWarper:
    """Makes output frames; several threads may call it at the same time, and observations are shared between them.

    A frame is planned, then its inputs are fetched, then it is made. What the plan found in memory stays with the plan, so that
    only frames not yet observed are fetched: one pair for each frame of a film that is played from start to end.
    """

    def __init__(self, wanted: Wanted, num_threads: int) -> None:
        self._wanted = wanted
        # Threads are at neighbouring frames: their windows, and one more frame each for when one of them lags.
        self._observations: Remembered[Observation] = Remembered(2 * wanted.radius + 1 + 2 * num_threads)
        self._at_work = Semaphore(num_threads)

    def plan(self, n: int) -> Plan:
        """What frame ``n`` still needs."""
        known = self._observations.known(self._wanted.window(n))
        return Plan(n, known, [m for m in self._wanted.window(n) if m not in known])

    @torch.inference_mode()
    def make(self, plan: Plan, inputs: Inputs) -> Frame:
        """Output frame ``plan.n`` from the ``inputs`` that the plan named."""
        # Whoever waits for another thread's observation is not at work: it would keep that thread waiting in turn.
        found = {**plan.known, **self._observations.gather(plan.missing, partial(self._observe, inputs))}
        with self._at_work:
            window = self._wanted.window(plan.n)
            warp = settle([found[m] for m in window], at=plan.n - window.start)
            return self._warped(inputs, warp)

    def forget(self) -> None:
        """Let go of what is remembered: the core is going away."""
        self._observations.clear()

    def _observe(self, inputs: Inputs, m: int) -> Observation:
        clip, ref, mask = inputs.pairs[m]
        device = self._wanted.device
        with self._at_work:
            distrust = None if mask is None else untrusted(mask, device)
            return observe(*pair(clip, ref, device), self._wanted.settings, distrust)

    def _warped(self, inputs: Inputs, warp: Warp) -> Frame:
        clip, out = inputs.clip, inputs.blank.copy()
        _warp_planes(clip, warp.clip_from_ref[0], out)
        _tag(out, clip, warp)
        if self._wanted.alpha:
            inside = positions_inside(warp.clip_from_ref, (clip.height, clip.width))
            out.props["_Alpha"] = _gray(inputs, inside.float())
        if self._wanted.mismatch:
            out.props["_Mismatch"] = _gray(inputs, mismatch(*pair(clip, inputs.ref, self._wanted.device), warp))
        return out


def _warp_planes(clip: Frame, luma_positions: Tensor, out: Frame) -> None:
    """Sample every plane of ``clip`` once into ``out``, in the clip's own format."""
    format = clip.format
    top = None if is_float(format) else peak(format)
    location = clip.props.get("_ChromaLocation", -_CHROMA_LOCATION_TO_FFMPEG) + _CHROMA_LOCATION_TO_FFMPEG
    shifts = (format.subsampling_w, format.subsampling_h)
    chroma = chroma_positions(luma_positions, shifts, location) if any(shifts) else luma_positions
    for index in range(format.num_planes):
        write(out, index, warp_plane(plane(clip, index), chroma if index else luma_positions, top))


def _tag(out: Frame, clip: Frame, warp: Warp) -> None:
    """The clip's colour props and what is known of the warp onto ``out``, which has the ref's props."""
    for name in COLOUR_PROPS:
        if name in clip.props:
            out.props[name] = clip.props[name]
        elif name in out.props:
            del out.props[name]
    plain = scale_positions((clip.height, clip.width), (out.height, out.width), warp.clip_from_ref.device)
    out.props["_VsalignConfidence"] = float(warp.confidence.mean())
    out.props["_VsalignDisplacement"] = float((warp.clip_from_ref - plain).square().sum(1).sqrt().mean())
    if warp.homography is not None:
        found = bool(warp.homography.isfinite().all())
        out.props["_VsalignHomographyFound"] = int(found)
        if found:
            out.props["_VsalignHomography"] = warp.homography[0].double().flatten().tolist()


def _gray(inputs: Inputs, values: Tensor) -> Frame:
    assert inputs.gray is not None
    frame = inputs.gray.copy()
    write_gray(frame, values)
    return frame
