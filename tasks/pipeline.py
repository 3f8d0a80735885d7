"""Steps of a chunk side by side: each step of decode -> align -> encode runs in a thread around a small queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from time import perf_counter

_END = object()


@dataclass(slots=True)
class Waits:
    """Seconds that both sides of a queue have waited: its producer for room, its consumer for items."""

    for_room: float = 0.0
    for_items: float = 0.0


def prefetch[T](items: Iterable[T], depth: int, waits: Waits | None = None) -> Generator[T]:
    """Yield ``items`` in order while a thread works up to ``depth`` items ahead; its exception is raised here.

    Memory is bounded by ``depth``. When the consumer stops early the thread ends at its next item. ``waits`` is added to.
    """
    waits = waits or Waits()
    ready: queue.Queue[object] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    failure: list[BaseException] = []

    def put(item: object) -> None:
        started = perf_counter()
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                break
            except queue.Full:
                continue
        waits.for_room += perf_counter() - started

    def take() -> object:
        started = perf_counter()
        item = ready.get()
        waits.for_items += perf_counter() - started
        return item

    def produce() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
        except BaseException as error:
            failure.append(error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
            put(_END)

    # A daemon, so that a killed consumer never keeps the process alive.
    thread = threading.Thread(target=produce, daemon=True, name="prefetch")
    thread.start()
    try:
        while (item := take()) is not _END:
            yield item  # type: ignore[misc]
        if failure:
            raise failure[0]
    finally:
        stopped.set()
        thread.join()
