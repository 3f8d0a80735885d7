"""What can stop a whole run.

VsalignError
├── InputError          exit status 2 (vsalign/errors.py)
├── PoolError           the workers that were asked for can't be had
├── FetchError          a file that the user asked for did not arrive whole; nothing of it is kept
├── StageFailed         a stage that all later ones need came to nothing; resumable
├── LeaseLost           another run has taken the job over
└── InterruptedRun      the user or the scheduler asked to stop; resumable, exit status 130
"""

from __future__ import annotations

from vsalign.errors import VsalignError


class PoolError(VsalignError):
    """No worker can be had, or none stays alive. The message says what was wanted and what there is."""


class FetchError(VsalignError):
    """A published file did not arrive, or another one did; nothing of it is kept. The message says from where and why."""


class InterruptedRun(VsalignError):
    """A stage ended early because it was told to stop; what is finished is kept."""

    def __init__(self, stage: str, done: int, total: int) -> None:
        super().__init__(stage, done, total)
        self.stage, self.done, self.total = stage, done, total

    def __str__(self) -> str:
        return (
            f"interrupted during {self.stage}: {self.done} of {self.total} done and kept; the same command goes on from there"
        )


class StageFailed(VsalignError):
    """A stage that all later ones need could not be finished; what is done is kept, and ``resume`` tries the rest again."""

    def __init__(self, stage: str, unit: str, why: str) -> None:
        super().__init__(stage, unit, why)
        self.stage, self.unit, self.why = stage, unit, why

    def __str__(self) -> str:
        return f"{self.stage} failed at {self.unit}: {self.why}"


class LeaseLost(VsalignError):
    """Another run has taken the job over; it goes on there."""

    def __init__(self, stage: str, done: int, total: int) -> None:
        super().__init__(stage, done, total)
        self.stage, self.done, self.total = stage, done, total

    def __str__(self) -> str:
        return f"another vsalign has taken this job over during {self.stage}; this run ends, {self.done} of {self.total} done"
