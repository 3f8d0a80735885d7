"""Films whose every frame's moment is known, ``vsalign sync`` run on them as a user runs it, and what its answer is worth.

A film here is an array of yuv420p frames (n, h * 3 / 2, w) uint8. What a version of it shows is an array of source frame
numbers, one per frame of the version, and the milliseconds at which they are shown.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from film import luma_frames

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Frame = npt.NDArray[np.uint8]

#: Mean difference, in codes of 255, below which two source frames cannot be told apart.
TELLING = 0.15
#: A frame that is wrong counts as this many frames away at most; one that was said to have no counterpart counts in full.
FURTHEST = 60
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Look:
    """A constant misalignment and a mild wear: ``zoom`` about the centre, ``shift`` in pixels, ``gamma`` and ``gain`` of luma,
    ``blur`` (sigma, pixels), ``grain`` (sigma, codes, new in every frame) and x264's ``crf``."""

    name: str
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    gamma: float = 1.0
    gain: float = 1.0
    blur: float = 0.0
    grain: float = 0.0
    crf: int = 12


MASTER = Look("master")
LOOKS = (
    Look("regraded", zoom=1.02, shift=(2.6, -1.7), gamma=1.2, gain=0.96, crf=24),
    Look("soft", zoom=0.985, shift=(-1.8, 1.2), gamma=0.85, blur=0.9, grain=2.5, crf=24),
)


