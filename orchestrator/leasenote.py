"""PURE but for ``Me.here`` and ``is_alive``: what a lease says, and what can be told of its owner from this machine."""

from __future__ import annotations

import os
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

#: "free": given back. "gone": its process on this machine has ended. "works": it lives here. "unknown": only time can tell.
Standing = Literal["free", "gone", "works", "unknown"]


@dataclass(frozen=True, slots=True)
class LeaseNote:
    """lease.json. ``beat`` grows with every renewal. ``written`` is the owner's clock: shown, never reckoned with."""

    epoch: int
    token: str
    host: str
    machine: str
    pid: int
    pid_start: int
    ttl_s: float
    beat: int = 0
    written: float = 0.0
    released: bool = False

    def who(self) -> str:
        """As people are told."""
        return f"{self.host}, pid {self.pid}"

    def to_json(self) -> bytes:
        return _NOTES.dump_json(self, indent=1) + b"\n"

    @staticmethod
    def from_json(data: bytes) -> LeaseNote | None:
        """None for a torn lease, or one that is not of this kind."""
        try:
            return _NOTES.validate_json(data)
        except ValueError:
            return None


_NOTES = TypeAdapter(LeaseNote)


@dataclass(frozen=True, slots=True)
class Me:
    """This process and the machine it is on. ``machine``: this boot of it, and the process numbers that we see there. ``held``:
    tokens of the leases that this process holds."""

    host: str
    machine: str
    pid: int
    pid_start: int
    held: frozenset[str] = frozenset()

    @staticmethod
    def here(held: frozenset[str] = frozenset()) -> Me:
        pid = os.getpid()
        return Me(socket.gethostname(), _machine(), pid, process_start(pid) or 0, held)

    def note(self, epoch: int, ttl_s: float) -> LeaseNote:
        """A new lease of this process."""
        token = secrets.token_hex(8)
        return LeaseNote(epoch, token, self.host, self.machine, self.pid, self.pid_start, ttl_s, written=time.time())


def judge(seen: LeaseNote | None, here: Me) -> Standing:
    """What a lease tells at one look. Only of a process that this very machine, since it was booted, has numbered can we say
    whether it lives; hosts of one name, containers, and what a torn lease was, are told apart by watching."""
    if seen is None:
        return "unknown"
    if seen.released:
        return "free"
    if not here.machine or (seen.host, seen.machine) != (here.host, here.machine):
        return "unknown"
    if (seen.pid, seen.pid_start) == (here.pid, here.pid_start):
        return "works" if seen.token in here.held else "gone"
    # A process number is given out again; with its start time it is unique.
    return "works" if process_start(seen.pid) == seen.pid_start else "gone"


def process_start(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process; None when there is no such process, or it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(fields[18])


def _machine() -> str:
    """The boot of this machine and our process numbers' space (a container has its own); "" where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
