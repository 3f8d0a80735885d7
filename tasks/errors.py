"""What can go wrong inside one piece of work on a worker.

TaskError(VsalignError)     the attempt failed; trying again may help
├── DecodeError             a source gave other frames than its index promises
├── SegmentMismatch         an encoded segment does not hold what the plan says
└── StitchError             segments and plan do not make one film
"""

from __future__ import annotations

from vsalign.errors import VsalignError


class TaskError(VsalignError):
    """An attempt at a piece of work failed."""


class DecodeError(TaskError):
    """A source could not give a frame that its packet index promises."""

    def __init__(self, path: str, frame: int, why: str) -> None:
        super().__init__(path, frame, why)
        self.path, self.frame, self.why = path, frame, why

    def __str__(self) -> str:
        return f"{self.path}: frame {self.frame}: {self.why}"


class SegmentMismatch(TaskError):
    """A segment on disk does not hold what its chunk asked for."""

    def __init__(self, path: str, what: str, expected: object, found: object) -> None:
        super().__init__(path, what, expected, found)
        self.path, self.what, self.expected, self.found = path, what, expected, found

    def __str__(self) -> str:
        return f"{self.path}: {self.what} is {self.found}, expected {self.expected}"


class StitchError(TaskError):
    """The segments do not join to the planned film."""
