"""The log of one attempt: where it ran, how far it came, and the traceback if it failed. For people; it never fails a unit."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from types import TracebackType

from tasks.errors import StorageError
from tasks.progress import OnFrame
from tasks.store import JobStore
from tasks.work import Attempt, Work

#: How often an attempt that gets on says so.
SECONDS_BETWEEN_LINES = 10.0


class AttemptLog:
    """The attempt's log in the job directory, where lines arrive as they come or some seconds later; a context manager.

    A later run's lines follow those of an earlier one, whose attempts have the same numbers; each begins with where it ran.
    """

    def __init__(self, store: JobStore, work: Work, attempt: Attempt) -> None:
        self._store, self._work = store, work
        self.name = log_name(work.name, attempt.number)
        self._is_heard = True
        self._frames, self._next_line = 0, time.monotonic() + SECONDS_BETWEEN_LINES
        who = f"{work.name}-{work.fingerprint[:12]} attempt {attempt.number}"
        self.line(f"{who} on {socket.gethostname()}, process {os.getpid()}")

    def __enter__(self) -> AttemptLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.line(f"{'failed after' if error else 'done,'} {self._frames} frames")
        self._write(self._store.flush)

    def line(self, text: str) -> None:
        """Add ``text`` with the time, in UTC."""
        stamped = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text.rstrip()}"
        self._write(lambda: self._store.append(self.name, stamped))

    def counting(self, on_frame: OnFrame) -> OnFrame:
        """``on_frame``, with a line now and then on how far the attempt is."""

        def count() -> None:
            self._frames += 1
            if time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
                self.line(f"{self._frames} frames of {self._work.num_frames}")
            on_frame()

        return count

    def again(self, why: str) -> None:
        """The unit begins anew in the same attempt."""
        self.line(why)
        self._frames = 0

    def _write(self, write: Callable[[], None]) -> None:
        if not self._is_heard:
            return
        try:
            write()
        except (OSError, StorageError):
            # What the unit itself writes next meets the same fault and tells of it.
            self._is_heard = False


def log_name(unit: str, attempt: int) -> str:
    """The log of a unit's attempt, to be read by ``store.read_log``."""
    return f"logs/{unit}-{attempt}.log"
