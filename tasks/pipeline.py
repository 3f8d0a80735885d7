"""Steps of a chunk side by side: each step of decode -> align -> encode runs in a thread around a small queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable

_END = object()


def prefetch[T](items: Iterable[T], depth: int) -> Generator[T]:
    """Yield ``items`` in order while a thread works up to ``depth`` items ahead; its exception is raised here.

    Memory is bounded by ``depth``. When the consumer stops early the thread ends at its next item.
    """
    ready: queue.Queue[object] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    failure: list[BaseException] = []

    def put(item: object) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

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
        while (item := ready.get()) is not _END:
            yield item  # type: ignore[misc]
        if failure:
            raise failure[0]
    finally:
        stopped.set()
        thread.join()
