"""VapourSynth nodes with known samples, and estimators that cost nothing, for tests of the filters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import vapoursynth as vs
from torch import Tensor

from vsalign.warp import Warp, scale_positions

core = vs.core
Planes = Sequence[npt.NDArray[Any]]


def node_of(frames: Sequence[Planes], format: int, props: dict[str, Any] | None = None, fps: int = 24) -> Any:
    """A node with the given planes, frame by frame."""
    height, width = frames[0][0].shape
    blank = core.std.BlankClip(format=format, width=width, height=height, length=len(frames), fpsnum=fps, fpsden=1, keep=True)

    def fill(n: int, f: Any) -> Any:
        out = f.copy()
        for index, plane in enumerate(frames[n]):
            np.copyto(np.asarray(out[index]), plane)
        out.props.update(props or {})
        return out

    return core.std.ModifyFrame(blank, blank, fill)


def noise_node(format: int, num_frames: int = 3, width: int = 64, height: int = 48, seed: int = 0, **props: Any) -> Any:
    """Every sample random, over the whole of its range and for floats far beyond."""
    random = np.random.default_rng(seed)
    with core.std.BlankClip(format=format, width=width, height=height, length=1).get_frame(0) as f:
        shapes = [(np.asarray(f[i]).shape, np.asarray(f[i]).dtype) for i in range(f.format.num_planes)]
        top = 1 << f.format.bits_per_sample
    frames = [
        [
            random.normal(0.5, 2, shape).astype(kind) if kind.kind == "f" else random.integers(0, top, shape).astype(kind)
            for shape, kind in shapes
        ]
        for _ in range(num_frames)
    ]
    return node_of(frames, format, props)


def numbered(num_frames: int, height: int = 8, width: int = 16) -> Any:
    """A film whose frames tell their number, see ``number_in``."""
    return node_of([[np.full((height, width), n / 1024, np.float32)] for n in range(num_frames)], vs.GRAYS)


def number_in(picture: Tensor | npt.NDArray[Any]) -> int:
    """The number of the frame of a ``numbered`` film that ``picture`` shows."""
    return round(float(picture.mean()) * 1024)


def planes_of(frame: Any) -> list[npt.NDArray[Any]]:
    """Copies of a frame's planes."""
    return [np.array(frame[i]) for i in range(frame.format.num_planes)]


def same_planes(a: Any, b: Any) -> bool:
    """Whether two frames have the very same samples."""
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(planes_of(a), planes_of(b), strict=True))


@dataclass(eq=False)
class Seen:
    """A fake observation: what the estimator was shown."""

    clip: Tensor
    ref: Tensor
    mask: Tensor | None


def plain(window: Sequence[Seen], at: int = 0) -> Warp:
    """A fake settling: nothing but the change of size."""
    positions = scale_positions(tuple(window[at].clip.shape[-2:]), tuple(window[at].ref.shape[-2:]))  # type: ignore[arg-type]
    return Warp(positions, torch.ones_like(positions[:, :1]))


def moved(dx: float, dy: float) -> Callable[..., Warp]:
    """A fake settling: the change of size, then a shift in clip pixels."""

    def settle(window: Sequence[Seen], at: int = 0) -> Warp:
        warp = plain(window, at)
        return Warp(warp.clip_from_ref + torch.tensor([dx, dy]).view(1, 2, 1, 1), warp.confidence)

    return settle


@contextmanager
def num_threads(count: int) -> Iterator[None]:
    """The core at work with ``count`` threads."""
    before = core.num_threads
    core.num_threads = count
    try:
        yield
    finally:
        core.num_threads = before
