"""libavfilter's field filters with random access: any frame, from anywhere, is what one run over the whole film gives."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.video.reformatter import Interpolation, VideoReformatter

from tasks.formats import is_planar_name, planar_format
from vsalign.errors import InputError

#: A decoded frame by its number.
Frames = Callable[[int], av.VideoFrame]

#: So many frames ahead it is cheaper to filter on than to begin anew.
_SHORT_GAP = 2


def bwdif(top_field_first: bool) -> tuple[str, str]:
    """Name and options of the filter that makes a frame of each frame's first field, whatever the frames' flags say."""
    return "bwdif", f"mode=send_frame:parity={'tff' if top_field_first else 'bff'}:deint=all"


def fieldmatch(top_field_first: bool) -> tuple[str, str]:
    """Name and options of the filter that gives each frame's first field its other half, from a neighbour where that fits
    better; frames that comb all the same are flagged interlaced."""
    return "fieldmatch", f"order={'tff' if top_field_first else 'bff'}:combmatch=full"


class Filtered:
    """A filter of which output frame n depends on input frames n - 1, n and n + 1, on top of ``frames``.

    One graph runs on while numbers ascend. It is begun one frame early elsewhere, since at its own beginning and end the filter
    knows that a neighbour is missing.
    """

    def __init__(self, frames: Frames, num_frames: int, filter: tuple[str, str]) -> None:
        self._frames, self._num_frames, self._filter = frames, num_frames, filter
        self._coming: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._next_frame: int | None = None

    def frame(self, number: int) -> av.VideoFrame:
        """The filtered frame; raises what ``frames`` raises, and InputError for a pixel format that the filter doesn't take."""
        ahead = None if self._next_frame is None else number - self._next_frame
        if ahead is None or not 0 <= ahead <= _SHORT_GAP:
            self._coming = self._run(max(0, number - 1))
        self._next_frame = None  # what fails half way begins anew
        frame = next(frame for n, frame in self._coming if n == number)
        self._next_frame = number + 1
        return frame

    def _run(self, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """(number, frame) from ``first`` on, which alone may not be what the whole run gives."""
        frame = self._frames(first)
        graph = filter_graph(self._filter, frame.width, frame.height, frame.format.name)
        number = first
        for n in range(first, self._num_frames):
            graph.vpush(self._frames(n) if n > first else frame)
            for out in _pulled(graph):
                yield number, out
                number += 1
        graph.vpush(None)
        for out in _pulled(graph):
            yield number, out
            number += 1


class Recent[T]:
    """What ``made`` gives for a number, the last few kept."""

    def __init__(self, made: Callable[[int], T], size: int) -> None:
        self._made, self._size = made, size
        self._kept: OrderedDict[int, T] = OrderedDict()

    def get(self, number: int) -> T:
        if number not in self._kept:
            found = self._made(number)
            while len(self._kept) >= self._size:
                self._kept.popitem(last=False)
            self._kept[number] = found
        self._kept.move_to_end(number)
        return self._kept[number]

    def clear(self) -> None:
        self._kept.clear()


def filter_graph(filter: tuple[str, str], width: int, height: int, pixel_format: str) -> Graph:
    """A configured graph of one filter. Raises InputError for pictures that the filter doesn't take as they are."""
    name, options = filter
    graph = Graph()
    graph.threads = 1
    try:
        source = graph.add_buffer(width=width, height=height, format=av.VideoFormat(pixel_format), time_base=Fraction(1, 25))
        nodes = [graph.add(name, options), graph.add("buffersink")]
        for before, after in zip((source, *nodes), nodes, strict=False):
            before.link_to(after)
        graph.configure()
    except (av.FFmpegError, ValueError):
        raise InputError(f"{name} takes no pictures of {width}x{height} {pixel_format}") from None
    return graph


@cache
def takes(filter: tuple[str, str], pixel_format: str) -> bool:
    """True where the filter works on this very format: libavfilter would silently convert any other, to 8 bits if need be."""
    try:
        graph = filter_graph(filter, 64, 64, pixel_format)
        for n in range(3):
            frame = av.VideoFrame(64, 64, pixel_format)
            frame.pts, frame.time_base = n, Fraction(1, 25)
            graph.vpush(frame)
        graph.vpush(None)
        return {out.format.name for out in _pulled(graph)} == {pixel_format}
    except (InputError, av.FFmpegError, ValueError):
        return False


def planar_name(pixel_format: str) -> str:
    """The format with a plane for each component that holds all samples of ``pixel_format``: the filters want it so."""
    return pixel_format if is_planar_name(pixel_format) else planar_format(pixel_format).name


def planar(frame: av.VideoFrame, reformatter: VideoReformatter) -> av.VideoFrame:
    """The frame in :func:`planar_name` of its format, every sample unchanged."""
    if is_planar_name(frame.format.name):
        return frame
    exact = Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    return reformatter.reformat(frame, format=planar_name(frame.format.name), interpolation=exact, threads=1)


def samples(frame: av.VideoFrame, plane_number: int) -> npt.NDArray[np.unsignedinteger]:
    """A plane (h, w) of a planar frame as it lies in memory, not copied."""
    plane = frame.planes[plane_number]
    dtype: np.dtype[np.unsignedinteger] = np.dtype("<u2" if planar_format(frame.format.name).bit_depth > 8 else np.uint8)
    rows = np.frombuffer(plane, dtype).reshape(plane.height, abs(plane.line_size) // dtype.itemsize)
    return (rows[::-1] if plane.line_size < 0 else rows)[:, : plane.width]


def _pulled(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
