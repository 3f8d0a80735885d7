"""Ctrl-C and SIGTERM: while units run, the first asks to drain and the second to stop at once; elsewhere one ends the run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class StopRequest:
    """How often the run was asked to stop; the supervisor looks at it between events, inside ``heeded``."""

    count: int = 0
    is_heeded: bool = False
    #: Tells that the job is no longer ours, for another run has taken it over.
    is_lost: Callable[[], bool] = lambda: False

    @property
    def drain(self) -> bool:
        return self.count >= 1

    @property
    def kill(self) -> bool:
        return self.count >= 2 or self.is_lost()

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Within this block somebody looks at the count; outside of it a signal raises KeyboardInterrupt."""
        self.is_heeded = True
        try:
            yield
        finally:
            self.is_heeded = False

    def note(self) -> None:
        """One more request; a third one does not wait for whoever should look."""
        self.count += 1
        if not self.is_heeded or self.count > 2:
            raise KeyboardInterrupt


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into requests until the block is left. Main thread only."""
    request = StopRequest()

    def on_signal(signum: int, frame: FrameType | None) -> None:
        request.note()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
