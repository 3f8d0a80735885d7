"""The VapourSynth filter ``vsalign.temporal``: which clip frame shows the moment of each ref frame, and that frame.

All frames that a callback looks at come to it as declared inputs; it never asks the core for one, so it can't lock it up.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import vapoursynth as vs

from vsalign.errors import InputError
from vsalign.filterargs import Backend, TemporalPrecision, choose_backend, choose_device
from vsalign.framemap import FrameMap
from vsalign.metric import Metric, Select, window
from vsalign.metricband import Ints
from vsalign.rates import expected_frames
from vsalign.temporalargs import (
    USUAL_THRESH,
    Node,
    Nodes,
    Rates,
    TemporalSettings,
    check_nodes,
    plain_precision,
    rates_of,
    read_frame_map,
)
from vsalign.vsanswer import Answers, MapAnswers, RowAnswers, Shown
from vsalign.vscosts import Workplace, cost_rows
from vsalign.vsrows import FeatureRows
from vsalign.vsscan import Gate, Pass
from vsalign.vssolve import PathSolver, SignatureSolver
from vsalign.weights import forget_networks

#: The core's caches drop some frames before their time.
_SPARE_FRAMES = 16
#: Clip frames on each side of the coarse path that sync needs to look at, whatever ``tr`` says.
_LEAST_RADIUS = 20


def temporal(
    clip: Node,
    ref: Node,
    out: Node | None = None,
    precision: int | TemporalPrecision = 1,
    tr: int = 20,
    fallback: Node | None = None,
    thresh: float | None = None,
    clip_num: int | None = None,
    clip_den: int | None = None,
    ref_num: int | None = None,
    ref_den: int | None = None,
    backend: str | Backend | None = None,
    batch_size: int | None = None,
    debug: bool = False,
    *,
    device: str | Backend | None = None,
    select: Select = "argmin",
    frame_map: FrameMap | Path | str | None = None,
    weights: str = "",
    prune: bool = True,
) -> Node:
    """For every ref frame the clip frame that shows the same moment, or the frame of ``out`` with that number.

    ``clip`` and ``ref``: nodes of one size and format, of any with ``precision`` 4. Returns a node of ref's length, rate and
    frame durations in the size and format of ``out`` (any, of clip's length; default the clip). Clip frames within ``tr`` of
    the expected one are compared; clip frame n is expected at ref frame n, or with ``clip_num`` / ``clip_den`` and ``ref_num``
    / ``ref_den``, frames per second, the frame of the same time. The clip's ends cut the window; beyond them its end frame is
    expected. ``precision``: 1 PlaneStats, 2 Butteraugli, 3 TOPIQ (``weights``, ``batch_size``), 4 the signatures of
    ``vsalign sync``, which find offset, rate and cuts over the whole films without a window. ``select``: "argmin", each frame
    alone, ties to the nearest of the expected frame, forward first; "path", the best path over the film. ``frame_map``: a
    :class:`FrameMap` or its CSV, taken as it is by precision 4, as the expected frames by the others. ``prune``: don't look at
    candidates that can't win. ``fallback`` (format and size of the output, ref's length or more) shows where no cost is below
    ``thresh`` (None: a usual one of the metric) or nothing matches. ``debug`` writes the decision on the frames.

    Frame props: ``_VsalignClipFrame``, ``_VsalignOffsetFrames`` (from the expected frame), ``_VsalignOffsetMs``,
    ``_VsalignCost``, ``_VsalignConfidence`` (0 to 1), ``_VsalignFallback`` (0 or 1). With precision 4 or "path" the films are
    read from end to end once, when the first frame is asked for. Raises TypeError or ValueError at the call for every argument
    that can't be.
    """
    settings = TemporalSettings(plain_precision(precision), tr, thresh, batch_size, debug, select, weights, prune)
    nodes = Nodes(clip, ref, clip if out is None else out, fallback)
    check_nodes(nodes, settings.precision, debug, vs.VideoNode)
    rates = rates_of(_named(clip_num, clip_den, ref_num, ref_den), clip, ref, settings.precision == TemporalPrecision.SIGNATURE)
    chosen = choose_backend(backend, device)
    told = None if frame_map is None else read_frame_map(frame_map, ref.num_frames, clip.num_frames)
    expected = expected_frames(ref.num_frames, clip.num_frames, rates.ratio)
    base = ref.std.BlankClip(format=vs.GRAY8, width=1, height=1, keep=True).std.CopyFrameProps(ref)
    if settings.precision == TemporalPrecision.SIGNATURE:
        name = "signatures"
        answers = _by_signature(base, nodes, settings, None if clip_num is None else rates, expected, told)
    else:
        held = _held(clip, 2 * min(tr, clip.num_frames) + 1)
        nodes = Nodes(held, ref, held if out is None else out, fallback)
        network = _network(settings, backend, device) if settings.precision == TemporalPrecision.TOPIQ else None
        centres = expected if told is None else _where_told(told, expected)
        answers, name = _by_metric(base, nodes, settings, centres, chosen, network)
    shown = Shown(name, nodes, answers, expected, rates, USUAL_THRESH[name] if thresh is None else float(thresh), debug)
    blank = nodes.out.std.BlankClip(length=ref.num_frames, fpsnum=ref.fps_num, fpsden=ref.fps_den, keep=True)
    return blank.std.FrameEval(shown.node_of_frame, prop_src=answers.sources)


def _by_signature(
    base: Node, nodes: Nodes, settings: TemporalSettings, rates: Rates | None, expected: Ints, told: FrameMap | None
) -> Answers:
    if told is not None:
        return MapAnswers([base], expected, told)
    tiny = _tiny(base)
    solver = SignatureSolver(nodes.clip, nodes.ref, tiny, rates, max(_LEAST_RADIUS, settings.tr))
    return MapAnswers([base, Gate(tiny, solver.passes, solver.solve, [nodes.clip, nodes.ref]).node], expected, solver)


def _by_metric(
    base: Node, nodes: Nodes, settings: TemporalSettings, centres: Ints, backend: Backend | None, metric: Metric | None
) -> tuple[Answers, str]:
    num_clip = nodes.clip.num_frames
    tr = min(settings.tr, num_clip)

    def candidates(n: int, f: Any = None) -> list[int]:
        return window(int(centres[n]), tr, num_clip)

    at = Workplace(backend, vs.core.num_threads, partial(_held, frames=2 * tr + 1))
    rows = cost_rows(base, nodes, settings, candidates, at, metric)
    vs.register_on_destroy(partial(_forget, [weakref.ref(memory) for memory in rows.memories], metric is not None))
    if settings.select == "argmin":
        return RowAnswers(rows.node), rows.name
    solver = PathSolver(centres, num_clip, tr)
    gate = Gate(_tiny(base), [Pass("comparing frames", rows.node, solver.take)], solver.solve, [nodes.clip, nodes.ref])
    return MapAnswers([base, gate.node], centres, solver), rows.name


def _network(settings: TemporalSettings, backend: Any, device: Any) -> Metric:
    """TOPIQ, ready to run. Raises ValueError where its weights or the device are not there."""
    chosen = choose_device(backend, device)
    from vsalign.topiq import Topiq

    if chosen.type == "cpu":
        torch.set_num_threads(1)  # frames are worked on at the same time instead
    try:
        # A window of features is kept: 382 MB each at 1920x1080 in single precision.
        return Topiq(settings.weights, chosen, batch_size=settings.batch_size, half_storage=True)
    except InputError as error:
        raise ValueError(f"precision is 3 and weights is {settings.weights!r}: {error}") from None


def _where_told(told: FrameMap, otherwise: Ints) -> Ints:
    """The map's clip frames, where it has none those of its nearest matched row; where nothing matches, ``otherwise``."""
    shown = told.shown_frames()
    return np.where(shown >= 0, shown, otherwise)


def _held(node: Node, frames: int) -> Node:
    """A node of its own, whose cache may be set to hold a window of frames and what the threads are at."""
    held = node.std.CopyFrameProps(node)
    room = frames + _SPARE_FRAMES + 2 * vs.core.num_threads
    held.std.SetVideoCache(mode=1, fixedsize=False, maxsize=room, maxhistory=room)
    return held


def _tiny(base: Node) -> Node:
    return base.std.BlankClip(length=1, keep=True)


def _named(clip_num: Any, clip_den: Any, ref_num: Any, ref_den: Any) -> dict[str, object]:
    return {"clip_num": clip_num, "clip_den": clip_den, "ref_num": ref_num, "ref_den": ref_den}


def _forget(memories: Sequence[weakref.ref[FeatureRows]], with_network: bool) -> None:
    """The core goes, and with it what was remembered of its films."""
    for memory in memories:
        alive = memory()
        if alive is not None:
            alive.forget()
    if with_network:
        forget_networks()  # another core's filter loads them again
