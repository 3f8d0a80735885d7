"""VapourSynth filters: video nodes in, video nodes out.

The core calls the Python function of one filter node from one thread at a time. So every frame is made by a node of its own,
chosen by FrameEval: neighbouring frames are worked on at once. All frames that a callback looks at come to it as declared
inputs; it never asks the core for one, so it can't lock it up.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

import torch
import vapoursynth as vs

from vsalign.filterargs import (
    Backend,
    SpatialPrecision,
    check_fits,
    check_flag,
    check_format,
    check_node,
    check_smooth_time,
    check_weights,
    choose_device,
)
from vsalign.settings import DEFAULT_SMOOTH_TIME, SpatialSettings
from vsalign.vswarp import FrameWarper, Inputs, Plan, Wanted
from vsalign.weights import forget_networks

#: vapoursynth.VideoNode; the package carries no types that a checker may rely on.
Node = Any
#: One fetches while the other one computes; more would only fill the device's memory.
_CUDA_THREADS = 2


def spatial(
    clip: Node,
    ref: Node,
    mask: Node | None = None,
    precision: int | SpatialPrecision = 3,
    wide_search: bool = False,
    lq_input: bool = False,
    alpha: bool = False,
    backend: str | Backend | None = None,
    *,
    iterations: int = 1,
    device: str | Backend | None = None,
    engine: str = "dense",
    weights: str = "",
    exact_peer: bool = False,
    smooth_time: int = DEFAULT_SMOOTH_TIME,
    mismatch: bool = False,
) -> Node:
    """Warp every frame of ``clip`` so that each pixel lies where the frame of the same number of ``ref`` has it.

    ``clip`` and ``ref``: nodes of any size, RGB, YUV or GRAY, 8 to 16 bit, half or float, each its own. Returns a node of ref's
    size, length, rate and frame props in clip's format, each plane sampled once as it is, so that values out of [0, 1] stay;
    the props that say how samples are to be read (matrix, range, chroma location ...) are clip's. A clip that is shorter
    repeats its last frame. Further frame props: ``_VsalignConfidence`` (mean, 0 to 1), ``_VsalignDisplacement`` (mean distance
    in clip pixels from a mere change of size); with ``wide_search`` ``_VsalignHomographyFound`` (0 or 1) and, if found,
    ``_VsalignHomography`` (9 floats by rows, clip pixel from ref pixel, pixel centres at integers).

    ``mask``: node of any format, size and length over the ref; white is not trusted, its last frame stays. ``alpha`` adds the
    prop ``_Alpha``, gray of clip's depth, white where the clip reaches; ``mismatch`` adds ``_Mismatch``, white where both do
    not show the same. ``smooth_time``: frames on each side that have a say in a frame's warp. ``backend`` or ``device``: "cpu"
    or "cuda", by default the latter where there is one. All else: :class:`vsalign.settings.SpatialSettings`.

    Raises TypeError or ValueError at the call for every argument that can't be. On the CPU torch is set to one thread for the
    whole process: frames are worked on at the same time instead, and its sums do not depend on the machine.
    """
    for name, node in (("clip", clip), ("ref", ref), ("mask", mask)):
        if name != "mask" or node is not None:
            check_node(name, node, vs.VideoNode)
            check_format(name, node)
    check_fits(clip, ref)
    settings = SpatialSettings(
        precision=int(precision) if isinstance(precision, SpatialPrecision) else precision,
        lq_input=lq_input,
        wide_search=wide_search,
        iterations=iterations,
        engine=engine,
        weights=weights,
        exact_peer=exact_peer,
    )
    check_weights(settings)
    check_flag("alpha", alpha)
    check_flag("mismatch", mismatch)
    check_smooth_time(smooth_time)
    radius = min(smooth_time, ref.num_frames - 1)
    wanted = Wanted(settings, choose_device(backend, device), radius, ref.num_frames, alpha, mismatch)
    return _warped(clip, ref, mask, wanted)


def _warped(clip: Node, ref: Node, mask: Node | None, wanted: Wanted) -> Node:
    core, on_cpu = vs.core, wanted.device.type == "cpu"
    if on_cpu:
        torch.set_num_threads(1)
    warper = FrameWarper(wanted, core.num_threads if on_cpu else min(core.num_threads, _CUDA_THREADS))
    vs.register_on_destroy(partial(_forget, weakref.ref(warper)))
    gray = [_blank(clip.format.replace(color_family=vs.GRAY, subsampling_w=0, subsampling_h=0), ref)] if wanted.gray else []
    held = [_held(node, wanted) for node in (clip, ref, mask) if node is not None]
    blank = core.std.CopyFrameProps(_blank(clip.format, ref), held[1])
    shifted = {by: [_shifted(node, by) for node in held] for by in wanted.reach}

    def node_of_frame(n: int) -> Node:
        plan = warper.plan(n)
        inputs = [blank, *gray, *shifted[0][:2]]
        for m in plan.missing:
            inputs += shifted[m - n]
        return core.std.ModifyFrame(blank, inputs, lambda n, f: warper.make(plan, _sorted(f, plan, wanted, mask is not None)))

    return core.std.FrameEval(blank, node_of_frame)


def _sorted(frames: list[Any], plan: Plan, wanted: Wanted, masked: bool) -> Inputs:
    """The frames of a plan's input nodes, which VapourSynth hands over in one list, by what they are."""
    rest = iter(frames)
    blank, gray, clip, ref = next(rest), next(rest) if wanted.gray else None, next(rest), next(rest)
    return Inputs(blank, gray, clip, ref, {m: (next(rest), next(rest), next(rest) if masked else None) for m in plan.missing})


def _blank(format: Any, ref: Node) -> Node:
    return vs.core.std.BlankClip(ref, format=format.id, keep=True)


def _held(node: Node, wanted: Wanted) -> Node:
    """``node`` at the ref's length, its last frame repeated if need be, with room for the frames between the first look at a
    frame and the last."""
    missing = wanted.num_frames - node.num_frames
    fitted = node[: wanted.num_frames] if missing <= 0 else node + node[-1] * missing
    # A node of its own, whose cache may be set: the caller's is none of our business. Frames are shared, not copied.
    held = fitted.std.CopyFrameProps(fitted)
    room = len(wanted.reach) + 2 * vs.core.num_threads
    held.std.SetVideoCache(mode=1, fixedsize=False, maxsize=room, maxhistory=room)
    return held


def _shifted(node: Node, by: int) -> Node:
    """Frame n is frame n + ``by`` of ``node``; past its ends the frames are those at its ends."""
    if by < 0:
        return (node[0] * -by + node)[: node.num_frames]
    return node[by:] + node[-1] * by if by else node


def _forget(warper: weakref.ref[FrameWarper]) -> None:
    """The core goes, and with it what was remembered of its films, also on a device whose memory torch keeps for itself."""
    alive = warper()
    if alive is not None:
        alive.forget()
    forget_networks()  # another core's filter loads them again
