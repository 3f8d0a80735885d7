"""Ctrl-C and SIGTERM: the first asks to drain, the second to stop at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class StopRequest:
    """How often the run was asked to stop; the supervisor looks at it between events."""

    count: int = 0

    @property
    def drain(self) -> bool:
        return self.count >= 1

    @property
    def kill(self) -> bool:
        return self.count >= 2


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Count SIGINT and SIGTERM instead of dying from them, until the block is left. Main thread only."""
    request = StopRequest()

    def note(signum: int, frame: FrameType | None) -> None:
        request.count += 1

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
