"""How a chunk is worked with less memory, and never with another byte: levels to go down where memory does not suffice."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Thrift:
    """``queue_frames``: frames that may wait between two steps. ``in_turn``: observing and aligning never hold their working
    memory at the same time, and what waits lies in the host's. ``gives_back``: freed memory goes back to the system at once.
    ``tile_rows``: rows of a plane that are resampled at once, 0 for all."""

    queue_frames: int = 3
    in_turn: bool = False
    gives_back: bool = False
    tile_rows: int = 0


#: glibc's number for: blocks from this size on are asked of the system one by one, and go back to it when they are freed.
_M_MMAP_THRESHOLD, _LARGE_BYTES = -3, 1 << 18

#: From the fastest to the one that needs the least memory.
LEVELS = (
    Thrift(),
    Thrift(queue_frames=1, in_turn=True, gives_back=True),
    Thrift(queue_frames=1, in_turn=True, gives_back=True, tile_rows=128),
)
MOST_THRIFT = len(LEVELS) - 1


@dataclass(frozen=True, slots=True)
class Turns:
    """Who may hold working memory: everybody, or one step at a time."""

    thrift: Thrift
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Where steps take turns: wait for ours, and give back what the GPU lent us in it."""
        if not self.thrift.in_turn:
            yield
            return
        with self._lock:
            try:
                yield
            finally:
                if self.thrift.gives_back:
                    empty_gpu_cache()


def give_back_at_once() -> None:
    """From now on this process keeps no freed memory for later, where the C library lets us choose; that costs it time."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.malloc_trim(0)
    empty_gpu_cache()


def empty_gpu_cache() -> None:
    """Let go of GPU memory that torch keeps for later."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
