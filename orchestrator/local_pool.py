"""A WorkerPool of one worker in this process: no Ray, the same code."""

from __future__ import annotations

import queue
import threading

from orchestrator.state import AttemptFailed, AttemptSucceeded, Cause, Event
from tasks.run import perform
from tasks.work import Work


class LocalPool:
    """One daemon thread that does one unit at a time."""

    def __init__(self, torch_threads: int = 1) -> None:
        self._torch_threads = torch_threads
        self._todo: queue.Queue[tuple[Work, int] | None] = queue.Queue()
        self._heard: queue.Queue[Event] = queue.Queue()
        self._frames_done = 0
        self._busy = self._killed = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="local-worker")
        self._thread.start()

    def free(self) -> int:
        return 0 if self._busy else 1

    def submit(self, work: Work, attempt: int) -> None:
        self._busy, self._frames_done = True, 0
        self._todo.put((work, attempt))

    def wait(self, timeout_s: float) -> list[Event]:
        try:
            event = self._heard.get(timeout=timeout_s)
        except queue.Empty:
            return []
        self._busy, self._frames_done = False, 0
        return [event]

    def frames_done(self) -> int:
        return self._frames_done

    def close(self, kill: bool = False) -> None:
        self._killed |= kill
        self._todo.put(None)
        # A thread can't be killed; left alone it ends with the process.
        if not self._killed:
            self._thread.join()

    def _count(self) -> None:
        self._frames_done += 1

    def _work(self) -> None:
        import torch

        torch.set_num_threads(self._torch_threads)
        while (task := self._todo.get()) is not None:
            work, attempt = task
            try:
                self._heard.put(AttemptSucceeded(work.name, attempt, perform(work, attempt, self._count)))
            except Exception as error:
                self._heard.put(AttemptFailed(work.name, attempt, Cause.CODE, f"{type(error).__name__}: {error}"))
