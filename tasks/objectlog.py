"""Lines appended to a log in an object store, which can only write whole objects.

Lines are gathered and written every few seconds to a part of the log, anew with what has come since, until the part is large
and the next one begins. Parts are named by the run that writes them and by number, so that they sort as they were written.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tasks.errors import StorageError

#: How long a line may wait, and from where on a part is left as it is.
FLUSH_SECONDS = 5.0
PART_BYTES = 256 << 10


class ObjectLog:
    """Logs that this process writes; ``write`` puts a whole object. Safe for threads."""

    def __init__(self, write: Callable[[str, bytes], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._run = f"{time.time_ns() // 1_000_000:014d}{secrets.token_hex(3)}"
        self._parts: dict[str, list[bytes]] = {}
        self._numbers: dict[str, int] = {}
        self._unwritten: set[str] = set()
        self._timer: threading.Timer | None = None

    def append(self, name: str, line: str) -> None:
        """Add a line; it is written within some seconds."""
        with self._lock:
            self._parts.setdefault(name, []).append(line.encode() + b"\n")
            self._unwritten.add(name)
            if self._timer is None:
                self._timer = threading.Timer(FLUSH_SECONDS, self._flush_later)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Write all lines now. Raises StorageError; they are kept for the next time then."""
        with self._writing:
            with self._lock:
                names = sorted(self._unwritten)
            for name in names:
                self._flush_one(name)

    def _flush_one(self, name: str) -> None:
        with self._lock:
            lines = list(self._parts[name])
            number = self._numbers.setdefault(name, 0)
            self._unwritten.discard(name)
        try:
            self._write(f"{name}.{self._run}-{number:05d}", b"".join(lines))
        except StorageError:
            with self._lock:
                self._unwritten.add(name)
            raise
        if sum(map(len, lines)) >= PART_BYTES:
            with self._lock:
                del self._parts[name][: len(lines)]
                self._numbers[name] = number + 1
                if not self._parts[name]:
                    self._unwritten.discard(name)

    def _flush_later(self) -> None:
        with self._lock:
            self._timer = None
        # A log is comfort: what can't be written now goes with the next line's writing.
        with suppress(StorageError):
            self.flush()
