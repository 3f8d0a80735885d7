"""The pool of one worker in this process."""

from __future__ import annotations

import pytest

from orchestrator import local_pool
from orchestrator.local_pool import LocalPool
from orchestrator.state import AttemptFailed, AttemptSucceeded, Cause
from tasks.work import Attempt
from tests.factories import record, work


@pytest.mark.parametrize(
    ("error", "cause"), [(ValueError("x"), Cause.CODE), (MemoryError(), Cause.MEMORY), (KeyboardInterrupt(), Cause.CODE)]
)
def test_whatever_ends_a_unit_is_heard_of_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, cause: Cause
):
    def perform(unit, attempt, on_frame):
        on_frame()
        if attempt.number == 1:
            raise error
        return record(of=unit)

    monkeypatch.setattr(local_pool, "perform", perform)
    pool = LocalPool(torch_threads=0)
    unit = work("a")
    pool.submit(pool.slots()[0], unit, Attempt(1))
    failed = pool.wait(5)[0]
    assert isinstance(failed, AttemptFailed) and (failed.cause, failed.frames_done) == (cause, 1)
    pool.submit(pool.slots()[0], unit, Attempt(2))
    assert isinstance(pool.wait(5)[0], AttemptSucceeded)
    pool.close()
