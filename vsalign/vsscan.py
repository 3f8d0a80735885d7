"""Work over whole nodes that must be finished before the first frame can be answered, as a node that others wait for.

A callback of the core must not ask the core for frames and wait: with one thread there would be nobody to make them. So the
frames of the whole film are the declared inputs of callbacks, too: in blocks, each of which waits for the one before, so that
few frames, by number and by bytes, are under way at a time. Nothing is requested before somebody asks for the gate's frame.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

from vsalign.vsframe import Frame

#: vapoursynth.VideoNode, read by its attributes.
Node = Any
#: Called with the frame number and the frame of a pass, each once if nothing fails.
Take = Callable[[int, Frame], None]

_LEAST_FRAMES, _MOST_FRAMES = 4, 64
#: Of a film's frames in a block, if that is more than the least.
_BLOCK_BYTES = 64 << 20
#: A scan that lasts longer tells how far it is, so often.
_TELL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Pass:
    """All frames of ``node``, in ascending blocks; ``title`` says in messages what is done to them."""

    title: str
    node: Node
    take: Take


class Gate:
    """``node``, tiny and of one frame, comes when ``passes`` are through and ``finish`` has been called, once for all frames.

    ``films``: the nodes that the passes read; the larger their frames the fewer are asked for at once.

    What fails fails the frame that is asked for, and is tried again with the next; blocks that are done stay done.
    """

    def __init__(self, blank: Node, passes: Sequence[Pass], finish: Callable[[], None], films: Sequence[Node]) -> None:
        self._block_frames = _frames_at_once(films)
        self._blank, self._finish = blank, finish
        self._passes: Sequence[Pass] = passes
        self._done: set[tuple[int, int]] = set()
        self._finished = False
        self._end: Node | None = None
        self._lock = Lock()
        self._began = self._told = 0.0
        self.node = blank.std.FrameEval(self._gate)

    def _gate(self, n: int) -> Node:
        with self._lock:
            if self._finished:
                return self._blank
            if self._end is None:
                self._end = self._chain()
            return self._end

    def _chain(self) -> Node:
        self._began = self._told = time.monotonic()
        last = self._blank
        for number, one in enumerate(self._passes):
            for start in range(0, one.node.num_frames, self._block_frames):
                last = self._blank.std.FrameEval(partial(self._block, number, start), prop_src=[last])
        return self._blank.std.ModifyFrame([self._blank, last], self._end_of_chain)

    def _block(self, number: int, start: int, n: int, f: Frame) -> Node:
        if (number, start) in self._done or self._finished:
            return self._blank
        node = self._passes[number].node
        inputs = [self._blank, *(node[i] for i in range(start, min(start + self._block_frames, node.num_frames)))]
        return self._blank.std.ModifyFrame(inputs, partial(self._take, number, start))

    def _take(self, number: int, start: int, n: int, f: Sequence[Frame]) -> Frame:
        one = self._passes[number]
        for i, frame in enumerate(f[1:], start):
            one.take(i, frame)
        self._done.add((number, start))
        self._tell(one, start + len(f) - 1)
        return f[0]

    def _end_of_chain(self, n: int, f: Sequence[Frame]) -> Frame:
        with self._lock:
            if not self._finished:
                self._finish()
                # The chain's nodes go; the films' stay with the passes' owner.
                self._finished, self._end, self._passes = True, None, ()
        return f[0]

    def _tell(self, one: Pass, done: int) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_SECONDS:
            self._told = now
            seconds = now - self._began
            print(f"vsalign: {one.title}, frame {done} of {one.node.num_frames}, {seconds:.0f} s", file=sys.stderr, flush=True)


def _frames_at_once(films: Sequence[Node]) -> int:
    most_bytes = max(map(_frame_bytes, films))
    return max(_LEAST_FRAMES, min(_MOST_FRAMES, _BLOCK_BYTES // most_bytes))


def _frame_bytes(film: Node) -> int:
    shape, samples = film.format, film.width * film.height
    chroma = (shape.num_planes - 1) * (samples >> (shape.subsampling_w + shape.subsampling_h))
    return int((samples + chroma) * shape.bytes_per_sample)
