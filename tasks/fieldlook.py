"""A source's pictures -> are they progressive, interlaced or telecined? By the pictures alone: flags lie both ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from tasks.decoder import Decoder
from tasks.fieldfilter import planar, samples
from tasks.fields import Fields, Scan
from tasks.messages import MediaInfo, Probe
from tasks.seekplan import FILE_START, SeekPlan
from vsalign.combing import RunVerdict, Step, judge_film, judge_run, look_at_step

#: Runs of so many consecutive frames are looked at, until so many of them move, at most so many in all.
RUN_FRAMES, _MOVING_RUNS, _MOST_RUNS = 15, 6, 12
#: Shorter ones tell nothing.
_FEWEST_FRAMES = 5
#: Multiples of it modulo 1 spread evenly, however many there are: so do the runs looked at first.
_GOLDEN = (5**0.5 - 1) / 2
#: The field order of "tt" and the like is the second letter's: what is shown first.
_BOTTOM_FIRST = "b"
_REFORMATTER = VideoReformatter()


@dataclass(frozen=True, slots=True)
class Run:
    """Frames from ``first`` on, to be decoded from key frame ``key`` (a position in the seek plan)."""

    key: int
    first: int


def look_at_fields(found: Probe) -> Fields:
    """What the fields of ``found``, as probed, are; decodes some 70 frames. Frames that don't come are passed over."""
    plan = SeekPlan.of(found.index, found.info.codec)
    # One thread: where several of them log a fault, closing the decoder may wait for itself.
    decoder = Decoder(found, plan, 1, {})
    runs: list[RunVerdict] = []
    try:
        for run in runs_of(plan):
            runs.append(judge_run(_steps(decoder, run, found)))
            if sum(verdict.kind != "still" for verdict in runs) == _MOVING_RUNS:
                break
    finally:
        decoder.close()
    film = judge_film(runs)
    order = film.order if film.kind != "progressive" else 0.0
    top_first = order > 0 if order else not found.info.field_order.endswith(_BOTTOM_FIRST)
    scan: Scan = "unknown" if film.kind == "still" else film.kind
    return Fields(scan, top_first, combed_samples=film.combed, moving_samples=film.moving)


def runs_of(plan: SeekPlan) -> list[Run]:
    """Runs all over the film in the order in which to look at them: from key frames on, since these cost nothing but
    themselves, and behind one another where a film has too few of these."""
    length = len(plan.index)
    order = np.argsort(plan.key_frames)
    keys = [(int(key), int(plan.key_frames[key])) for key in order] or [(FILE_START, 0)]
    stops = [first for _, first in keys[1:]] + [length]
    chosen: list[Run] = []
    for depth in range(-(-length // RUN_FRAMES)):
        every = [Run(key, first + depth * RUN_FRAMES) for key, first in keys]
        there = [run for run, stop in zip(every, stops, strict=True) if run.first < stop or depth == 0]
        chosen += _spread(_apart(there, length), _MOST_RUNS - len(chosen))
        if len(chosen) == _MOST_RUNS:
            break
    chosen.sort(key=lambda run: run.first)
    return [chosen[n] for n in sorted(range(len(chosen)), key=lambda n: n * _GOLDEN % 1)]


def _apart(runs: list[Run], length: int) -> list[Run]:
    """Those that don't overlap and that have frames enough."""
    kept: list[Run] = []
    for run in runs:
        if run.first <= length - _FEWEST_FRAMES and (not kept or run.first >= kept[-1].first + RUN_FRAMES):
            kept.append(run)
    return kept


def _spread(runs: list[Run], most: int) -> list[Run]:
    """Of many runs, ``most`` at even distances."""
    return runs if len(runs) <= most else [runs[(2 * n + 1) * len(runs) // (2 * most)] for n in range(most)]


def _steps(decoder: Decoder, run: Run, found: Probe) -> list[Step | None]:
    lumas = dict(_lumas(decoder, run, found.info, len(found.index)))
    white = float(2**found.info.bit_depth - 1)
    numbers = range(run.first, min(run.first + RUN_FRAMES, len(found.index)))
    return [look_at_step(lumas[a], lumas[b], white) if a in lumas and b in lumas else None for a, b in pairwise(numbers)]


def _lumas(decoder: Decoder, run: Run, info: MediaInfo, length: int) -> Iterator[tuple[int, npt.NDArray[np.generic]]]:
    """(frame number, luma, green of RGB) of those frames of a run that come in the stream's size."""
    going_on = decoder.start == run.key and decoder.next_frame is not None and decoder.next_frame <= run.first
    if not going_on and not decoder.begin(run.key):
        return
    for number in range(run.first, min(run.first + RUN_FRAMES, length)):
        frame = decoder.run_to(number)
        if frame is not None and (frame.width, frame.height) == (info.width, info.height):
            yield number, samples(planar(frame, _REFORMATTER), 0).copy()