class Wearer:
    """Gives frames a look; deterministic by ``seed``, one per film."""

    def __init__(self, look: Look, size: tuple[int, int], seed: int) -> None:
        (h, w), self.look = size, look
        self._random = np.random.default_rng(seed)
        codes = (np.arange(256) - 16) / 219
        self._curve = np.clip(np.rint(16 + 219 * look.gain * np.clip(codes, 0, None) ** look.gamma), 0, 255).astype(np.uint8)
        self._grain = self._random.normal(0, look.grain, (h + 64, w + 64)).astype(np.float32) if look.grain else None
        self._height = h

    def __call__(self, frame: Frame) -> Frame:
        if self.look == MASTER:
            return frame
        h, w = self._height, frame.shape[1]
        out = np.empty_like(frame)
        luma = cv2.LUT(self._moved(frame[:h], 1.0), self._curve)
        if self.look.blur:
            luma = cv2.GaussianBlur(luma, (0, 0), self.look.blur)
        if self._grain is not None:
            y, x = self._random.integers(0, 64, 2)
            luma = np.clip(np.rint(luma + self._grain[y : y + h, x : x + w]), 0, 255)
        out[:h] = luma
        for old, new in zip(_chroma(frame, h), _chroma(out, h), strict=True):
            new[...] = self._moved(old, 0.5)
        return out

    def _moved(self, plane: Frame, scale: float) -> Frame:
        h, w = plane.shape
        zoom, (dx, dy) = self.look.zoom, self.look.shift
        matrix = np.array([[zoom, 0, (1 - zoom) * (w - 1) / 2 + dx * scale], [0, zoom, (1 - zoom) * (h - 1) / 2 + dy * scale]])
        return np.asarray(cv2.warpAffine(plane, matrix, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _chroma(frame: Frame, h: int) -> tuple[Frame, Frame]:
    """Views of both chroma planes (h/2, w/2) of a yuv420p frame whose rows lie one behind the other."""
    half = frame[h:].reshape(2, h // 2, frame.shape[1] // 2)
    return half[0], half[1]


class VideoFile:
    """x264 in Matroska, frame by frame, each with its own time; a context manager, complete only when left without error."""

    def __init__(self, path: Path, size: tuple[int, int], crf: int, preset: str = "veryfast", rate: int = 24) -> None:
        self._path, self._part = path, path.with_suffix(".part.mkv")
        self._container = av.open(str(self._part), "w")
        self._stream = self._container.add_stream("libx264", rate=rate)
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": str(crf), "preset": preset}
        self._stream.thread_count = 2
        self._stream.codec_context.time_base = Fraction(1, 1000)

    def __enter__(self) -> VideoFile:
        return self

    def write(self, frame: Frame, millisecond: int) -> None:
        picture = av.VideoFrame.from_ndarray(frame, format="yuv420p")
        picture.pts, picture.time_base = millisecond, Fraction(1, 1000)
        self._container.mux(self._stream.encode(picture))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self._container.mux(self._stream.encode())
        self._container.close()
        if kind is None:
            self._part.replace(self._path)


def shot_frames(folder: Path, shots: Iterable[tuple[str, int, int]], size: tuple[int, int]) -> Iterator[Frame]:
    """The frames [first, first + count) of each (file, first, count), scaled to ``size`` (h, w), one shot behind the other."""
    for name, first, count in shots:
        with av.open(str(folder / name)) as container:
            for frame in islice(container.decode(video=0), first, first + count):
                small = frame.reformat(width=size[1], height=size[0], format="yuv420p", interpolation="AREA")
                yield np.asarray(small.to_ndarray(), np.uint8)


def load_shots(folder: Path, shots: Iterable[tuple[str, int, int]], size: tuple[int, int]) -> Frame:
    """All of them in memory (n, h * 3 / 2, w)."""
    return np.stack(list(shot_frames(folder, shots, size)))


def steps(film: Frame) -> Doubles:
    """Mean difference of each frame's luma from the next one's (n - 1,), in codes of 255."""
    height = film.shape[1] * 2 // 3
    return np.array([cv2.absdiff(a[:height], b[:height]).mean() for a, b in pairwise(film)])


def steps_of(path: Path) -> Doubles:
    """The same of a file's first video stream, at its own size."""
    return np.array([255 * float(np.abs(a - b).mean()) for a, b in pairwise(luma_frames(path))])


def told(step: Doubles) -> Ints:
    """Source frame -> group (n,): frames of one group cannot be told apart, each from the next."""
    return np.concatenate([[0], np.cumsum(step >= TELLING)])


@dataclass(frozen=True)
class Answer:
    """``match`` (N,) clip frame per ref frame, -1 for none; all -1 where ``error`` says what went wrong."""

    match: Ints
    seconds: float
    error: str = ""


def run_sync(clip: Path | str, ref: Path | str, num_ref: int, folder: Path, tr: int = 20) -> Answer:
    """``vsalign sync`` in a process of its own; its map and the seconds from start to end."""
    # A folder of its own: several runs may share the made films.
    place = Path(tempfile.mkdtemp(dir=folder))
    out = place / "map.csv"
    command = [sys.executable, "-m", "orchestrator.cli", "sync", str(Path(clip).resolve()), str(Path(ref).resolve())]
    command += ["-o", str(out.resolve()), "--tr", str(tr), "--pool", "local", "-q", "--overwrite"]
    started = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, env=os.environ)
        seconds = time.perf_counter() - started
        match = np.full(num_ref, -1, np.int64)
        if done.returncode:
            return Answer(match, seconds, " ".join(done.stderr.split())[-160:] or f"exit status {done.returncode}")
        with out.open(newline="") as lines:
            for row in csv.DictReader(lines):
                match[int(row["ref_frame"])] = int(row["clip_frame"] or -1)
    finally:
        shutil.rmtree(place)
    return Answer(match, seconds)


@dataclass(frozen=True)
class Score:
    """Over the ref frames whose moment the clip shows, ``counted`` of them: share matched ``exact``, mean distance ``off`` in
    source frames, the ref frames that are ``wrong``. Over the others: share that is ``near``, said to have no counterpart or
    given the last frame before or the first after that the clip shows (or one that cannot be told from these)."""

    exact: float
    off: float
    counted: int
    near: float
    wrong: Ints


def score(clip_shows: Ints, ref_shows: Ints, group: Ints, match: Ints) -> Score:
    """What a map is worth, ``clip_shows`` (M,) and ``ref_shows`` (N,) being source frames, ``group`` that of ``told``."""
    shown = np.where(match >= 0, clip_shows[np.clip(match, 0, len(clip_shows) - 1)], -1)
    present = np.isin(ref_shows, clip_shows)
    away = np.where(shown >= 0, np.minimum(np.abs(shown - ref_shows), FURTHEST), FURTHEST)
    right = (shown >= 0) & (group[shown] == group[ref_shows])
    there = np.unique(clip_shows)
    at = np.searchsorted(there, ref_shows)
    before, after = (group[there[np.clip(at + k, 0, len(there) - 1)]] for k in (-1, 0))
    near = (shown < 0) | (group[shown] == before) | (group[shown] == after)
    return Score(
        float(right[present].mean()) if present.any() else 0.0,
        float(away[present].mean()) if present.any() else float(FURTHEST),
        int(present.sum()),
        float(near[~present].mean()) if not present.all() else 1.0,
        np.flatnonzero(present & ~right),
    )


def exact_alone(path: Path, film: Frame, clip_shows: Ints, ref_shows: Ints, group: Ints, look: Look) -> float:
    """How exact single frames are when all but the moment is known: every source frame that both show, given the clip's look
    without its grain, takes the most alike of the seven pictures of the clip ``path`` about its own, at full size."""
    size = (film.shape[1] * 2 // 3, film.shape[2])
    inside, clean = (slice(10, size[0] - 10), slice(10, size[1] - 10)), Wearer(replace(look, grain=0.0), size, 1)
    there, first = np.unique(clip_shows, return_index=True)
    pictures = [np.rint(luma[inside] * 255).astype(np.uint8) for luma in luma_frames(path)]
    right = []
    for source in np.intersect1d(ref_shows, there):
        wanted, at = clean(film[source])[: size[0]][inside], int(np.searchsorted(there, source))
        about = slice(max(0, at - 3), at + 4)
        unlike = [cv2.absdiff(pictures[k], wanted).mean() for k in first[about]]
        right.append(group[there[about][int(np.argmin(unlike))]] == group[source])
    return float(np.mean(right))


def ranges(frames: Ints) -> str:
    """Rising frame numbers as text, runs as first-last."""
    if not len(frames):
        return "none"
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
