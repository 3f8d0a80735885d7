"""What a chunk decodes: the pairs that its warps are settled from, and the substitutes of frames without counterpart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tasks.messages import ReadSettings, Role
from tasks.reading import Readers
from tasks.store import JobStore
from tasks.work import RenderWork
from vsalign.picture import Picture, black_picture, luma
from vsalign.planes import warp_picture

#: Between black and white of the mask's own range.
_WHITE_ABOVE = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    """``num_frames`` output frames that look the same: the clip frame aligned to ``ref_frame``, or a substitute."""

    ref_frame: int
    matched: bool
    num_frames: int


@dataclass(frozen=True, slots=True)
class Pair:
    """A matched pair as decoded. ``ref`` is None where nothing is warped; ``mask`` (1,1,h,w) float32 is 1 where neither picture
    is to be trusted."""

    ref_frame: int
    clip: Picture
    ref: Picture | None
    mask: Tensor | None


def runs_of(work: RenderWork) -> list[Run]:
    """The chunk's output frames in order, equal neighbours as one run."""
    rows = zip(work.aligned_to, work.clip_frames, strict=True)
    return [Run(ref, clip >= 0, sum(1 for _ in same)) for (ref, clip), same in itertools.groupby(rows)]


def pairs_of(work: RenderWork, store: JobStore, readers: Readers) -> Iterator[Pair]:
    """``work.pairs`` in order; what is read is closed with ``readers``."""
    ref_frames = [ref for ref, _ in work.pairs]
    clips = _pictures(store, readers, "clip", [clip for _, clip in work.pairs], work.read)
    refs: Iterator[Picture | None] = itertools.repeat(None)
    masks: Iterator[Tensor | None] = itertools.repeat(None)
    if work.align.warp:
        refs = _pictures(store, readers, "ref", ref_frames, work.read)
        masks = _masks(store, readers, ref_frames, work.read) if work.masked else masks
    return (Pair(*parts) for parts in zip(ref_frames, clips, refs, masks, strict=False))


def substitutes_of(work: RenderWork, store: JobStore, readers: Readers) -> Iterator[Picture]:
    """One picture for each unmatched run: the ref's or the fallback's own frame of that number, or black."""
    missing = [run.ref_frame for run in runs_of(work) if not run.matched]
    if not missing:
        return iter(())
    width, height = work.video.width, work.video.height
    if work.align.unmatched in {"black", "hold"}:  # "hold" leaves a frame here only when the whole film has no match to hold
        template = next(_pictures(store, readers, "clip", [0], work.read))
        return itertools.repeat(black_picture(template, width, height), len(missing))
    role: Role = "fallback" if work.align.unmatched == "fallback" else "ref"
    return (warp_picture(picture, None, width, height) for picture in _pictures(store, readers, role, missing, work.read))


def _pictures(store: JobStore, readers: Readers, role: Role, wanted: list[int], read: ReadSettings) -> Iterator[Picture]:
    if not wanted:
        return iter(())
    _, reader = readers.open(store, role, read)
    return (picture for _, picture in reader.pictures(wanted))


def _masks(store: JobStore, readers: Readers, ref_frames: list[int], read: ReadSettings) -> Iterator[Tensor]:
    """The mask of every ref frame; a mask that is shorter than ref goes on with its last frame."""
    probe, reader = readers.open(store, "mask", read)
    last = len(probe.index) - 1
    known, mask = -1, torch.empty(0)
    for frame, picture in reader.pictures(min(frame, last) for frame in ref_frames):
        if frame != known:
            known, mask = frame, torch.from_numpy((luma(picture) > _WHITE_ABOVE).astype(np.float32))[None, None]
        yield mask
