"""What can go wrong inside one piece of work on a worker.

TaskError(VsalignError)     the attempt failed; trying again may help
├── DecodeError             a source gave other frames than its index promises
│   └── DamagedFrame        a frame is damaged, and the settings don't say to show another one in its place
├── SourceChanged           a remote film was written again, or is gone
├── SegmentMismatch         an encoded segment does not hold what the plan says
├── StitchError             segments and plan do not make one film
├── DamagedResults          finished units whose files are no longer what their records say
├── StorageError            a disk or a store refuses: full, not allowed, out of reach
├── EncoderBusy             a GPU has as many encoder sessions open as it can; later there will be room
├── EncoderMissing          this machine has no such encoder
└── OutOfMemory             not even the thriftiest way of working fits into this machine's memory
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Literal

from tasks.location import without_credentials
from tasks.messages import OnCorrupt
from vsalign.errors import VsalignError
from vsalign.timecode import timecode


class TaskError(VsalignError):
    """An attempt at a piece of work failed."""


class DecodeError(TaskError):
    """A source could not give a frame that its packet index promises."""

    def __init__(self, path: str, frame: int, why: str) -> None:
        super().__init__(path, frame, why)
        self.path, self.frame, self.why = path, frame, why

    def __str__(self) -> str:
        return f"{self.path}: frame {self.frame}: {self.why}"


class DamagedFrame(DecodeError):
    """A frame of a source is damaged or missing; ``why`` in a clause, ``seconds`` from the film's first frame. Trying again is
    of no use. ``policy``: what the settings say of it, "stop" or "skip-chunk"."""

    def __init__(self, path: str, frame: int, why: str, seconds: float, policy: OnCorrupt) -> None:
        super().__init__(path, frame, why)
        self.args = (path, frame, why, seconds, policy)
        self.seconds, self.policy = seconds, policy

    def __str__(self) -> str:
        ways = "no other frame of it is whole"
        if self.policy != "repeat":
            shown = "last whole frame before" if self.frame else "first whole frame behind"
            ways = f"--on-corrupt repeat shows the {shown} it"
        if self.policy == "stop":
            ways += ", --on-corrupt skip-chunk does all chunks without damage"
        return f"{self.path}: frame {self.frame} at {timecode(self.seconds)} is damaged: {self.why}; {ways}"


class SourceChanged(TaskError):
    """A remote film is no longer the one that was probed; ``why`` in a clause. Trying again is of no use."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"{self.path}: no longer the film that this job began with ({self.why})"


class SegmentMismatch(TaskError):
    """A segment on disk does not hold what its chunk asked for."""

    def __init__(self, path: str, what: str, expected: object, found: object) -> None:
        super().__init__(path, what, expected, found)
        self.path, self.what, self.expected, self.found = path, what, expected, found

    def __str__(self) -> str:
        return f"{self.path}: {self.what} is {self.found}, expected {self.expected}"


class StitchError(TaskError):
    """The segments do not join to the planned film."""


class DamagedResults(TaskError):
    """Finished units whose files are gone or hold other bytes than their records say; they have to be made again."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.names = tuple(names)

    def __str__(self) -> str:
        shown = ", ".join(self.names[:3]) + (f" and {len(self.names) - 3} more" if len(self.names) > 3 else "")
        return f"damaged: {shown}: the bytes are not those of the record"


type StorageFault = Literal["full", "denied", "unreachable"]

_FAULTS: dict[StorageFault, str] = {
    "full": "no space left",
    "denied": "access refused",
    "unreachable": "out of reach",
}
_ERRNOS: dict[StorageFault, tuple[str, ...]] = {
    "full": ("ENOSPC", "EDQUOT", "EFBIG"),
    "denied": ("EACCES", "EROFS", "EPERM"),
    # What disks, NFS and networks that fail or hang say.
    "unreachable": (
        *("EIO", "ESTALE", "EREMOTEIO", "ENODEV", "ENXIO", "ENOMEDIUM", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN"),
        *("ENETUNREACH", "ENOTCONN", "ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "ESHUTDOWN"),
    ),
}
#: By number; a system has not all of them.
_FAULT_OF = {getattr(errno, name): what for what, names in _ERRNOS.items() for name in names if hasattr(errno, name)}


def fault_of(number: int | None) -> StorageFault | None:
    """What an OSError's number says of the storage; None when it is no fault of storage (an absent file, say)."""
    return _FAULT_OF.get(number or 0)


class StorageError(TaskError):
    """A disk or a store refuses what the job needs; trying again at once is of no use. ``location`` says which one."""

    def __init__(self, location: str, what: StorageFault, why: str) -> None:
        location = without_credentials(location)
        super().__init__(location, what, why)
        self.location, self.what, self.why = location, what, why

    def __str__(self) -> str:
        return f"{self.location}: {_FAULTS[self.what]} ({self.why})"


def unreadable(location: str, error: OSError, name: str = "") -> StorageError:
    """A read that failed, which says nothing of what is there, as a fault of the storage; ``name``: of the file."""
    why = error.strerror or type(error).__name__
    return StorageError(location, fault_of(error.errno) or "unreachable", f"{name}: {why}" if name else why)


class OutOfMemory(TaskError):
    """Memory does not suffice, even at the last level of thrift. ``kind``: "host" or "cuda"."""

    def __init__(self, work: str, kind: Literal["host", "cuda"], why: str) -> None:
        super().__init__(work, kind, why)
        self.work, self.kind, self.why = work, kind, why

    def __str__(self) -> str:
        memory = "GPU memory" if self.kind == "cuda" else "memory"
        return f"{self.work}: out of {memory}, at the thriftiest setting too ({self.why})"


class EncoderBusy(TaskError):
    """A GPU encodes as much at once as it can. Neither memory nor the work is to blame; ``why`` is FFmpeg's own line."""

    def __init__(self, codec: str, why: str) -> None:
        super().__init__(codec, why)
        self.codec, self.why = codec, why

    def __str__(self) -> str:
        return (
            f"{self.codec}: the GPU has as many encoder sessions open as it can ({self.why}); it is tried again "
            f"(fewer workers to a GPU: a larger --gpu-fraction)"
        )


class EncoderMissing(TaskError):
    """This machine cannot encode by hardware as asked; another one may. ``why`` is FFmpeg's own line."""

    def __init__(self, codec: str, why: str) -> None:
        super().__init__(codec, why)
        self.codec, self.why = codec, why

    def __str__(self) -> str:
        return f"{self.codec} is not to be had on this machine ({self.why})"
