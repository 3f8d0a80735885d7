"""The calls of a store that leases and listeners use, in memory, with faults on demand."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

from tasks.errors import StorageError


class MemoryStore:
    """``fault`` is asked before every call, by its name, and may raise."""

    location = "memory"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.lock = threading.Lock()
        self.fault: Callable[[str], None] = lambda call: None

    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        self.fault("read")
        data = self.files.get(name)
        return None if data is None else (data, hashlib.sha256(data).hexdigest())

    def swap(self, name: str, data: bytes, tag: str) -> bool:
        self.fault("swap")
        with self.lock:
            found = self.read_tagged(name)
            if found is None or found[1] != tag:
                return False
            self.files[name] = data
            return True

    def create(self, name: str, data: bytes) -> bool:
        self.fault("create")
        with self.lock:
            return self.files.setdefault(name, data) is data

    def replace(self, name: str, data: bytes) -> None:
        self.fault("replace")
        self.files[name] = data

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def names(self, folder: str) -> list[str]:
        self.fault("names")
        return sorted(name for name in self.files if name.startswith(f"{folder}/"))

    def append(self, name: str, line: str) -> None:
        self.fault("append")
        self.files[name] = self.files.get(name, b"") + line.encode() + b"\n"

    def read_log(self, name: str) -> bytes:
        return self.files.get(name, b"")

    def flush(self) -> None:
        self.fault("flush")


def unreachable(call: str) -> None:
    raise StorageError("memory", "unreachable", f"{call}: no answer")
