"""A WorkerPool of one worker in this process: no Ray, the same code."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping

from orchestrator.nodes import Census, Slot
from orchestrator.state import AttemptFailed, AttemptSucceeded, Cause, Event, cause_of
from tasks.run import perform
from tasks.work import Attempt, Work

_SLOT = Slot(0, "", "cpu")


class LocalPool:
    """One daemon thread that does one unit at a time; ``torch_threads`` 0 for work that does not use torch."""

    def __init__(self, torch_threads: int = 1) -> None:
        self._torch_threads = torch_threads
        self._todo: queue.Queue[tuple[Work, Attempt] | None] = queue.Queue()
        self._heard: queue.Queue[Event] = queue.Queue()
        self._item, self._frames_done = "", 0
        self._killed = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="local-worker")
        self._thread.start()

    def slots(self) -> list[Slot]:
        return [] if self._item else [_SLOT]

    def submit(self, slot: Slot, work: Work, attempt: Attempt) -> None:
        self._item, self._frames_done = work.name, 0
        self._todo.put((work, attempt))

    def wait(self, timeout_s: float) -> list[Event]:
        try:
            event = self._heard.get(timeout=timeout_s)
        except queue.Empty:
            return []
        self._item, self._frames_done = "", 0
        return [event]

    def progress(self) -> Mapping[str, int]:
        return {self._item: self._frames_done} if self._item else {}

    def want(self, num_units: int) -> None:
        """There is one worker, whatever is wanted."""

    def stop(self, item: str, cause: Cause, why: str) -> None:
        """A thread can't be killed: what hangs here hangs until the user stops the run."""

    def shun(self, node: str) -> None:
        """There is no other node."""

    def census(self) -> Census:
        return Census(busy=int(bool(self._item)), idle=int(not self._item), wanted=1)

    def close(self, kill: bool = False) -> None:
        self._killed |= kill
        self._todo.put(None)
        # A thread can't be killed; left alone it ends with the process.
        if not self._killed:
            self._thread.join()

    def _count(self) -> None:
        self._frames_done += 1

    def _work(self) -> None:
        if self._torch_threads:
            import torch

            torch.set_num_threads(self._torch_threads)
        while (task := self._todo.get()) is not None:
            work, attempt = task
            try:
                self._heard.put(AttemptSucceeded(work.name, attempt.number, perform(work, attempt, self._count)))
            except BaseException as error:  # whatever ends the unit: nobody would hear of it if the thread died
                message = f"{type(error).__name__}: {error}"
                self._heard.put(AttemptFailed(work.name, attempt.number, cause_of(error), message, "", self._frames_done))
