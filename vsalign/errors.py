"""Errors of the whole project, drawn as a tree; catch broad or narrow.

    VsalignError
    ├── InputError      what the user gave can't be used: one line, exit status 2
    │   └── NoMatchError    clip and ref have nothing in common
    └── TaskError       a piece of work failed on a worker (tasks/errors.py has its kinds)

Every error passes all of its arguments to ``super().__init__`` so that it survives pickling between processes.
"""


class VsalignError(Exception):
    """Base of every error that this project raises on purpose."""


class InputError(VsalignError, ValueError):
    """Input that can't be used. The message is one line: what, the value seen, what is accepted."""


class NoMatchError(InputError):
    """Sync found no stretch in which clip and ref show the same moments."""

    def __init__(self, best_score: float, needed_score: float) -> None:
        super().__init__(best_score, needed_score)
        self.best_score, self.needed_score = best_score, needed_score

    def __str__(self) -> str:
        return (
            f"clip and ref have nothing in common: best match score {self.best_score:.3f}, "
            f"at least {self.needed_score:.3f} is needed (--force renders all the same)"
        )
